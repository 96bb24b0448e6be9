// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A client that has dialled ahead, and sends when the configuration is another one.
func TestAConnectionDialledAheadIsServedByTheNewServer(t *testing.T) {
	a := &address{t: t}
	stop := a.serve(nil)
	client := a.dial()
	a.waitFor(func(c *Conn) bool { return true })
	next := a.serve(nil)
	stop()
	defer next()
	say(t, client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
	res, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
}

// The keys of such a connection, and what its handshake was asked for (a client's
// certificate), are the old server's.
func TestAConnectionDialledAheadOverTLSIsClosedBeforeARequestIsLostOnIt(t *testing.T) {
	serve, trust := certified(t)
	a := &address{t: t}
	stop := a.serve(serve)
	client := tls.Client(a.dial(), trust)
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	a.waitFor(func(c *Conn) bool { return c.secured.Load() != nil })
	next := a.serve(serve)
	defer next()
	// The old server has not been told yet to shut down.
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := client.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Fatalf("%d bytes, %v: no close_notify", n, err)
	}
	stop()
}

func TestAnHTTP2ConnectionDialledAheadIsTheServersToEnd(t *testing.T) {
	serve, trust := certified(t)
	serve.NextProtos, trust.NextProtos = []string{"h2"}, []string{"h2"}
	a := &address{t: t}
	old := a.join()
	client := tls.Client(a.dial(), trust)
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	before := tls.Server(accept(t, old), serve)
	if err := before.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	State(before, http.StateNew)
	a.join()
	say(t, client, "x")
	hear(t, before, "x")
}

// net/http sets limits between the handshake and its first Read.
func TestWhatAServerDoesBetweenTwoReadsDoesNotUndoTheEnd(t *testing.T) {
	_, before, inner := dialledAhead(t)
	inner.end()
	_ = before.SetReadDeadline(time.Time{})
	ended := make(chan error, 1)
	go func() { _, err := before.Read(make([]byte, 1)); ended <- err }()
	select {
	case err := <-ended:
		if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it still reads")
	}
}

func TestARequestThatWasReadInTheMomentOfTheEndGoesOn(t *testing.T) {
	client, before, inner := dialledAhead(t)
	inner.end()
	State(before, http.StateActive)
	inner.end() // says nothing any more
	say(t, client, "the body")
	hear(t, before, "the body")
}

// Go's client keeps connections that it dialled and then did not need, and sends again
// what may be sent twice, but only where the server closed before it answered.
func TestNoCallThatMayBeSentTwiceIsLostOnAConnectionDialledAhead(t *testing.T) {
	serve, trust := certified(t)
	a := &address{t: t}
	stop := a.serve(serve)
	for round := range 6 {
		dialled := make(chan struct{}, 2)
		hold := make(chan struct{})
		transport := &http.Transport{DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := (&tls.Dialer{Config: trust}).DialContext(ctx, network, a.at)
			dialled <- struct{}{}
			<-hold
			return conn, err
		}}
		client := &http.Client{Transport: transport}
		// Two dials for one call: the first is given up by its caller and goes on.
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+a.at, nil)
			_, err := client.Do(req)
			given <- err
		}()
		<-dialled
		cancel()
		if err := <-given; err == nil {
			t.Fatal("it was to be given up")
		}
		close(hold)
		a.waitFor(func(c *Conn) bool { return c.secured.Load() != nil })
		next := a.serve(serve)
		if round%2 == 0 { // the client has seen that it was closed, or not
			stop()
		}
		req, _ := http.NewRequest(http.MethodPost, "https://"+a.at, strings.NewReader("hello"))
		req.Header.Set("Idempotency-Key", "one")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(round, err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "hello" {
			t.Fatalf("%q %v", body, err)
		}
		res.Body.Close()
		transport.CloseIdleConnections()
		if round%2 == 1 {
			stop()
		}
		stop = next
	}
	stop()
}

// dialledAhead is a connection whose handshake is done, at both ends.
func dialledAhead(t *testing.T) (client, server *tls.Conn, inner *Conn) {
	t.Helper()
	serve, trust := certified(t)
	a := &address{t: t}
	old := a.join()
	client = tls.Client(a.dial(), trust)
	go client.Handshake()
	inner = accept(t, old)
	server = tls.Server(inner, serve)
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	State(server, http.StateNew)
	return client, server, inner
}

// certified is a server's certificate, and a client that trusts it.
func certified(t *testing.T) (serve, trust *tls.Config) {
	secure := httptest.NewUnstartedServer(nil)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	serve = &tls.Config{Certificates: secure.TLS.Certificates}
	trust = secure.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trust.ServerName = "example.com" // httptest's
	return serve, trust
}

// waitFor waits until the newest server has one connection of which something holds.
func (a *address) waitFor(holds func(*Conn) bool) {
	until(&a.sockets.mu, func() bool {
		for _, one := range a.sockets.open {
			l := one.servers[len(one.servers)-1]
			l.mu.Lock()
			defer l.mu.Unlock()
			for c := range l.conns {
				if holds(c) {
					return true
				}
			}
		}
		return false
	})
}
