// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package streamtest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// What goes before a body, after it, and without one.
var heading = []promise{
	{words: "trailers of requests arrive", check: trailersOfRequests},
	{words: "trailers of answers arrive", check: trailersOfAnswers},
	{words: "early hints come first", check: earlyHints},
	{words: "a body is sent when the provider asks for it", check: bodiesOnRequest},
	{words: "answers without all of the body keep their headers", check: bodilessAnswers},
}

func trailersOfRequests(t *testing.T, l *Lane) {
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s %v %v", text, err, r.Trailer)
	})
	for _, text := range []string{"", "some text"} {
		body, end := io.Pipe()
		r := l.request(t, "POST", body)
		r.Trailer = http.Header{"X-Sum": nil, "X-Other": nil}
		go func() {
			_, _ = io.WriteString(end, text)
			r.Trailer.Set("X-Sum", "abc")
			end.Close()
		}()
		_, got := l.whole(t, r)
		// One that was announced and never sent leaves its name behind on HTTP/1.
		if got = strings.ReplaceAll(got, "X-Other:[] ", ""); got != text+" <nil> map[X-Sum:[abc]]" {
			t.Errorf("the provider saw %q", got)
		}
	}
	if l.Caller != gatewaytest.HTTP1 {
		return // net/http's HTTP/2 server keeps unannounced trailers from handlers
	}
	// So that all callers get the same, those of HTTP/1 are left out too; a
	// proxy may (RFC 9110 §6.5.2). The request is none the worse for it.
	conn := l.dial(t)
	_, _ = io.WriteString(conn, l.head(t, "POST")+"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: abc\r\n\r\n")
	if res, got := gatewaytest.ReadAnswer(t, bufio.NewReader(conn)); res.StatusCode != 200 || got != "body <nil> map[]" {
		t.Errorf("with an unannounced trailer: %s, the provider saw %q", res.Status, got)
	}
}

func trailersOfAnswers(t *testing.T, l *Lane) {
	for name, c := range map[string]struct {
		announced, late, text string
		length                bool
	}{
		"announced":             {"1", "", "body", false},
		"announced, no body":    {"1", "", "", false},
		"unannounced":           {"", "2", "body", false},
		"unannounced, no body":  {"", "2", "", false},
		"both":                  {"1", "2", "body", false},
		"behind a known length": {"1", "2", "body", true},
	} {
		if c.length && l.Upstream == gatewaytest.HTTP1 {
			continue // trailers stand behind chunks, and there are none beside a length
		}
		l.provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			if c.announced != "" {
				rw.Header().Set("Trailer", "X-Announced")
			}
			if c.length {
				rw.Header().Set("Content-Length", strconv.Itoa(len(c.text)))
			}
			rw.(http.Flusher).Flush()
			_, _ = io.WriteString(rw, c.text)
			if c.announced != "" {
				rw.Header().Set("X-Announced", c.announced)
			}
			if c.late != "" {
				rw.Header().Set(http.TrailerPrefix+"X-Late", c.late)
			}
		})
		res, got := l.whole(t, l.request(t, "GET", nil))
		want := http.Header{}
		if c.announced != "" {
			want.Set("X-Announced", c.announced)
		}
		if c.late != "" {
			want.Set("X-Late", c.late)
		}
		if got != c.text || !reflect.DeepEqual(res.Trailer, want) {
			t.Errorf("%s: %q with trailer %v, want %v", name, got, res.Trailer, want)
		}
	}
}

func earlyHints(t *testing.T, l *Lane) {
	hinted := gatewaytest.NewGate(t)
	link := "<" + l.API + "/a.css>; rel=preload"
	l.provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", link)
		rw.WriteHeader(http.StatusEarlyHints)
		if hinted.Wait() {
			_, _ = io.WriteString(rw, "done")
		}
	})
	var hints textproto.MIMEHeader
	r := l.request(t, "GET", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints {
			hints = header
			hinted.Open()
		}
		return nil
	}}))
	res, got := l.whole(t, r)
	// Like every address of the toolkit it is the gateway's for the agent.
	want := "<" + l.Front.URL + "/a.css>; rel=preload"
	if res.StatusCode != 200 || got != "done" || hints.Get("Link") != want || res.Header.Get("Link") != want {
		t.Errorf("%s %q, hints %v, header %v", res.Status, got, hints, res.Header)
	}
}

// Over HTTP/2 net/http's server keeps the expectation from handlers and says 100 when
// the body is first read, so it is the provider's word for callers over HTTP/1.1 only.
func bodiesOnRequest(t *testing.T, l *Lane) {
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("refuse") {
			rw.WriteHeader(http.StatusExpectationFailed)
			return
		}
		text, err := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s %v", text, err)
	})
	for _, query := range []string{"refuse", ""} {
		r := l.request(t, "POST", strings.NewReader("body"))
		r.URL.RawQuery = query
		r.Header.Set("Expect", "100-continue")
		var continued atomic.Bool
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got100Continue: func() { continued.Store(true) }}))
		res, got := l.whole(t, r)
		switch {
		case query == "" && (res.StatusCode != 200 || got != "body <nil>" || !continued.Load()):
			t.Errorf("accepted: %s %q, continued %v", res.Status, got, continued.Load())
		case query != "" && (res.StatusCode != http.StatusExpectationFailed || l.Caller == gatewaytest.HTTP1 && continued.Load()):
			t.Errorf("refused: %s %q, continued %v", res.Status, got, continued.Load())
		}
	}
}

func bodilessAnswers(t *testing.T, l *Lane) {
	for _, c := range []struct {
		method       string
		status       int
		length, part string
		body         string
	}{
		{"HEAD", 200, "1234", "", ""},
		{"HEAD", 206, "4", "bytes 2-5/1234", ""},
		{"GET", 204, "", "", ""},
		{"GET", 304, "", "", ""},
		{"GET", 206, "4", "bytes 2-5/1234", "part"},
		{"GET", 416, "0", "bytes */1234", ""},
		{"GET", 200, "0", "", ""},
	} {
		l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "bytes=2-5" {
				t.Errorf("the provider is asked for %q", r.Header["Range"])
			}
			rw.Header().Set("Etag", `"1"`)
			rw.Header().Set("Accept-Ranges", "bytes")
			if c.length != "" {
				rw.Header().Set("Content-Length", c.length)
			}
			if c.part != "" {
				rw.Header().Set("Content-Range", c.part)
			}
			rw.WriteHeader(c.status)
			_, _ = io.WriteString(rw, c.body)
		})
		r := l.request(t, c.method, nil)
		r.Header.Set("Range", "bytes=2-5")
		res, got := l.whole(t, r)
		h := res.Header
		if res.StatusCode != c.status || got != c.body || res.Close ||
			h.Get("Content-Length") != c.length || h.Get("Content-Range") != c.part || h.Get("Etag") != `"1"` || h.Get("Accept-Ranges") != "bytes" {
			t.Errorf("%s %d: %s %q %v, close %v", c.method, c.status, res.Status, got, h, res.Close)
		}
	}
}
