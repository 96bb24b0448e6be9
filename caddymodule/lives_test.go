// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// lived is a world with a second provider, whose answers wait at a door in the middle.
type lived struct {
	*world
	middle *door
	breaks bool // its answers break off
	proto  int
	option string
}

func newLived(t *testing.T, secure bool) *lived {
	t.Helper()
	l := &lived{world: newWorld(t), middle: newDoor(), proto: 1}
	other := httptest.NewUnstartedServer(http.HandlerFunc(l.serve))
	other.Listener = countingListener{other.Listener, &l.conns}
	t.Cleanup(other.Close)
	transport := ""
	if secure {
		l.proto, other.EnableHTTP2 = 2, true
		transport = "transport http {\n\ttls_insecure_skip_verify\n}\n"
		other.StartTLS()
	} else {
		other.Start()
	}
	l.option = "toolkit other {\nbase_url " + other.URL + "\nno_auth\n" + transport + "}"
	return l
}

func (l *lived) serve(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		echo(rw)
		return
	}
	if r.ProtoMajor != l.proto {
		l.t.Errorf("%s, and not %d", r.Proto, l.proto)
	}
	fmt.Fprintln(rw, "first")
	rw.(http.Flusher).Flush()
	l.middle.wait(r)
	if l.breaks {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintln(rw, "second")
}

// echo changes the protocol and sends back what comes.
func echo(rw http.ResponseWriter) {
	c, from, err := rw.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(c, from)
}

// turn is the n-th configuration.
func (l *lived) turn(n int) {
	l.t.Helper()
	l.reload(l.caddyfile("", fmt.Sprintf("link_life %dm\n%s", n+5, l.option), ""))
}

func TestConnectionsCloseAfterAnOldConfigurationsLastRequest(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, end := range []string{"the answers end", "the agents hang up", "the provider breaks off"} {
			t.Run(fmt.Sprintf("%s, over HTTP/%d", end, map[bool]int{false: 1, true: 2}[secure]), func(t *testing.T) {
				l := newLived(t, secure)
				l.breaks = end == "the provider breaks off"
				l.turn(0)
				l.turn(1)
				before := l.rest()
				ctx, hangUp := context.WithCancel(t.Context())
				defer hangUp()
				var held []<-chan answer
				for range 10 {
					held = append(held, l.askAt(ctx, "other", "stream"))
				}
				l.middle.expect(t, 10, "")
				l.turn(2)
				if end == "the agents hang up" {
					hangUp()
				} else {
					close(l.middle.open)
				}
				for _, c := range held {
					if a := <-c; end == "the answers end" && (a.err != nil || a.body != "first\nsecond\n") || end != "the answers end" && a.err == nil {
						t.Errorf("%d %q, %v", a.status, a.body, a.err)
					}
				}
				l.backTo(before)
			})
		}
	}
}

// A second try and a refresh dial again, long after Caddy closed what was idle.
func TestConnectionsForASecondTryCloseToo(t *testing.T) {
	w, calls := newWorld(t), newDoor()
	w.hold(calls, nil)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	w.reload(w.caddyfile("", "link_life 6m", ""))
	before := w.rest()
	var held []<-chan answer
	for range 10 {
		held = append(held, w.ask(t.Context(), "held"))
	}
	calls.expect(t, 10, "")
	w.reload(w.caddyfile("", "link_life 7m", ""))
	w.acme.ExpireAccessTokens()
	close(calls.open)
	w.good(held...)
	w.refreshed(1)
	w.backTo(before)
}

func TestAWebSocketGoesOnOverReloadsAndLeavesNothing(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("secure: %v", secure), func(t *testing.T) {
			l := newLived(t, secure)
			l.turn(0)
			l.turn(1)
			before := l.rest()
			agent := l.upgrade("/other/socket")
			for n := range 3 {
				l.turn(2 + n)
				agent.echoes(t, fmt.Sprintf("after %d reloads", n+1))
			}
			agent.Close()
			l.backTo(before)
		})
	}
}

// No server knows of it: without us it would outlive everything.
func TestAStopEndsWebSockets(t *testing.T) {
	l := newLived(t, false)
	l.turn(0)
	agent := l.upgrade("/other/socket")
	agent.echoes(t, "before")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.from.ReadByte(); err != io.EOF {
		t.Errorf("after the stop: %v", err)
	}
}

// agentSocket is an agent's end of an upgraded connection.
type agentSocket struct {
	net.Conn
	from *bufio.Reader
}

func (w *world) upgrade(path string) *agentSocket {
	w.t.Helper()
	for range 20 { // a reload may close a connection that nobody has read from
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost:%s\r\nX-User-Id: alice\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", path, w.port())
		s := &agentSocket{c, bufio.NewReader(c)}
		res, err := http.ReadResponse(s.from, nil)
		if err == nil && res.StatusCode == http.StatusSwitchingProtocols {
			return s
		}
		if err == nil {
			body, _ := io.ReadAll(res.Body)
			w.t.Fatalf("%d %s", res.StatusCode, body)
		}
		c.Close()
	}
	w.t.Fatal("no connection is taken")
	return nil
}

func (s *agentSocket) echoes(t *testing.T, text string) {
	t.Helper()
	fmt.Fprintln(s, text)
	if got, err := s.from.ReadString('\n'); err != nil || strings.TrimSpace(got) != text {
		t.Fatalf("%q came back as %q, %v", text, got, err)
	}
}
