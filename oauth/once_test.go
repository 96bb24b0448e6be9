// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// recorder is a token endpoint of bare TCP: it counts the requests that arrive whole,
// whatever becomes of them then, and over however many connections they come.
type recorder struct {
	t        *testing.T
	listener net.Listener
	// answer is called with each request; it may write, wait and hang up.
	answer func(c net.Conn, nth int)

	mu       sync.Mutex
	arrived  int // since the last warm one
	warm     int // so many are answered well first, to leave an idle connection
	open     []net.Conn
	finished sync.WaitGroup
}

func newRecorder(t *testing.T, serve func(*recorder, net.Conn), answer func(c net.Conn, nth int)) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{t: t, listener: l, answer: answer}
	r.finished.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.open = append(r.open, c)
			r.mu.Unlock()
			r.finished.Go(func() {
				defer c.Close()
				serve(r, c)
			})
		}
	})
	t.Cleanup(r.end)
	return r
}

func (r *recorder) end() {
	r.listener.Close()
	r.mu.Lock()
	for _, c := range r.open {
		c.Close()
	}
	r.mu.Unlock()
	r.finished.Wait()
}

// request notes one that has arrived, and gives its number; 0: one to warm up.
func (r *recorder) request() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.warm > 0 {
		r.warm--
		return 0
	}
	r.arrived++
	return r.arrived
}

// count waits for the first: a client that gives up may be faster than its request.
func (r *recorder) count() int {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		n := r.arrived
		r.mu.Unlock()
		if n > 0 || time.Now().After(deadline) {
			return n
		}
	}
}

// patience is a client's with an answer that comes, or with one that never does.
func patience(never bool) time.Duration {
	if never {
		return 100 * time.Millisecond
	}
	return 10 * time.Second
}

const goodAnswer = `{"access_token":"warm","expires_in":3600}`

func serveHTTP1(r *recorder, c net.Conn) {
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		nth := r.request()
		if nth > 0 {
			r.answer(c, nth)
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(goodAnswer), goodAnswer)
	}
}

func raw(text string) func(net.Conn, int) {
	return func(c net.Conn, _ int) { _, _ = io.WriteString(c, text) }
}

func whole(status int, header, body string) func(net.Conn, int) {
	return raw(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s", status, len(body), header, body))
}

// ways are the kinds of token requests that there are.
func ways(address string) map[string]*toolkit.OAuth2 {
	post := toolkit.OAuth2{TokenURL: address, AuthStyle: toolkit.StyleBody, ClientID: "client", ClientSecret: secret.New(clientSecret)}
	asJSON, get := post, post
	asJSON.BodyFormat = toolkit.FormatJSON
	get.RefreshMethod, get.RefreshGrantType, get.RefreshTokenParam = http.MethodGet, "fb_exchange_token", "fb_exchange_token"
	return map[string]*toolkit.OAuth2{"POST": &post, "POST of JSON": &asJSON, "GET": &get}
}

func noSecrets(t *testing.T, why string, err error) {
	t.Helper()
	for _, quoted := range []string{refreshToken, clientSecret, url.QueryEscape(clientSecret), "hunter2"} {
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, quoted) {
			t.Errorf("%s: the error quotes %q: %s", why, quoted, text)
		}
	}
}

// A refresh token that may have been worked on is never sent a second time: where tokens
// rotate, the second use ends the whole grant.
func TestWhateverHappensThereIsOneRequest(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	hang := func(c net.Conn) {
		select {
		case <-release:
		case <-time.After(5 * time.Second):
		}
		c.Close()
	}
	reset := func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }
	html := "<html>hunter2</html>"
	for why, answer := range map[string]func(net.Conn, int){
		"no answer in time":               func(c net.Conn, _ int) { hang(c) },
		"hung up after the request":       func(net.Conn, int) {},
		"reset after the request":         func(c net.Conn, _ int) { reset(c) },
		"reset in the answer's header":    func(c net.Conn, n int) { raw("HTTP/1.1 200 OK\r\nContent-")(c, n); reset(c) },
		"hung up in the answer's body":    raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":\"hunter2\"}"),
		"a body that never ends":          func(c net.Conn, n int) { raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access")(c, n); hang(c) },
		"an error of theirs":              whole(500, "", html),
		"a proxy's page":                  whole(502, "Content-Type: text/html\r\n", html),
		"maintenance":                     whole(503, "Retry-After: 1\r\n", html),
		"too many":                        whole(429, "Retry-After: 1\r\n", ""),
		"a timeout of theirs":             whole(408, "Connection: close\r\n", ""),
		"a page instead of a token":       whole(200, "Content-Type: text/html\r\n", html),
		"a redirect that keeps the body":  whole(307, "Location: /elsewhere\r\n", ""),
		"a redirect for good":             whole(308, "Location: /elsewhere\r\n", ""),
		"a wrong client":                  whole(401, "Www-Authenticate: Basic\r\n", `{"error":"invalid_client"}`),
		"a refused grant":                 whole(400, "", `{"error":"invalid_grant"}`),
		"an answer that is too big":       whole(200, "", `{"x":"`+strings.Repeat("x", 1<<20)+`"}`),
		"broken JSON":                     whole(200, "", `{"access_token":"hunter2`),
		"nothing that HTTP knows":         raw("hunter2\r\n\r\n"),
		"a header that is none":           raw("HTTP/1.1 200 OK\r\n hunter2\r\n\r\n"),
		"a length that is none":           raw("HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n"),
		"an informational answer, and no": raw("HTTP/1.1 100 Continue\r\n\r\n"),
	} {
		r := newRecorder(t, serveHTTP1, answer)
		for way, o := range ways("http://" + r.listener.Addr().String() + "/token") {
			for _, idle := range []bool{false, true} { // net/http tries idle connections again more readily
				transport := &http.Transport{}
				client := &oauth.Client{Transport: transport, Timeout: patience(false)}
				r.mu.Lock()
				r.arrived, r.warm = 0, 0
				if idle {
					r.warm = 1
				}
				r.mu.Unlock()
				name := fmt.Sprintf("%s, %s, idle %v", why, way, idle)
				if idle {
					if _, err := client.Refresh(t.Context(), o, secret.New("warm")); err != nil {
						t.Fatal(name, err)
					}
				}
				client.Timeout = patience(strings.Contains(why, "never") || why == "no answer in time")
				_, err := client.Refresh(t.Context(), o, secret.New(refreshToken))
				if n := r.count(); n != 1 || err == nil {
					t.Errorf("%s: %d requests, %v", name, n, err)
				}
				noSecrets(t, name, err)
				transport.CloseIdleConnections()
			}
		}
	}
}

// Where not one byte has left, net/http may try again: the connection was one that the
// provider had closed meanwhile.
func TestAConnectionThatHadEndedBeforeCostsNothing(t *testing.T) {
	r := newRecorder(t, serveHTTP1, whole(200, "", goodAnswer))
	o := ways("http://" + r.listener.Addr().String() + "/token")["POST"]
	broken := &brokenOnce{}
	client := &oauth.Client{Transport: &http.Transport{DialContext: broken.dial}, Timeout: 5 * time.Second}
	r.warm = 1
	if _, err := client.Refresh(t.Context(), o, secret.New("warm")); err != nil {
		t.Fatal(err)
	}
	broken.arm()
	if _, err := client.Refresh(t.Context(), o, secret.New(refreshToken)); err != nil || r.count() != 1 {
		t.Errorf("%v, %d requests", err, r.count())
	}
}

// brokenOnce are connections of which the first lets nothing through any more once it
// is armed.
type brokenOnce struct {
	mu    sync.Mutex
	first *deadWriter
}

type deadWriter struct {
	net.Conn
	mu   sync.Mutex
	dead bool
}

func (b *brokenOnce) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && b.first == nil {
		b.first = &deadWriter{Conn: c}
		return b.first, nil
	}
	return c, err
}

func (b *brokenOnce) arm() {
	b.first.mu.Lock()
	defer b.first.mu.Unlock()
	b.first.dead = true
}

func (d *deadWriter) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return 0, errors.New("it is gone")
	}
	return d.Conn.Write(p)
}

// serveHTTP2 does to each request what end says, after reading all of it.
func serveHTTP2(end func(f *http2.Framer, stream uint32)) func(*recorder, net.Conn) {
	return func(r *recorder, c net.Conn) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c, preface); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !frame.IsAck() {
					_ = f.WritePing(true, frame.Data)
				}
			case *http2.HeadersFrame, *http2.DataFrame:
				if !frame.Header().Flags.Has(http2.FlagDataEndStream) {
					continue
				}
				if r.request() == 0 {
					good(f, frame.Header().StreamID)
				} else {
					end(f, frame.Header().StreamID)
				}
			}
		}
	}
}

func good(f *http2.Framer, stream uint32) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = f.WriteData(stream, true, []byte(goodAnswer))
}

// Over HTTP/2 a server can say that it did nothing. Where a refresh token used twice ends
// the grant, its word is not enough; and PROTOCOL_ERROR, which net/http's own HTTP/2 takes
// for such a word, may come after the request was worked on.
func TestOverHTTP2ThereIsOneRequestToo(t *testing.T) {
	var plain http.Protocols
	plain.SetUnencryptedHTTP2(true)
	transports := map[string]func() http.RoundTripper{
		"net/http": func() http.RoundTripper { return &http.Transport{Protocols: &plain} },
		"x/net": func() http.RoundTripper {
			//lint:ignore SA1019 it is the HTTP/2 below Caddy's transport
			return &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			}}
		},
	}
	for why, end := range map[string]func(*http2.Framer, uint32){
		"a PROTOCOL_ERROR":             func(f *http2.Framer, id uint32) { _ = f.WriteRSTStream(id, http2.ErrCodeProtocol) },
		"a refused stream":             func(f *http2.Framer, id uint32) { _ = f.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"an INTERNAL_ERROR":            func(f *http2.Framer, id uint32) { _ = f.WriteRSTStream(id, http2.ErrCodeInternal) },
		"going away, nothing was done": func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"going away, it was worked on": func(f *http2.Framer, id uint32) {
			_ = f.WriteGoAway(id, http2.ErrCodeNo, nil)
			_ = f.WriteRSTStream(id, http2.ErrCodeCancel)
		},
		"going away in anger": func(f *http2.Framer, _ uint32) {
			_ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("hunter2"))
		},
	} {
		for kind, make := range transports {
			for way := range ways("") {
				for _, idle := range []bool{false, true} {
					name := fmt.Sprintf("%s, %s, %s, idle %v", why, kind, way, idle)
					r := newRecorder(t, serveHTTP2(end), nil)
					o := ways("http://" + r.listener.Addr().String() + "/token")[way]
					client := &oauth.Client{Transport: make(), Timeout: patience(false)}
					if idle {
						r.warm = 1
						if _, err := client.Refresh(t.Context(), o, secret.New("warm")); err != nil {
							t.Fatal(name, err)
						}
					}
					_, err := client.Refresh(t.Context(), o, secret.New(refreshToken))
					away, ok := errors.AsType[*oauth.Unavailable](err)
					if n := r.count(); n != 1 || !ok || away.Unspent {
						t.Errorf("%s: %d requests, %v", name, n, err)
					}
					noSecrets(t, name, err)
				}
			}
		}
	}
}
