// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a demo does while it runs is tested in e2e.

func TestADemoThatCannotStartSaysWhyInOneLine(t *testing.T) {
	on, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { on.Close() }) // a defer would run before the parallel tests
	taken := on.Addr().String()
	free := freeAddress(t)
	_, freePort, _ := net.SplitHostPort(free)

	home := t.TempDir()
	file := filepath.Join(home, "file")
	lost := filepath.Join(home, "lost")
	torn := filepath.Join(home, "torn")
	for path, text := range map[string]string{
		file:                                  "text",
		filepath.Join(lost, "connections.db"): "what was sealed with a key that is gone",
		filepath.Join(torn, "acme.json"):      "{",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	type failure struct {
		args []string
		want string
	}
	cases := map[string]failure{
		"Toolgate's port is taken": {[]string{"--listen", taken},
			taken + " is in use by another program: stop that, or choose another address with --listen"},
		"Acme's port is taken": {[]string{"--provider-listen", taken},
			taken + " is in use by another program: stop that, or choose another address with --provider-listen"},
		"both want one port": {[]string{"--listen", free, "--provider-listen", free},
			"--provider-listen " + free + ": Toolgate has this port, so another one, please"},
		"the port is none": {[]string{"--listen", "127.0.0.1:99999"}, "--listen 127.0.0.1:99999: address 99999: invalid port"},
		"all of this machine's addresses": {[]string{"--listen", "0.0.0.0:" + freePort},
			"--listen 0.0.0.0:" + freePort + ": the demo asks for no keys, so it listens on this machine only, such as on 127.0.0.1:" + freePort},
		"no host":                       {[]string{"--listen", ":8080"}, "it listens on this machine only, such as on 127.0.0.1:8080"},
		"a host's name":                 {[]string{"--listen", "gateway.example:80"}, "it listens on this machine only"},
		"an address that no link names": {[]string{"--listen", "127.0.0.2:8080"}, "it listens on this machine only"},
		"Acme for everybody":            {[]string{"--provider-listen", "0.0.0.0:8081"}, "--provider-listen 0.0.0.0:8081: the demo asks for no keys"},
		"a port alone":                  {[]string{"--listen", "8080"}, "--listen 8080: an address such as 127.0.0.1:8080, please"},
		"a file for a folder":           {[]string{"--data-dir", file}, "cannot make the data folder " + file + ": not a directory; choose another with --data-dir"},
		"a folder in a file":            {[]string{"--data-dir", filepath.Join(file, "x")}, "cannot make the data folder " + filepath.Join(file, "x") + ": not a directory"},
		"a folder with a brace":         {[]string{"--data-dir", filepath.Join(home, "{x}")}, "a path without quotes and braces, please"},
		"the key is lost":               {[]string{"--data-dir", lost}, "the store is there but its key file " + filepath.Join(lost, "connections.db.key") + " is not"},
		"Acme's file is torn":           {[]string{"--data-dir", torn}, filepath.Join(torn, "acme.json")},
		"tokens of a moment":            {[]string{"--token-life", "1s"}, "--token-life 1s: two seconds or more, please"},
		"a duration without unit":       {[]string{"--token-life", "30"}, `invalid argument "30" for "--token-life" flag`},
		"an unknown flag":               {[]string{"--prot", "80"}, "unknown flag: --prot"},
		"an argument":                   {[]string{"8080"}, `unknown command "8080"`},
	}
	if six, err := net.Listen("tcp", "[::1]:0"); err == nil { // else there is only one localhost
		t.Cleanup(func() { six.Close() })
		_, port, _ := net.SplitHostPort(six.Addr().String())
		cases["the other localhost's port is taken"] = failure{[]string{"--listen", "127.0.0.1:" + port}, ":" + port + " is in use by another program"} // somebody may have taken 127.0.0.1's too
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defaults := []string{"demo", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir()}
			out, err := toolgate(t, t.TempDir(), nil, append(defaults, c.args...)...)
			if err == nil {
				t.Fatal("it ended well")
			}
			if !strings.HasPrefix(out, "Error: ") || strings.Count(out, "\n") != 1 || !strings.Contains(out, c.want) {
				t.Errorf("it said\n%swant one line with\n%s", out, c.want)
			}
		})
	}
}

func TestADemoNeedsAFolderThatItMayWrite(t *testing.T) {
	sealed, reason := filepath.Join(t.TempDir(), "sealed"), "permission denied"
	if err := os.Mkdir(sealed, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		sealed, reason = "/proc", "no such file or directory" // where not even root can write
	}
	for folder, want := range map[string]string{
		sealed:                       "Error: cannot write to the data folder " + sealed + ": " + reason + "; choose another with --data-dir\n",
		filepath.Join(sealed, "sub"): "Error: cannot make the data folder " + filepath.Join(sealed, "sub") + ": " + reason + "; choose another with --data-dir\n",
	} {
		out, err := toolgate(t, t.TempDir(), nil, "demo", "--listen", "127.0.0.1:0", "--data-dir", folder)
		if err == nil || out != want {
			t.Errorf("%v, it said\n%swant\n%s", err, out, want)
		}
	}
}

func TestTheDemoIsThereInAnyCaddyToo(t *testing.T) {
	out, err := toolgate(t, t.TempDir(), nil, "toolgate", "demo", "--token-life", "1s")
	if err == nil || out != "Error: --token-life 1s: two seconds or more, please\n" {
		t.Errorf("%v, it said\n%s", err, out)
	}
}
