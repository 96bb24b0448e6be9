// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// terminate tells the server to end, and waits until it takes no new connection.
func (s *server) terminate(t *testing.T, w *world) {
	t.Helper()
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", w.address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// ended waits for the end, which has to be an orderly one.
func (s *server) ended(t *testing.T) {
	t.Helper()
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		t.Fatal("the process does not end")
	}
	if s.code != 0 {
		t.Errorf("the exit code is %d", s.code)
	}
}

// stream is a call whose two halves come apart.
type stream struct {
	kind   string
	answer *http.Response
	upload *io.PipeWriter
	done   chan error // of the upload
}

// halves is a provider that sends or takes one half and waits in the middle.
func halves(ending, staying *door) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		middle := staying
		if strings.HasSuffix(r.URL.Path, "/ends") {
			middle = ending
		}
		switch {
		case r.Header.Get("Upgrade") != "":
			echo(rw)
			return
		case r.Method == http.MethodPut:
			half := make([]byte, 1000)
			_, _ = io.ReadFull(r.Body, half)
			middle.arrived <- ""
			rest, err := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(rw, "%d bytes, %v", len(half)+int(rest), err)
			return
		case strings.Contains(r.URL.Path, "/download"):
			rw.Header().Set("Content-Length", "2000")
		default:
			rw.Header().Set("Content-Type", "text/event-stream")
		}
		fmt.Fprint(rw, strings.Repeat("x", 1000))
		rw.(http.Flusher).Flush()
		middle.wait(r)
		fmt.Fprint(rw, strings.Repeat("y", 1000))
	}
}

func (w *world) download(kind, end string) *stream {
	return &stream{kind: kind, answer: w.open("GET", "/acme/extra/"+kind+"/"+end)}
}

func (w *world) upload(end string) *stream {
	from, to := io.Pipe()
	s := &stream{kind: "upload", upload: to, done: make(chan error, 1)}
	r, err := http.NewRequest(http.MethodPut, w.public()+"/acme/extra/upload/"+end, from)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-User-Id", "alice")
	go func() {
		var err error
		s.answer, err = http.DefaultClient.Do(r)
		s.done <- err
	}()
	_, _ = to.Write(make([]byte, 1000))
	return s
}

// whole gets the second half.
func (s *stream) whole(t *testing.T) {
	t.Helper()
	want := strings.Repeat("x", 1000) + strings.Repeat("y", 1000)
	if s.upload != nil {
		_, _ = s.upload.Write(make([]byte, 1000))
		s.upload.Close()
		if err := <-s.done; err != nil {
			t.Errorf("%s: %v", s.kind, err)
			return
		}
		want = "2000 bytes, <nil>"
	}
	defer s.answer.Body.Close()
	if body, err := io.ReadAll(s.answer.Body); err != nil || string(body) != want {
		t.Errorf("%s: %q, %v", s.kind, body, err)
	}
}

// cut gets none, and sees it.
func (s *stream) cut(t *testing.T) {
	t.Helper()
	if s.upload != nil {
		s.upload.CloseWithError(io.ErrClosedPipe) // net/http waits for its own reader first
		if err := <-s.done; err == nil {
			t.Errorf("%s: answered with %d", s.kind, s.answer.StatusCode)
		}
		return
	}
	defer s.answer.Body.Close()
	if body, err := io.ReadAll(s.answer.Body); err == nil || len(body) != 1000 {
		t.Errorf("%s: %d bytes and a clean end (%v)", s.kind, len(body), err)
	}
}

func TestSIGTERMGivesStreamsTheGracePeriod(t *testing.T) {
	const grace = 2 * time.Second // as world's Caddyfile has it
	w := newWorld(t)
	ending, staying := newDoor(), newDoor()
	defer close(staying.open)
	w.extra = halves(ending, staying)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	w.connect()
	end := []*stream{w.download("events", "ends"), w.download("download", "ends"), w.upload("ends")}
	stay := []*stream{w.download("events", "stays"), w.download("download", "stays"), w.upload("stays")}
	socket := w.upgrade("/acme/extra/socket")
	socket.echoes(t, "before")
	ending.expect(t, 3, "")
	staying.expect(t, 3, "")

	start := time.Now()
	s.terminate(t, w)
	socket.echoes(t, "while it drains")
	close(ending.open)
	for _, stream := range end {
		stream.whole(t)
	}
	s.ended(t)
	if took := time.Since(start); took < grace || took > grace+5*time.Second {
		t.Errorf("the end took %v", took)
	}
	for _, stream := range stay {
		stream.cut(t)
	}
	if _, err := socket.from.ReadByte(); err == nil {
		t.Error("the WebSocket goes on without a gateway")
	}
	w.load(w.caddyfile("", "", "")) // at once, on the same store
	if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusOK {
		t.Errorf("after the end: %d %s", status, body)
	}
}

func TestARefreshThatIsUnderWayAtSIGTERMIsSaved(t *testing.T) {
	for _, c := range []string{"and its caller waits", "and its caller hung up", "and takes longer than the grace period"} {
		t.Run(c, func(t *testing.T) {
			w, calls, refreshes := newWorld(t), newDoor(), newDoor()
			w.hold(calls, refreshes)
			s := serveConfig(t, w, strings.Replace(w.caddyfile("", "", ""), "grace_period 2s", "grace_period 1s", 1), "ACME_CLIENT_SECRET="+clientSecret)
			w.connect()
			w.acme.ExpireAccessTokens()
			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			call := w.ask(ctx, "now")
			refreshes.expect(t, 1, "")
			if c == "and its caller hung up" {
				hangUp()
				<-call
			}
			s.terminate(t, w)
			if c == "and takes longer than the grace period" {
				eventually(t, "the grace period is over", func() bool { return strings.Contains(s.printed.String(), "graceful shutdown 1s timeout") })
			}
			close(refreshes.open)
			if c == "and its caller waits" {
				w.good(call)
			}
			s.ended(t)
			w.load(w.caddyfile("", "", ""))
			w.good(w.ask(t.Context(), "now"))
			w.refreshed(1)
		})
	}
}
