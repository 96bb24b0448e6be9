// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package streamtest

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
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
	socketHeaders = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + socketKey + "\r\n\r\n"
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
