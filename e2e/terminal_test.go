// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestTheStoryCanBePastedAndHasNoLogLinesInIt(t *testing.T) {
	w := demo(t, t.TempDir())
	said := w.printed.String()
	if call := `curl -H "X-User-Id: alice" ` + w.toolgate + "/acme/v1/me\n"; strings.Count(said, call) != 2 {
		t.Errorf("the line %q is not there twice", call)
	}
	w.call("alice")
	w.prints("call refused: auth_required (alice at acme)\n")
	w.stopsCleanly(os.Interrupt)
	if said := w.printed.String(); strings.ContainsAny(said, "{}") {
		t.Error("there are log lines for machines in the output")
	}
	for _, address := range []string{strings.TrimPrefix(w.toolgate, "http://"), strings.TrimPrefix(w.acme, "http://")} {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Errorf("%s is still taken", address)
		}
	}
}

func TestASecondDemoOnTheSameFolderSaysSoAndHarmsNothing(t *testing.T) {
	first := demo(t, t.TempDir())
	before, err := os.Stat(filepath.Join(first.folder, "acme.json"))
	if err != nil {
		t.Fatal(err)
	}
	second := run(t, "demo", "--listen", free(t), "--provider-listen", free(t), "--data-dir", first.folder)
	if state := second.end(); state.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit code 1", state)
	}
	want := "Error: another Toolgate is using the data folder " + first.folder + ": stop that, or choose another with --data-dir\n"
	if said := second.printed.String(); said != want {
		t.Errorf("it said\n%swant\n%s", said, want)
	}
	after, err := os.Stat(filepath.Join(first.folder, "acme.json"))
	if err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Error("the second one wrote to the first one's files")
	}
	if got := first.call("alice"); got.status != 403 {
		t.Errorf("the first one answers %d, want 403", got.status)
	}
	first.stopsCleanly(os.Interrupt)
}

func TestASecondCtrlCEndsAtOnce(t *testing.T) {
	w := demo(t, t.TempDir())
	address := strings.TrimPrefix(w.acme, "http://")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A form that never arrives holds the stop up for some seconds. 100 Continue
	// shows that it is waited for.
	form := "POST /token HTTP/1.1\r\nHost: " + address + "\r\nExpect: 100-continue\r\n" +
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n"
	if _, err := io.WriteString(c, form); err != nil {
		t.Fatal(err)
	}
	goOn := make([]byte, len("HTTP/1.1 100"))
	if _, err := io.ReadFull(c, goOn); err != nil || string(goOn) != "HTTP/1.1 100" {
		t.Fatalf("%q, %v; want HTTP/1.1 100", goOn, err)
	}
	w.signal(os.Interrupt)
	w.prints("Stopping …")
	w.signal(os.Interrupt)
	status, ok := w.end().Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v, want by the signal", w.command.ProcessState)
	}
}

func TestCtrlCDuringTheStartIsClean(t *testing.T) {
	folder, acme := t.TempDir(), free(t)
	p := run(t, "demo", "--listen", free(t), "--provider-listen", acme, "--data-dir", folder)
	// Acme's port is taken early, long before the story is told.
	p.until(func() bool {
		c, err := net.Dial("tcp", acme)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	p.stopsCleanly(os.Interrupt)
	again := demo(t, folder)
	again.stopsCleanly(syscall.SIGTERM)
}
