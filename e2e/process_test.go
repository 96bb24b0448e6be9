// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Package e2e drives `toolgate demo` from outside, as a person at a terminal and in
// a browser would.
package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take before it counts as never. Nothing waits
// for so long when all is well.
const patience = 30 * time.Second

var binary string

// TestMain builds the command once for all tests.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "toolgate-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "toolgate")
		if out, err := exec.Command("go", "build", "-o", binary, "../cmd/toolgate").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building toolgate: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// process is a running toolgate.
type process struct {
	t       *testing.T
	command *exec.Cmd
	printed *transcript
	ended   chan struct{}
}

// run starts toolgate in a process group of its own, so that what it leaves behind
// can be found.
func run(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, command: exec.Command(binary, args...), printed: newTranscript(), ended: make(chan struct{})}
	home := t.TempDir()
	p.command.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	p.command.Stdout, p.command.Stderr = p.printed, p.printed
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill() // nothing to do where it has ended
		<-p.ended
		if t.Failed() {
			t.Logf("toolgate %s printed:\n%s", strings.Join(args, " "), p.printed)
		}
	})
	return p
}

// prints waits until the process has printed the text.
func (p *process) prints(text string) {
	p.t.Helper()
	late := time.After(patience)
	for {
		said, more := p.printed.read()
		if strings.Contains(said, text) {
			return
		}
		select {
		case <-more:
		case <-p.ended:
			if said, _ := p.printed.read(); !strings.Contains(said, text) {
				p.t.Fatalf("the process ended without saying %q", text)
			}
		case <-late:
			p.t.Fatalf("the process does not say %q", text)
		}
	}
}

// until asks again and again whether something of another process is so. There is
// nothing to wait on but the thing itself.
func (p *process) until(so func() bool) {
	p.t.Helper()
	late := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-late:
			p.t.Fatal("it does not come to pass")
		}
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits until the process has ended and gives how; nothing of it may remain.
func (p *process) end() *os.ProcessState {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("the process does not end")
	}
	if err := syscall.Kill(-p.command.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		p.t.Errorf("a process of its group is still there (%v)", err)
	}
	return p.command.ProcessState
}

// stopsCleanly sends the signal and expects a good end.
func (p *process) stopsCleanly(s os.Signal) {
	p.t.Helper()
	p.signal(s)
	if state := p.end(); state.ExitCode() != 0 {
		p.t.Errorf("after %v: %v, want exit code 0", s, state)
	}
	if said := p.printed.String(); !strings.HasSuffix(said, "\n") || !strings.Contains(said, "\nStopped. Connections are kept in ") {
		p.t.Errorf("after %v its last words are not that it stopped", s)
	}
}

// transcript is what a process prints, for who waits for it.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed by the next write
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(b)
}

func (s *transcript) read() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.more
}

func (s *transcript) String() string {
	text, _ := s.read()
	return text
}

// world is a demo at work.
type world struct {
	*process
	toolgate, acme string // their origins
	folder         string
}

var (
	toolgateAt = regexp.MustCompile(`(?m)^ *Toolgate +(http://localhost:[0-9]+)$`)
	acmeAt     = regexp.MustCompile(`(?m)^ *Acme +(http://127\.0\.0\.1:[0-9]+) `)
)

// demo starts `toolgate demo` and waits until it has told its story.
func demo(t *testing.T, folder string, more ...string) *world {
	t.Helper()
	args := append([]string{"demo", "--listen", "127.0.0.1:0", "--data-dir", folder}, more...)
	w := &world{process: run(t, args...), folder: folder}
	w.prints("Ctrl-C stops both.")
	said := w.printed.String()
	one, other := toolgateAt.FindStringSubmatch(said), acmeAt.FindStringSubmatch(said)
	if one == nil || other == nil {
		t.Fatal("the story does not name the addresses")
	}
	w.toolgate, w.acme = one[1], other[1]
	return w
}

// again starts the demo once more where an earlier one was: the same ports, since
// what was granted by one provider is not used at another address.
func (w *world) again(more ...string) *world {
	w.t.Helper()
	port := strings.TrimPrefix(w.toolgate, "http://localhost")
	return demo(w.t, w.folder, append([]string{"--listen", "127.0.0.1" + port, "--provider-listen", strings.TrimPrefix(w.acme, "http://")}, more...)...)
}

// answer is what an agent gets.
type answer struct {
	status int
	body   string
}

// call is an agent's call to Acme's API through Toolgate.
func (w *world) call(user string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.toolgate+"/acme/v1/me", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-User-Id", user)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{res.StatusCode, string(body)}
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	on, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer on.Close()
	return on.Addr().String()
}
