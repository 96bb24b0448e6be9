// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// These are about answers that come before the upload's end. Caddy has put a reader of
// its own into the request, so net/http is of no help.

// logged loads a world whose whole log is kept, and looks at it in the end.
func logged(t *testing.T, m more) *wire {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "all.log")
	m.global += fmt.Sprintf("\n\tlog {\n\t\toutput file %q\n\t\tlevel DEBUG\n\t}", log)
	w := newWire(t, m)
	t.Cleanup(func() {
		w.settle(t)
		text, err := os.ReadFile(log)
		if err != nil || len(text) == 0 {
			t.Errorf("the log: %d bytes, %v", len(text), err)
		}
		for _, bad := range []string{"panic", "invalid concurrent Body.Read", "superfluous", w.bearer["alice"], botKey} {
			if strings.Contains(string(text), bad) {
				t.Errorf("the log holds %q:\n%s", bad, text)
			}
		}
	})
	return w
}

// ended expects that nothing more comes, and that no reset takes its place.
func ended(t *testing.T, from *bufio.Reader) {
	t.Helper()
	if b, err := from.ReadByte(); err != io.EOF {
		t.Errorf("then %q, %v", b, err)
	}
}

func TestARefusalWaitsForNoUpload(t *testing.T) {
	w := logged(t, more{})
	var wait sync.WaitGroup
	for _, sent := range []string{
		"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n",
		"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n",
		"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
		"Content-Length: 1000000\r\n\r\nand then nothing",
		"Content-Length: 1000\r\n\r\nand then nothing",
		"Content-Length: 1000\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
		"Transfer-Encoding: chunked\r\n\r\n",
	} {
		for _, then := range []string{"", w.filled(second)} {
			wait.Go(func() { w.isRefusedAtOnce(t, sent, then) })
		}
	}
	wait.Wait()
	if got := w.provider.taken(); len(got) != 0 {
		t.Errorf("there came %+v", got)
	}
}

// isRefusedAtOnce is for half an upload. What comes after the answer is no request.
func (w *wire) isRefusedAtOnce(t *testing.T, sent, then string) {
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	from := bufio.NewReader(conn)
	_, _ = io.WriteString(conn, w.filled(refusedFirst)+sent)
	if r, err := readReply(from, "POST"); err != nil || r.says() != "400 user_required" || !r.Close {
		t.Errorf("%q: %s, %v, close %v", sent, r.says(), err, r.Close)
	}
	if then == "" {
		ended(t, from)
		return
	}
	_, _ = io.WriteString(conn, then)
	if rest, _ := io.ReadAll(from); len(rest) > 0 {
		t.Errorf("%q: then %q", sent, rest)
	}
}

// The small bodies are here when the refusal is made, or very soon.
func TestARefusalAfterASmallBodyKeepsTheConnection(t *testing.T) {
	w := logged(t, more{})
	for _, sent := range []string{
		"Content-Length: 4\r\n\r\nbody",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"Content-Length: 65536\r\n\r\n" + strings.Repeat("x", 65536),
		"Content-Length: 0\r\n\r\n",
	} {
		kept := false
		for range 20 { // a busy machine may let it take too long
			if kept = kept || w.keepsIts(t, sent); kept {
				break
			}
		}
		if !kept {
			t.Errorf("%.40q: the connection is never kept", sent)
		}
	}
}

// keepsIts makes turns of a refused and a good call on one connection.
func (w *wire) keepsIts(t *testing.T, sent string) bool {
	conn, from := w.dial(t)
	defer conn.Close()
	for range 3 {
		_, _ = io.WriteString(conn, w.filled(refusedFirst)+sent)
		r, err := readReply(from, "POST")
		if err != nil || r.says() != "400 user_required" {
			t.Fatalf("%.40q: %s, %v", sent, r.says(), err)
		}
		if r.Close {
			return false
		}
		_, _ = io.WriteString(conn, w.filled(first)+sent)
		if r, err = readReply(from, "POST"); err != nil || r.says() != "200" || r.Close {
			t.Fatalf("%.40q: the next one: %s, %v, close %v", sent, r.says(), err, r.Close)
		}
	}
	if got := w.provider.taken(); len(got) < 3 || !strings.HasSuffix(sent, got[0].body) && !strings.Contains(sent, "chunked") {
		t.Errorf("%.40q: %d came", sent, len(got))
	}
	return true
}

func TestAProvidersEarlyAnswerArrivesDuringTheUpload(t *testing.T) {
	w := logged(t, more{})
	const tooLarge = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n%s\r\ntoo large"
	for _, closing := range []string{"Connection: close\r\n", ""} {
		over := make(chan struct{})
		w.provider.takes(func(conn net.Conn, from *bufio.Reader) {
			for line := " "; line != ""; {
				line, _ = strictLine(from)
			}
			_, _ = io.ReadFull(from, make([]byte, 5))
			fmt.Fprintf(conn, tooLarge, closing)
			<-over
		})
		for _, sent := range []string{"Content-Length: 1000000\r\n\r\nfirst", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"} {
			conn, from := w.dial(t)
			_, _ = io.WriteString(conn, w.filled(first)+sent)
			r, err := readReply(from, "POST")
			if err != nil || r.StatusCode != 413 || r.body != "too large" || !r.Close {
				t.Errorf("%v %q, %v", r.StatusCode, r.body, err)
			}
			ended(t, from)
		}
		close(over)
	}
	w.provider.answers(nil)
	if replies, kept := w.talk(t, w.filled(first)+"Content-Length: 4\r\n\r\nbody"); len(replies) != 1 || replies[0].says() != "200" || !kept {
		t.Errorf("the next one: %+v", replies)
	}
}

const idle = "servers {\n\t\ttimeouts {\n\t\t\tread_body_idle 300ms\n\t\t\twrite_idle 300ms\n\t\t}\n\t}"

// longer is more than the time of [idle], for what must outlive it.
const longer = 700 * time.Millisecond

func TestAPausedUploadEndsAsTheCallersFault(t *testing.T) {
	w := logged(t, more{global: idle})
	before := runtime.NumGoroutine()
	for _, sent := range []string{"Content-Length: 10\r\n\r\nfirst", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", "Content-Length: 10\r\n\r\n"} {
		conn, from := w.dial(t)
		_, _ = io.WriteString(conn, w.filled(first)+sent)
		r, err := readReply(from, "POST")
		if err != nil || r.says() != "408 bad_request" || !strings.Contains(r.body, `"rule":"upload_timeout"`) || !r.Close {
			t.Fatalf("%q: %s, %v, %s", sent, r.says(), err, r.body)
		}
		ended(t, from)
		conn.Close()
	}
	for _, m := range w.provider.taken() {
		if m.fault == nil {
			t.Errorf("half an upload came as a whole one: %+v", m)
		}
	}
	eventually(t, "its goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestAnIdleStreamLivesOn(t *testing.T) {
	w := logged(t, more{global: idle})
	w.provider.takes(func(conn net.Conn, from *bufio.Reader) {
		_ = readMessage(from)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n")
		<-time.After(longer) // this is what is tried, not a wait for something
		_, _ = io.WriteString(conn, "data: 2\n\n")
	})
	conn, from := w.dial(t)
	_, _ = io.WriteString(conn, w.filled("GET /acme/events HTTP/1.1\r\nHost: HOST\r\nWHO\r\n"))
	if r, err := readReply(from, "GET"); err != nil || r.body != "data: 1\n\ndata: 2\n\n" {
		t.Errorf("%q, %v", r.body, err)
	}
}

func TestAnIdleTunnelLivesOnAndIsClosedByHalves(t *testing.T) {
	w := logged(t, more{global: idle})
	w.provider.takes(func(conn net.Conn, from *bufio.Reader) {
		_ = readMessage(from)
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		<-time.After(longer)
		_, _ = io.WriteString(conn, "hello")
		all, _ := io.ReadAll(from) // until the agent has stopped
		fmt.Fprintf(conn, "|%s", all)
	})
	conn, from := w.dial(t)
	_, _ = io.WriteString(conn, w.filled("GET /acme/ws HTTP/1.1\r\nHost: HOST\r\nWHOConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
	r, err := readReply(from, "GET")
	if err != nil || r.StatusCode != 101 {
		t.Fatalf("%v, %v", r.StatusCode, err)
	}
	hello := make([]byte, 5)
	if _, err := io.ReadFull(from, hello); err != nil || string(hello) != "hello" {
		t.Fatalf("%q, %v", hello, err)
	}
	_, _ = io.WriteString(conn, "bye")
	_ = conn.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(from); err != nil || string(rest) != "|bye" {
		t.Errorf("%q, %v", rest, err)
	}
}
