// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framesCase is a request in frames. Its length is said twice there, by the frames and by
// a header, and names and values may hold what would end a line over HTTP/1.
type framesCase struct {
	name    string
	fields  []string // name, value, …; in place of or behind the usual ones
	data    string
	status  string // "" where the stream is reset
	arrived []string
}

var frames = []framesCase{
	{"nothing else", nil, "", "200", []string{"GET /x"}},
	{"a body", []string{":method", "POST"}, "body", "200", []string{"POST /x body"}},
	{"the right length", []string{":method", "POST", "content-length", "4"}, "body", "200", []string{"POST /x body"}},
	{"too small a length", []string{":method", "POST", "content-length", "4"}, "bodyGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", "", nil},
	{"too large a length", []string{":method", "POST", "content-length", "40"}, "body", "400", nil},
	{"two lengths", []string{":method", "POST", "content-length", "4", "content-length", "0"}, "body", "200", []string{"POST /x body"}},
	{"a coding", []string{":method", "POST", "transfer-encoding", "chunked"}, "0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", "400", nil},
	{"an option", []string{"connection", "x-user-id"}, "", "400", nil},
	{"an upgrade", []string{"upgrade", "websocket"}, "", "400", nil},
	{"TE", []string{"te", "gzip"}, "", "400", nil},
	{"another host", []string{"host", "evil.example"}, "", "", nil},
	{"a line's end in a value", []string{"x-a", "1\r\nAuthorization: Bearer evil"}, "", "", nil},
	{"a line's end in a name", []string{"x-a\r\nauthorization", "Bearer evil"}, "", "", nil},
	{"a colon in a name", []string{"x-a: 1", "2"}, "", "", nil},
	{"a line's end in the path", []string{":path", "/acme/x HTTP/1.1\r\nX-A: 1"}, "", "", nil},
	{"a space in the path", []string{":path", "/acme/x HTTP/1.1"}, "", "200", []string{"GET /x%20HTTP/1.1"}},
	{"a line's end in the method", []string{":method", "GET /smuggled HTTP/1.1\r\nX-A: 1\r\n\r\nGET"}, "", "", nil},
	{"a space in the method", []string{":method", "GET /smuggled"}, "", "400", nil},
	{"another scheme", []string{":scheme", "https"}, "", "200", []string{"GET /x"}},
	{"a path without a slash", []string{":path", "acme/x"}, "", "", nil},
	{"two paths", []string{":path", "/acme/x", ":path", "/acme/y"}, "", "", nil},
	{"users twice", []string{"x-user-id", "bob"}, "", "400", nil},
}

// HTTP/2 is served on the plain port too; Caddy needs no asking.
func TestFramesCannotHoldMoreThanOneRequest(t *testing.T) {
	w := newWire(t, more{})
	for _, c := range frames {
		t.Run(c.name, func(t *testing.T) {
			status := w.inFrames(t, c)
			var arrived []string
			for _, m := range w.provider.taken() {
				if m.fault == nil {
					arrived = append(arrived, m.brief())
				}
				if m.value("Authorization") != w.bearer["alice"] || strings.Count(m.head, "Authorization") != 1 {
					t.Errorf("came as %s", m.head)
				}
			}
			if status != c.status || !slices.Equal(arrived, c.arrived) {
				t.Errorf("answered %q, arrived %q; want %q, %q", status, arrived, c.status, c.arrived)
			}
		})
	}
	w.settle(t)
	for _, m := range w.provider.taken() {
		if m.fault == nil {
			t.Errorf("later there came %q", m.head)
		}
	}
}

// It may be answered before the rest has come, so that is sent when it has been.
func TestWhatComesBehindAnEmptyBodyIsNoRequest(t *testing.T) {
	w := newWire(t, more{})
	f := w.open2(t, framesCase{fields: []string{":method", "POST", "content-length", "0"}, data: "later"})
	if status := answerOf(f); status != "200" {
		t.Errorf("answered %q", status)
	}
	_ = f.WriteData(1, true, []byte("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"))
	_ = f.WritePing(false, [8]byte{})
	for over := false; !over; {
		frame, err := f.ReadFrame()
		_, over = frame.(*http2.PingFrame)
		over = over || err != nil
	}
	w.settle(t)
	if got := w.provider.taken(); len(got) != 1 || got[0].brief() != "POST /x" {
		t.Errorf("there came %+v", got)
	}
}

// inFrames sends a request and gives the status, or "" where it is reset.
func (w *wire) inFrames(t *testing.T, c framesCase) string {
	t.Helper()
	f := w.open2(t, c)
	if c.data != "" {
		_ = f.WriteData(1, true, []byte(c.data))
	}
	return answerOf(f)
}

// open2 sends a request but for its data.
func (w *wire) open2(t *testing.T, c framesCase) *http2.Framer {
	t.Helper()
	conn, from := w.dial(t)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, from)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = f.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range w.fields(c.fields) {
		_ = encoder.WriteField(field)
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: c.data == ""})
	return f
}

func answerOf(f *http2.Framer) string {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return ""
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}

// fields are the usual ones with those of the case. Pseudo headers go first.
func (w *wire) fields(own []string) (fields []hpack.HeaderField) {
	usual := []string{":method", "GET", ":scheme", "http", ":authority", w.address, ":path", "/acme/x"}
	for i := 0; i < len(usual); i += 2 {
		if at := slices.Index(own, usual[i]); at < 0 || at%2 != 0 {
			fields = append(fields, hpack.HeaderField{Name: usual[i], Value: usual[i+1]})
		}
	}
	for _, pseudo := range []bool{true, false} {
		for i := 0; i < len(own); i += 2 {
			if strings.HasPrefix(own[i], ":") == pseudo {
				fields = append(fields, hpack.HeaderField{Name: own[i], Value: own[i+1]})
			}
		}
	}
	return append(fields, hpack.HeaderField{Name: "x-toolgate-key", Value: botKey}, hpack.HeaderField{Name: "x-user-id", Value: "alice"})
}
