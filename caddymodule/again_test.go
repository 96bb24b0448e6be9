// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http2"

	"github.com/toolgate/toolgate/toolkit"
)

// What the transport that Caddy gives us sends again by itself, and what not: the
// HTTP/2 of net/http, as of Go 1.26, repeats even what a server may have carried out
// (go.dev/issue/47635). It is shown frame by frame.

// frames answers HTTP/2 requests; n counts those that came whole.
type frames struct {
	n      atomic.Int64
	answer func(n int64, fr *http2.Framer, stream uint32)
}

// ok answers 200 with nothing in it.
func ok(fr *http2.Framer, stream uint32) {
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x88}, EndStream: true, EndHeaders: true})
}

func (f *frames) serve(conn net.Conn) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	out := make(outbox, 64)
	defer close(out)
	go out.drain(conn)
	fr := http2.NewFramer(out, conn)
	_, _ = fr.WriteSettings(), fr.WriteSettingsAck()
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			return
		}
		ended := false
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			ended = frame.StreamEnded()
		case *http2.DataFrame:
			ended = frame.StreamEnded()
		}
		if ended {
			f.answer(f.n.Add(1), fr, frame.Header().StreamID)
		}
	}
}

// outbox keeps the server from waiting for a client that writes itself: a pipe has no
// room.
type outbox chan []byte

func (o outbox) Write(p []byte) (int, error) {
	o <- append([]byte(nil), p...)
	return len(p), nil
}

func (o outbox) drain(to io.Writer) {
	for p := range o {
		_, _ = to.Write(p)
	}
}

// speaking gives a transport whose connections lead to f and nowhere else.
func speaking(t *testing.T, f *frames) *transport {
	t.Helper()
	tk, err := toolkit.Definition{ID: "x", BaseURL: "http://x.example", Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}}.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	tr, err := newTransport(ctx, tk, json.RawMessage(`{"versions":["h2c","2"]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	tr.http.Transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		t.Cleanup(func() { here.Close() }) // one that was refused stays open, and pings later
		go f.serve(there)
		return here, nil
	}
	return tr
}

func request(method, body string) *http.Request {
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	r, _ := http.NewRequest(method, "http://x.example/", from)
	return r
}

func TestWhatAServerMayHaveCarriedOutIsNotSentAgain(t *testing.T) {
	for _, code := range []http2.ErrCode{http2.ErrCodeProtocol, http2.ErrCodeInternal, http2.ErrCodeCancel, http2.ErrCodeNo} {
		for _, c := range []struct{ method, body string }{{"POST", "body"}, {"POST", ""}, {"DELETE", ""}, {"PUT", "body"}} {
			f := &frames{answer: func(_ int64, fr *http2.Framer, stream uint32) { _ = fr.WriteRSTStream(stream, code) }}
			tr := speaking(t, f)
			if res, err := tr.RoundTrip(request(c.method, c.body)); err == nil {
				t.Errorf("%v: answered %s", code, res.Status)
			}
			if n := f.n.Load(); n != 1 {
				t.Errorf("%v: %s with %q was sent %d times", code, c.method, c.body, n)
			}
			tr.http.Transport.CloseIdleConnections()
		}
	}
}

// REFUSED_STREAM and GOAWAY say that nothing was done (RFC 9113 §8.7), so nobody has to
// hear of them: some servers leave after each thousand requests.
func TestWhatAServerHasNotWorkedOnIsSentAgain(t *testing.T) {
	for name, turnAway := range map[string]func(fr *http2.Framer, stream uint32){
		"a refused stream":     func(fr *http2.Framer, stream uint32) { _ = fr.WriteRSTStream(stream, http2.ErrCodeRefusedStream) },
		"a server that leaves": func(fr *http2.Framer, _ uint32) { _ = fr.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		for _, body := range []string{"", "body"} {
			f := &frames{answer: func(n int64, fr *http2.Framer, stream uint32) {
				if n == 1 {
					turnAway(fr, stream)
					return
				}
				ok(fr, stream)
			}}
			tr := speaking(t, f)
			res, err := tr.RoundTrip(request("POST", body))
			if err != nil || res.StatusCode != 200 || f.n.Load() != 2 {
				t.Errorf("%s, body %q: %v after %d sends", name, body, err, f.n.Load())
			}
			tr.http.Transport.CloseIdleConnections()
		}
	}
}

func TestAConnectionThatHasDiedInSilenceIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &frames{answer: func(n int64, fr *http2.Framer, stream uint32) {
			if n != 2 { // then nothing more is heard of it
				ok(fr, stream)
			}
		}}
		tr := speaking(t, f)
		for i := range 3 {
			begun := time.Now()
			res, err := tr.RoundTrip(request("GET", ""))
			switch {
			case i != 1 && (err != nil || res.StatusCode != 200):
				t.Errorf("call %d: %v", i, err)
			case i == 1 && (err == nil || time.Since(begun) > pingAfter+pingPatience):
				t.Errorf("call %d: %v after %v", i, err, time.Since(begun))
			}
		}
		tr.http.Transport.CloseIdleConnections()
	})
}
