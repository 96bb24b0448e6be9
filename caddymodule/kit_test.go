// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// door is where requests wait until it is opened.
type door struct {
	arrived chan string // which configuration each came through
	open    chan struct{}
}

func newDoor() *door { return &door{make(chan string, 1000), make(chan struct{})} }

func (d *door) wait(r *http.Request) {
	d.arrived <- r.Header.Get("X-Configuration")
	select {
	case <-d.open:
	case <-r.Context().Done():
	}
}

// expect waits for n requests, all of which came through the configuration.
func (d *door) expect(t *testing.T, n int, configuration string) {
	t.Helper()
	for range n {
		select {
		case got := <-d.arrived:
			if got != configuration {
				t.Fatalf("a request came through the configuration %q, not %q", got, configuration)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a request does not arrive")
		}
	}
}

// hold makes /now/… a call of /v1/me, and /held/… one that waits at the first door.
// Refreshes wait at the second, where there is one.
func (w *world) hold(calls, refreshes *door) {
	w.front = func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasPrefix(r.URL.Path, "/held/") {
			calls.wait(r) // a second try comes when the door is open
			r.URL.Path = "/v1/me"
		}
		if strings.HasPrefix(r.URL.Path, "/now/") {
			r.URL.Path = "/v1/me"
		}
		if r.URL.Path == "/token" && refreshes != nil && bodyHas(r, "grant_type=refresh_token") {
			refreshes.wait(r)
		}
		next.ServeHTTP(rw, r)
	}
}

// bodyHas looks into a small body and leaves it as it was.
func bodyHas(r *http.Request, text string) bool {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return bytes.Contains(body, []byte(text))
}

// named is a configuration that the provider can tell from others.
func (w *world) named(name, caddyfile string) string {
	return strings.Replace(caddyfile, "identity /v1/me email", "identity /v1/me email\n\t\t\theader X-Configuration "+name, 1)
}

// reload loads a configuration and waits until the old one has let go of the socket.
func (w *world) reload(caddyfile string) {
	w.t.Helper()
	w.load(caddyfile)
	w.handedOver()
}

// handedOver waits: Caddy closes the old listener on a goroutine of its own.
func (w *world) handedOver() {
	w.t.Helper()
	eventually(w.t, "the old listener is closed", func() bool { return caddy.ListenerUsage("tcp", w.address) == 1 })
}

// answer is what an agent gets.
type answer struct {
	path   string
	status int
	body   string
	err    error
}

var asked atomic.Int64

// ask makes a call in the background, on a connection of its own.
func (w *world) ask(ctx context.Context, kind string) <-chan answer {
	return w.askAt(ctx, "acme", kind)
}

func (w *world) askAt(ctx context.Context, toolkit, kind string) <-chan answer {
	got := make(chan answer, 1)
	path := fmt.Sprintf("/%s/%d", kind, asked.Add(1))
	go func() { got <- w.attempt(ctx, toolkit, path) }()
	return got
}

func (w *world) attempt(ctx context.Context, toolkit, path string) answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.public()+"/"+toolkit+path, nil)
	if err != nil {
		return answer{path: path, err: err}
	}
	r.Close = true
	r.Header.Set("X-User-Id", "alice")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{path: path, err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{path, res.StatusCode, string(body), err}
}

// hasRecorded reports whether a call was on its way.
func (w *world) hasRecorded(path string) bool {
	record, err := os.ReadFile(filepath.Join(w.dir, "audit.log"))
	return err != nil || bytes.Contains(record, []byte(`"path":"`+path+`"`))
}

// good waits for answers, all of which are what alice asked for.
func (w *world) good(answers ...<-chan answer) {
	w.t.Helper()
	for _, c := range answers {
		select {
		case a := <-c:
			if a.err != nil || a.status != http.StatusOK || !strings.Contains(a.body, "alice@acme.example") {
				w.t.Errorf("%s: %d %s, %v", a.path, a.status, a.body, a.err)
			}
		case <-time.After(20 * time.Second):
			w.t.Fatal("a call has no answer")
		}
	}
}

// refreshed checks how often a refresh token was spent.
func (w *world) refreshed(times int) {
	w.t.Helper()
	// One token request more is the code's.
	if s := w.acme.Stats(); s.Refreshes != times || s.TokenRequests != times+1 || s.ReuseDetections != 0 {
		w.t.Errorf("want %d refreshes; at the provider: %+v", times, s)
	}
}

// eventually waits for what has no event.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in ten seconds: %s", what)
		}
	}
}

// long is how often something is done: more often where there is time.
func long(times int) int {
	if os.Getenv("TOOLGATE_LONG") != "" {
		return 20 * times
	}
	return times
}

// footprint is what a process has open.
type footprint struct {
	goroutines, files int
	conns             int64
}

// now gives the footprint of the moment.
func (w *world) now() footprint {
	open, _ := os.ReadDir("/proc/self/fd") // none where there is no such thing
	return footprint{runtime.NumGoroutine(), len(open), w.conns.Load()}
}

// rest waits until nothing changes any more and gives what is there then.
func (w *world) rest() footprint {
	w.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	last, same := w.now(), 0
	eventually(w.t, "nothing changes any more", func() bool {
		if now := w.now(); now != last {
			last, same = now, 0
		} else {
			same++
		}
		return same > 40
	})
	return last
}

// backTo waits until no more is open than before.
func (w *world) backTo(before footprint) {
	w.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	var now footprint
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		now = w.now()
		if now.goroutines <= before.goroutines && now.files <= before.files && now.conns <= before.conns {
			return
		}
	}
	stacks := make([]byte, 1<<20)
	w.t.Errorf("before: %+v, after: %+v\n%s", before, now, stacks[:runtime.Stack(stacks, true)])
}

// hasOpen reports whether this process has the file open.
func hasOpen(t *testing.T, path string) bool {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc/self/fd")
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to == path {
			return true
		}
	}
	return false
}
