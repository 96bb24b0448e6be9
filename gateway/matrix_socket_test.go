// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The least of RFC 6455 that a test needs. The gateway knows nothing of frames, so
// the two ends have to.

const (
	continuation, textFrame, binaryFrame = 0x0, 0x1, 0x2
	closeFrame, pingFrame, pongFrame     = 0x8, 0x9, 0xa
)

type frame struct {
	final   bool
	opcode  byte
	payload string
}

// closing is a close frame's payload.
func closing(code uint16, reason string) frame {
	return frame{true, closeFrame, string(binary.BigEndian.AppendUint16(nil, code)) + reason}
}

type socket struct {
	net.Conn
	from  *bufio.Reader
	masks bool // a client has to mask
}

func (s *socket) write(f frame) error {
	head := []byte{f.opcode, 127}
	if f.final {
		head[0] |= 0x80
	}
	head = binary.BigEndian.AppendUint64(head, uint64(len(f.payload)))
	payload := []byte(f.payload)
	if s.masks {
		head[1] |= 0x80
		head = append(head, maskKey[:]...)
		mask(payload)
	}
	_, err := s.Write(append(head, payload...))
	return err
}

var maskKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

func mask(p []byte) {
	for i := range p {
		p[i] ^= maskKey[i%4]
	}
}

func (s *socket) read() (frame, error) {
	head := make([]byte, 10)
	if _, err := io.ReadFull(s.from, head); err != nil {
		return frame{}, err
	}
	if head[1]&0x7f != 127 || (head[1]&0x80 != 0) == s.masks {
		return frame{}, errors.New("not a frame as the other end writes it")
	}
	if !s.masks {
		_, _ = s.from.Discard(len(maskKey))
	}
	payload := make([]byte, binary.BigEndian.Uint64(head[2:]))
	_, err := io.ReadFull(s.from, payload)
	if !s.masks {
		mask(payload)
	}
	return frame{head[0]&0x80 != 0, head[0] & 0x0f, string(payload)}, err
}

func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const (
	socketKey     = "dGhlIHNhbXBsZSBub25jZQ=="
	socketRequest = "GET /acme/socket HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + socketKey + "\r\n\r\n"
)

// echoes is a provider that sends every frame back as it is, answers pings, and
// ends when it is told to or when it says so itself.
func echoes(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		_, _ = io.WriteString(rw, "ok")
		return
	}
	rw.Header().Set("Connection", "Upgrade")
	rw.Header().Set("Upgrade", "websocket")
	rw.Header().Set("Sec-WebSocket-Accept", accept(r.Header.Get("Sec-WebSocket-Key")))
	rw.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	s := &socket{Conn: conn, from: buffered.Reader}
	for {
		f, err := s.read()
		if err != nil {
			return
		}
		ends := f.opcode == closeFrame
		switch {
		case f.opcode == pingFrame:
			f.opcode = pongFrame
		case f.opcode == textFrame && f.payload == "go away":
			f = closing(4001, "as you wish")
		}
		if s.write(f) != nil || ends {
			return
		}
	}
}

func (l *lane) socket(t *testing.T) *socket {
	t.Helper()
	conn := l.dial(t)
	_, _ = io.WriteString(conn, socketRequest)
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

// noSocket says which sides have no WebSocket, and why. Where TLS is negotiated, a
// client and the transport take HTTP/1.1 for it.
var noSocket = map[protocol]struct{ caller, upstream string }{h2c: {
	caller:   "HTTP/2 has no Connection and no Upgrade (RFC 9113 §8.2.2), and net/http has extended CONNECT (RFC 8441) switched off",
	upstream: "a provider with HTTP/2 alone has no Upgrade (RFC 9113 §8.2.2)",
}}

func TestMatrixWebSockets(t *testing.T) {
	eachLane(t, func(t *testing.T, caller, upstream protocol) {
		l := newLane(t, caller, upstream, func(out *http.Transport) {
			out.ResponseHeaderTimeout = 20 * time.Second
			out.IdleConnTimeout = 50 * time.Millisecond
		})
		l.Provider.Handle(echoes)
		l.whole(t, l.request("GET", nil)) // so that a connection over HTTP/2 is at hand
		switch {
		case noSocket[caller].caller != "":
			t.Log(noSocket[caller].caller)
			r := l.request("GET", nil)
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			if res, err := l.client.Do(r); err == nil {
				res.Body.Close()
				t.Errorf("answered %s", res.Status)
			}
			return
		case noSocket[upstream].upstream != "":
			t.Log(noSocket[upstream].upstream)
			conn := l.dial(t)
			_, _ = io.WriteString(conn, socketRequest)
			if res, text := readAnswer(t, bufio.NewReader(conn)); res.StatusCode != 502 || !strings.Contains(text, "upstream_unreachable") {
				t.Errorf("answered %s %s", res.Status, text)
			}
			return
		}
		s := l.socket(t)
		talks(t, s)
		// Longer than what ends idle connections; there is nothing to wait for.
		time.Sleep(150 * time.Millisecond)
		talks(t, s)
		streams(t, s, long(4<<20, 100<<20))
		s.echoed(t, closing(3000, "enough"), closing(3000, "enough"))
		if _, err := s.read(); err != io.EOF {
			t.Errorf("after the close came %v", err)
		}
		s = l.socket(t)
		s.echoed(t, frame{true, textFrame, "go away"}, closing(4001, "as you wish"))
		s.echoed(t, closing(4001, ""), closing(4001, ""))
	})
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
		body := &pattern{left: size}
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
	got, want := crc32.NewIEEE(), crc32.NewIEEE()
	for left := size; left > 0; {
		f, err := s.read()
		if err != nil {
			t.Fatalf("%d bytes before the end: %v", left, err)
		}
		left -= int64(len(f.payload))
		_, _ = io.WriteString(got, f.payload)
	}
	_, _ = io.Copy(want, &pattern{left: size})
	if err := <-sent; err != nil || got.Sum32() != want.Sum32() {
		t.Errorf("%v, sum %x, want %x", err, got.Sum32(), want.Sum32())
	}
}
