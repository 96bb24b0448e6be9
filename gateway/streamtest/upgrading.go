// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package streamtest

import (
	"bufio"
	"hash/crc32"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

var upgrading = []promise{
	{words: "a WebSocket talks until one side closes it", check: webSockets, options: Options{HeaderTime: gatewaytest.Patience, IdleTime: limit}},
}

// noSocket says which sides have no WebSocket, and why. Where TLS is negotiated, a
// client and the transport take HTTP/1.1 for it.
var noSocket = map[gatewaytest.Protocol]struct{ caller, upstream string }{gatewaytest.H2C: {
	caller:   "HTTP/2 has no Connection and no Upgrade (RFC 9113 §8.2.2), and net/http has extended CONNECT (RFC 8441) switched off",
	upstream: "a provider with HTTP/2 alone has no Upgrade (RFC 9113 §8.2.2)",
}}

func webSockets(t *testing.T, l *Lane) {
	l.provider.Handle(echoes)
	l.whole(t, l.request(t, "GET", nil)) // so that a connection over HTTP/2 is at hand
	if why := noSocket[l.Caller].caller; why != "" {
		t.Log(why)
		r := l.request(t, "GET", nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		if res, err := l.client.Do(r); err == nil {
			res.Body.Close()
			t.Errorf("answered %s", res.Status)
		}
		return
	}
	if why := noSocket[l.Upstream].upstream; why != "" {
		t.Log(why)
		conn := l.dial(t)
		_, _ = io.WriteString(conn, l.head(t, "GET")+socketHeaders)
		if res, text := gatewaytest.ReadAnswer(t, bufio.NewReader(conn)); res.StatusCode != 502 || !strings.Contains(text, "upstream_unreachable") {
			t.Errorf("answered %s %s", res.Status, text)
		}
		return
	}
	s := l.socket(t)
	talks(t, s)
	stall()
	talks(t, s)
	streams(t, s, l.suite.Talk)
	s.echoed(t, closing(3000, "enough"), closing(3000, "enough"))
	if _, err := s.read(); err != io.EOF {
		t.Errorf("after the close came %v", err)
	}
	s = l.socket(t)
	s.echoed(t, frame{true, textFrame, "go away"}, closing(4001, "as you wish"))
	s.echoed(t, closing(4001, ""), closing(4001, ""))
}

func (l *Lane) socket(t *testing.T) *socket {
	t.Helper()
	conn := l.dial(t)
	_, _ = io.WriteString(conn, l.head(t, "GET")+socketHeaders)
	from := bufio.NewReader(conn)
	res, err := http.ReadResponse(from, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Accept") != accept(socketKey) {
		t.Fatalf("answered %v, %v", res, err)
	}
	return &socket{Conn: conn, from: from, masks: true}
}

func (s *socket) echoed(t *testing.T, said, want frame) {
	t.Helper()
	if err := s.write(said); err != nil {
		t.Fatal(err)
	}
	if got, err := s.read(); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("to %.60q came %.60q, %v", said.payload, got.payload, err)
	}
}

func talks(t *testing.T, s *socket) {
	t.Helper()
	for _, f := range []frame{
		{true, textFrame, "grüß dich"},
		{true, textFrame, ""},
		{true, binaryFrame, "\x00\xff\x00"},
		{false, textFrame, "in "},
		{false, continuation, "three "},
		{true, continuation, "pieces"},
	} {
		s.echoed(t, f, f)
	}
	s.echoed(t, frame{true, pingFrame, "there?"}, frame{true, pongFrame, "there?"})
}

// streams sends a lot while it reads what comes back.
func streams(t *testing.T, s *socket, size int64) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		body := newPattern(size)
		for piece := make([]byte, 64<<10); ; {
			n, err := io.ReadFull(body, piece)
			if n == 0 && err == io.EOF {
				sent <- nil
				return
			}
			if err := s.write(frame{true, binaryFrame, string(piece[:n])}); err != nil {
				sent <- err
				return
			}
		}
	}()
	got := crc32.NewIEEE()
	for left := size; left > 0; {
		f, err := s.read()
		if err != nil {
			t.Fatalf("%d bytes before the end: %v", left, err)
		}
		left -= int64(len(f.payload))
		_, _ = io.WriteString(got, f.payload)
	}
	if err, want := <-sent, sumOf(size); err != nil || got.Sum32() != want {
		t.Errorf("%v, sum %x, want %x", err, got.Sum32(), want)
	}
}
