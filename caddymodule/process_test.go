// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/tokencache/seal"
)

// toolgate runs the command in a process of its own and gives what it printed.
func toolgate(t *testing.T, dir string, env []string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := command(ctx, dir, env, args...).CombinedOutput()
	return string(out), err
}

func command(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "TOOLGATE_TEST_COMMAND=1", "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
	c.Env = append(c.Env, env...)
	return c
}

// server is toolgate, running in a process of its own with an admin socket.
type server struct {
	dir, socket string
	config      string
	env         []string
	process     *os.Process
	printed     *printed
	exited      chan struct{} // closed when it has
	code        int
}

// printed is what a process has printed so far.
type printed struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// serve starts a process and waits until it answers.
func serve(t *testing.T, w *world, env ...string) *server {
	t.Helper()
	return serveConfig(t, w, w.caddyfile("", "", ""), env...)
}

func serveConfig(t *testing.T, w *world, caddyfile string, env ...string) *server {
	t.Helper()
	s := &server{
		dir: w.dir, socket: filepath.Join(w.dir, "admin.sock"), config: filepath.Join(w.dir, "Caddyfile"), env: env,
		printed: new(printed), exited: make(chan struct{}),
	}
	s.write(t, caddyfile)
	ctx, cancel := context.WithCancel(context.Background())
	c := command(ctx, s.dir, env, "run", "--config", s.config)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 20 * time.Second
	c.Stdout, c.Stderr = s.printed, s.printed
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = c.Process
	go func() {
		_ = c.Wait()
		s.code = c.ProcessState.ExitCode()
		close(s.exited)
	}()
	t.Cleanup(func() {
		cancel()
		<-s.exited
		if t.Failed() {
			t.Logf("the server printed:\n%s", s.printed)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		res, err := http.Get(w.public() + "/")
		if err == nil {
			res.Body.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer: %v", err)
		}
		// Another process: there is nothing to wait for but its port.
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *server) write(t *testing.T, caddyfile string) {
	t.Helper()
	text := strings.Replace(caddyfile, "admin off\n\tpersist_config off", "admin unix/"+s.socket+"|0600", 1)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *server) admin(t *testing.T, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.socket)
	}}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestARunningServer(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	w.connect()

	t.Run("validate works beside it on the same store", func(t *testing.T) {
		start := time.Now()
		out, err := toolgate(t, w.dir, s.env, "validate", "--config", s.config)
		if err != nil || !strings.Contains(out, "Valid configuration") {
			t.Errorf("after %v: %v\n%s", time.Since(start), err, out)
		}
	})
	t.Run("a second one on the same store says so in one line and ends", func(t *testing.T) {
		other := &server{dir: w.dir, socket: filepath.Join(w.dir, "other.sock"), config: filepath.Join(w.dir, "Other.Caddyfile")}
		other.write(t, strings.ReplaceAll(w.caddyfile("", "", ""), w.port(), port(freeAddress(t))))
		out, err := toolgate(t, w.dir, s.env, "run", "--config", other.config, "--adapter", "caddyfile")
		if err == nil || !strings.Contains(out, "another process is using the store at "+filepath.Join(w.dir, "connections.db")) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("its admin socket is the operator's alone", func(t *testing.T) {
		info, err := os.Stat(s.socket)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
	t.Run("secrets stay placeholders in /config/ and in the autosaved configuration", func(t *testing.T) {
		saved, err := os.ReadFile(filepath.Join(w.dir, "caddy", "autosave.json"))
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"/config/": s.admin(t, "/config/"), "autosave.json": string(saved)} {
			if !strings.Contains(text, "{env.ACME_CLIENT_SECRET}") || strings.Contains(text, clientSecret) {
				t.Errorf("%s: %s", name, text)
			}
		}
	})
	t.Run("reload takes a new configuration and keeps the connections", func(t *testing.T) {
		s.write(t, w.caddyfile("", "toolkit extra {\n\t\t\tbase_url "+w.origin+"\n\t\t\tno_auth\n\t\t}", ""))
		if out, err := toolgate(t, w.dir, s.env, "reload", "--config", s.config, "--force"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if status, body := w.call("GET", "/extra/"); status != 200 {
			t.Errorf("the new toolkit: %d %s", status, body)
		}
		if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
			t.Errorf("the connection: %d %s", status, body)
		}
	})
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func TestAStartThatCannotWorkSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(dir string) error
		option  string
		says    string
	}{
		"the encryption key's variable is not set": {option: "encryption_key {env.NO_SUCH_KEY}", says: "encryption_key: {env.NO_SUCH_KEY} is empty"},
		"the encryption key is not a key": {
			prepare: func(dir string) error { return os.WriteFile(filepath.Join(dir, "bad.key"), []byte("hunter2"), 0o600) },
			option:  "encryption_key {file.bad.key}", says: "encryption_key",
		},
		"the store is there and its key file is gone": {
			prepare: func(dir string) error { return os.WriteFile(filepath.Join(dir, "connections.db"), []byte("x"), 0o600) },
			says:    "the store is there but its key file",
		},
		"calls cannot be recorded": {
			prepare: func(dir string) error { return os.Mkdir(filepath.Join(dir, "audit.log"), 0o700) },
			says:    "no call could be recorded, so none would be made",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.prepare != nil {
				if err := c.prepare(w.dir); err != nil {
					t.Fatal(err)
				}
			}
			config := filepath.Join(w.dir, "Caddyfile")
			if err := os.WriteFile(config, []byte(w.caddyfile("", c.option, "")), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := toolgate(t, w.dir, nil, "run", "--config", config)
			if err == nil || !strings.Contains(out, c.says) || strings.Contains(out, "hunter2") {
				t.Errorf("%v\n%s", err, out)
			}
			if out, err := toolgate(t, w.dir, nil, "validate", "--config", config); err != nil {
				t.Errorf("validate opens nothing, so it has nothing to say: %v\n%s", err, out)
			}
		})
	}
}

func TestAnotherKeyThanTheStoresIsNoticedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTHER_KEY", seal.NewKey())
	err := w.tryLoad(w.caddyfile("", "encryption_key {env.OTHER_KEY}", ""))
	if err == nil || !strings.Contains(err.Error(), "the store was sealed with the encryption key") {
		t.Errorf("%v", err)
	}
	_ = caddy.Stop()
	w.load(w.caddyfile("", "", ""))
}

func TestWhatNobodyAnswersIsNotSuccess(t *testing.T) {
	w := newWorld(t)
	w.load(strings.Replace(w.caddyfile("", "", ""), "\n\ttoolgate\n}", "\n}", 1)) // the pages alone
	status, body := w.call("GET", "/acme/v1/me")
	if status != http.StatusNotFound || !strings.Contains(body, `"code":"not_found"`) {
		t.Errorf("%d %q", status, body)
	}
	if status, body := w.call("GET", "/v1/connections/acme"); status != 200 {
		t.Errorf("%d %q", status, body)
	}
}

// A client follows a provider's addresses through the gateway, below the path that the
// server cut off too.
func TestAProvidersAddressesComeBackThroughTheGateway(t *testing.T) {
	w := newWorld(t)
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/extra/moved" {
			rw.Header().Set("Link", "<"+w.origin+"/extra/list?page=2>; rel=\"next\"")
			http.Redirect(rw, r, "/extra/here", http.StatusFound)
			return
		}
		fmt.Fprintf(rw, "%s with %.11s", r.URL.Path, r.Header.Get("Authorization"))
	})
	w.load(strings.Replace(w.caddyfile("", "", ""), "\n\ttoolgate_connect\n\t\n\ttoolgate\n}",
		"\n\thandle_path /tools/* {\n\t\ttoolgate\n\t}\n\thandle {\n\t\ttoolgate_connect\n\t\ttoolgate\n\t}\n}", 1))
	w.connect()
	for _, prefix := range []string{"", "/tools"} {
		if status, body := w.call("GET", prefix+"/acme/extra/moved"); status != 200 || body != "/extra/here with Bearer acme" {
			t.Errorf("below %q: %d %s", prefix, status, body)
		}
	}
}

func TestValidateNamesDraftsAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	example, err := filepath.Abs("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	out, err := toolgate(t, dir, []string{"XDG_RUNTIME_DIR=" + dir}, "validate", "--config", example)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"client_id ({env.GITHUB_CLIENT_ID} is empty)", "client_secret ({env.GITHUB_CLIENT_SECRET} is empty)",
		"http://localhost:8080/callback/github", "api_key ({env.OPENAI_API_KEY} is empty)", "Valid configuration",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("validate does not say %s:\n%s", want, out)
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.Contains(path, "toolgate") || strings.HasSuffix(path, ".sock")) {
			err = fmt.Errorf("validate left %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTheCommandIsAFullCaddy(t *testing.T) {
	dir := t.TempDir()
	out, err := toolgate(t, dir, nil, "list-modules")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, module := range []string{"toolgate", "http.handlers.toolgate", "http.handlers.toolgate_connect", "toolgate.stores.file", "http.handlers.reverse_proxy"} {
		if !strings.Contains("\n"+out, "\n"+module+"\n") {
			t.Errorf("list-modules does not have %s", module)
		}
	}
	if out, err := toolgate(t, dir, nil, "toolgate", "demo", "--help"); err != nil || !strings.Contains(out, "--data-dir") {
		t.Errorf("the command below `toolgate`: %v\n%s", err, out)
	}
	if out, err := toolgate(t, dir, nil, "adapt", "--config", abs(t, "../Caddyfile.example")); err != nil || !strings.Contains(out, `"toolgate"`) {
		t.Errorf("adapt: %v\n%s", err, out)
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return full
}
