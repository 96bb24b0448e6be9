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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// TestReloadsCutNoCall reloads again and again while calls are in flight, some of them
// for as long as all reloads take, and others one after the other. Every one that
// reached us gets its whole answer, and none leaves anything behind. One that did not
// reach us may come to nothing: when Caddy closes the old listening socket, Linux
// resets what waits in its queue, and Go's server closes what it has not read; clients
// have to dial again.
func TestReloadsCutNoCall(t *testing.T) {
	const held, reloads = 500, 20
	w := newWorld(t)
	arrived := make(chan struct{}, held)
	release := make(chan struct{})
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/extra/held/") {
			arrived <- struct{}{}
			<-release
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(rw, "%d bytes", n)
	})
	w.load(w.caddyfile("", "", ""))
	w.connect()
	w.reload(w.caddyfile("", "link_life 6m", ""))
	before := w.rest()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 50}}
	defer client.CloseIdleConnections()
	var calls atomic.Int64
	var failed sync.Map // paths of calls without an answer
	once := func(method, path string) error {
		r, err := http.NewRequestWithContext(context.Background(), method, w.public()+"/acme/extra/"+path, bytes.NewReader(make([]byte, 1000)))
		if err != nil {
			return err
		}
		r.Header.Set("X-User-Id", "alice")
		res, err := client.Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err == nil && (res.StatusCode != http.StatusOK || string(body) != "1000 bytes") {
			err = fmt.Errorf("%d %s", res.StatusCode, body)
		}
		return err
	}
	ask := func(method, kind string) {
		for {
			path := fmt.Sprintf("%s/%d", kind, calls.Add(1))
			err := once(method, path)
			if err == nil {
				return
			}
			failed.Store("/extra/"+path, err)
		}
	}

	var all sync.WaitGroup
	for range held {
		all.Go(func() { ask("PUT", "held") })
	}
	for range held {
		<-arrived
	}
	over := make(chan struct{})
	var done atomic.Int64
	for i := range 20 {
		all.Go(func() {
			method := []string{"GET", "POST"}[i%2]
			for {
				select {
				case <-over:
					return
				default:
				}
				ask(method, "quick")
				done.Add(1)
			}
		})
	}
	for i := range reloads {
		w.load(w.caddyfile("", fmt.Sprintf("link_life %dm", i+5), ""))
	}
	close(over)
	close(release)
	all.Wait()
	client.CloseIdleConnections()
	w.reload(w.caddyfile("", "link_life 4m", ""))
	w.backTo(before)
	again := 0
	record, err := os.ReadFile(filepath.Join(w.dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	failed.Range(func(path, err any) bool {
		again++
		if bytes.Contains(record, []byte(`"path":"`+path.(string)+`"`)) {
			t.Errorf("%s was on its way and was cut: %v", path, err)
		}
		return true
	})
	t.Logf("%d calls were held over %d reloads, %d more came and went, %d had to dial again", held, reloads, done.Load(), again)
	if done.Load() < reloads {
		t.Errorf("only %d calls went through while reloading", done.Load())
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
