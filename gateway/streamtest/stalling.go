// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package streamtest

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

const (
	brief = 50 * time.Millisecond  // a limit that is met
	limit = 200 * time.Millisecond // one that is not, also where the machine is busy
)

// A provider that gets stuck in each phase of a call. Only the body has no limit.
var stalling = []promise{
	{words: "a provider that nobody can reach is said to be so", check: unreachable, address: nowhere},
	{words: "a provider that accepts and is silent is given up", check: mutes, address: mute, options: Options{HeaderTime: brief, HandshakeTime: brief}},
	{words: "a provider that does not answer is given up", check: silentProviders, options: Options{HeaderTime: brief}},
	{words: "an upload that stalls for too long is refused", check: stalledUploads, options: Options{IdleTime: brief}},
	{words: "the wait for an answer begins behind the upload", check: slowUploads, options: Options{HeaderTime: limit}},
	{words: "an answer may stall for as long as it likes", check: stalledAnswers, options: Options{HeaderTime: limit, IdleTime: limit}},
}

// nowhere is not a port that was free a moment ago: another test may have it by now.
func nowhere(*testing.T) string { return "127.0.0.1:1" }

// mute listens and says nothing. The kernel would finish the connection without it
// too, so there is no dial that stalls here.
func mute(t *testing.T) string {
	t.Helper()
	on, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { on.Close() })
	go func() {
		for {
			conn, err := on.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	return on.Addr().String()
}

func unreachable(t *testing.T, l *Lane) {
	l.refuses(t, l.request(t, "GET", nil), 502, "upstream_unreachable", "connection")
	l.refuses(t, l.request(t, "POST", strings.NewReader("body")), 502, "upstream_unreachable", "connection")
}

// mutes is about the handshake where there is TLS, and else about the header.
func mutes(t *testing.T, l *Lane) {
	l.refuses(t, l.request(t, "GET", nil), 504, "upstream_timeout", "timeout")
	l.refuses(t, l.request(t, "POST", strings.NewReader("body")), 504, "upstream_timeout", "timeout")
}

func silentProviders(t *testing.T, l *Lane) {
	for _, method := range []string{"GET", "POST"} {
		called, cancelled := gatewaytest.NewGate(t), gatewaytest.NewGate(t)
		l.provider.Handle(working(called, cancelled, ""))
		var body io.Reader
		if method == "POST" {
			body = strings.NewReader("body")
		}
		l.refuses(t, l.request(t, method, body), 504, "upstream_timeout", "timeout")
		if !cancelled.Wait() {
			t.Errorf("%s: the provider still works on it", method)
		}
	}
}

func stalledUploads(t *testing.T, l *Lane) {
	broken := make(chan error, 2)
	l.provider.Handle(func(_ http.ResponseWriter, r *http.Request) { broken <- gatewaytest.ReadBody(r).Err })
	for _, length := range []int64{-1, 100} {
		body, say := io.Pipe()
		go func() { _, _ = io.WriteString(say, "begun") }() // and never the rest
		r := l.request(t, "POST", body)
		r.ContentLength = length
		l.refuses(t, r, 408, "bad_request", "upload_timeout")
		say.Close()
		looksBroken(t, broken)
	}
}

// stall is longer than what ends idle connections and slow headers. That is time and
// nothing else, so there is nothing to wait for.
func stall() { time.Sleep(limit * 3 / 2) }

func slowUploads(t *testing.T, l *Lane) {
	body, end := io.Pipe()
	go func() {
		_, _ = io.WriteString(end, "first ")
		stall()
		_, _ = io.WriteString(end, "last")
		end.Close()
	}()
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(rw, r.Body)
	})
	if res, text := l.whole(t, l.request(t, "POST", body)); res.StatusCode != 200 || text != "first last" {
		t.Errorf("answered %s %q", res.Status, text)
	}
}

// stalledAnswers are those of a model that thinks: the call has a body, and the answer
// goes on when it goes on.
func stalledAnswers(t *testing.T, l *Lane) {
	goOn, called, cancelled := gatewaytest.NewGate(t), gatewaytest.NewGate(t), gatewaytest.NewGate(t)
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		gatewaytest.ReadBody(r)
		_, _ = io.WriteString(rw, "begun")
		rw.(http.Flusher).Flush()
		if goOn.Wait() {
			working(called, cancelled, " and gone on")(rw, r)
		}
	})
	r, hangUp := l.abandon(t, l.request(t, "POST", strings.NewReader("body")))
	res := l.begin(t, r)
	gatewaytest.Hears(t, res.Body, "begun")
	stall()
	goOn.Open()
	gatewaytest.Hears(t, res.Body, " and gone on")
	hangUp()
	if !cancelled.Wait() {
		t.Error("the provider still works on it")
	}
}
