// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// TestReloadsCutNoCall reloads again and again while calls are in flight, 500 of them
// for as long as all reloads take, and others one after the other. None leaves anything
// behind.
//
// Those that may be made twice all succeed: net/http makes them again where a reload
// closes the connection that it had kept, in the moment in which it is used. A POST
// without an Idempotency-Key may come to nothing there, before it has reached us, and
// nowhere else: on a connection that was never used no call is lost.
func TestReloadsCutNoCall(t *testing.T) {
	t.Run("with calls between the reloads", func(t *testing.T) { newReloadStorm(t).reload(400) })
	t.Run("one reload after the other", func(t *testing.T) { newReloadStorm(t).reload(0) })
}

// reloadStorm is calls that go on while the configuration is loaded anew.
type reloadStorm struct {
	*world
	client  *http.Client
	arrived chan struct{} // held calls
	release chan struct{}
	done    chan struct{} // one for each call that went through
	calls   atomic.Int64
	failed  sync.Map // path of a call without an answer: its error
}

const (
	heldCalls    = 500
	reloads      = 20
	busyCallers  = 20
	mostAnswered = 1 << 20
)

func newReloadStorm(t *testing.T) *reloadStorm {
	s := &reloadStorm{
		world: newWorld(t), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 50}},
		arrived: make(chan struct{}, heldCalls), release: make(chan struct{}), done: make(chan struct{}, mostAnswered),
	}
	t.Cleanup(s.client.CloseIdleConnections)
	s.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/extra/held/") {
			s.arrived <- struct{}{}
			<-s.release
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(rw, "%d bytes", n)
	})
	s.load(s.caddyfile("", "", ""))
	s.connect()
	return s
}

// reload loads 20 configurations with at least so many calls between two of them.
func (s *reloadStorm) reload(between int) {
	s.world.reload(s.caddyfile("", "link_life 6m", ""))
	before := s.rest()
	var all sync.WaitGroup
	for range heldCalls {
		all.Go(func() { s.ask("PUT", "held") })
	}
	for range heldCalls {
		<-s.arrived
	}
	over := make(chan struct{})
	for i := range busyCallers {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					s.ask([]string{"GET", "POST", "POST"}[i%3], []string{"read", "again", "once"}[i%3])
					s.done <- struct{}{}
				}
			}
		})
	}
	for i := range reloads {
		for range between {
			<-s.done
		}
		s.load(s.caddyfile("", fmt.Sprintf("link_life %dm", i+5), ""))
	}
	close(over)
	close(s.release)
	all.Wait()
	s.client.CloseIdleConnections()
	s.world.reload(s.caddyfile("", "link_life 4m", ""))
	s.backTo(before)
	s.compare()
}

// ask calls until there is an answer, and notes each failure.
func (s *reloadStorm) ask(method, kind string) {
	for {
		path := fmt.Sprintf("%s/%d", kind, s.calls.Add(1))
		err := s.once(method, path)
		if err == nil {
			return
		}
		s.failed.Store("/extra/"+path, err)
	}
}

func (s *reloadStorm) once(method, path string) error {
	r, err := http.NewRequest(method, s.public()+"/acme/extra/"+path, bytes.NewReader(make([]byte, 1000)))
	if err != nil {
		return err
	}
	r.Header.Set("X-User-Id", "alice")
	if strings.HasPrefix(path, "again/") {
		r.Header.Set("Idempotency-Key", path)
	}
	reused := false
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { reused = false },
		GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
	}))
	res, err := s.client.Do(r)
	if err != nil && reused {
		return &onKept{err}
	} else if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || string(body) != "1000 bytes") {
		err = fmt.Errorf("%d %s", res.StatusCode, body)
	}
	return err
}

// onKept is what went wrong on a connection that the client had kept.
type onKept struct{ error }

// compare looks at the calls that failed, and for them in the audit log, where they must
// not be.
func (s *reloadStorm) compare() {
	s.t.Helper()
	record, err := os.ReadFile(filepath.Join(s.dir, "audit.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	again := 0
	s.failed.Range(func(path, err any) bool {
		again++
		var kept *onKept
		switch {
		case bytes.Contains(record, []byte(`"path":"`+path.(string)+`"`)):
			s.t.Errorf("%s was on its way and was cut: %v", path, err)
		case !strings.Contains(path.(string), "/once/") || !errors.As(err.(error), &kept):
			s.t.Errorf("%s: %v", path, err)
		}
		return true
	})
	s.t.Logf("%d calls over %d reloads, %d of them held, %d without a key met the end of a kept connection", s.calls.Load(), reloads, heldCalls, again)
	if !bytes.Contains(record, []byte(`"path":"/extra/read/`)) {
		s.t.Error("no call went through while reloading, or the audit log has none")
	}
}

// TestNothingIsLeftBehind compares goroutines before and after a life with reloads,
// calls and a stream.
func TestNothingIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", "")) // what Caddy starts once and keeps
	w.connect()
	http.DefaultClient.CloseIdleConnections()
	before := settled(t, 0)
	for i := range 10 {
		w.load(w.caddyfile("", fmt.Sprintf("link_life %dm", i+5), ""))
		if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if after := settled(t, before); after > before {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after:\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

// settled is the number of goroutines once it is at most want, or has not changed for
// a while. There is no event to wait for: idle connections end in their own time.
func settled(t *testing.T, want int) int {
	t.Helper()
	n, same := runtime.NumGoroutine(), 0
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
		now := runtime.NumGoroutine()
		if want > 0 && now <= want {
			return now
		}
		if now != n {
			n, same = now, 0
		} else if same++; want == 0 && same > 25 {
			return n
		}
	}
	return n
}
