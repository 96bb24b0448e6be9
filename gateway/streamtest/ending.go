// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package streamtest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// How what streams may end before its end.
var ending = []promise{
	{words: "an early answer ends an upload that goes on", check: earlyAnswers},
	{words: "an early answer ends an upload that has stalled", check: earlyAnswersToStalled},
	{words: "an early answer is heard though the provider hangs up behind it", check: earlyAnswersBeforeTheReset},
	{words: "who hangs up before the answer cancels the call", check: hangUpsBeforeTheAnswer},
	{words: "who hangs up in the answer cancels the call", check: hangUpsInTheAnswer},
	{words: "an upload that breaks off has no end", check: brokenUploads},
	{words: "an answer that breaks off has no end", check: brokenAnswers},
}

func earlyAnswers(t *testing.T, l *Lane) {
	l.provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "too large", http.StatusRequestEntityTooLarge)
	})
	upload := endless{make(chan struct{})}
	defer close(upload.ended)
	res, got := l.whole(t, l.request(t, "POST", upload))
	if res.StatusCode != http.StatusRequestEntityTooLarge || got != "too large\n" {
		t.Errorf("answered %s %q", res.Status, got)
	}
	l.goesOn(t)
}

func earlyAnswersToStalled(t *testing.T, l *Lane) {
	for _, length := range []string{"", "9"} {
		l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 5))
			_ = http.NewResponseController(rw).EnableFullDuplex()
			if r.ProtoMajor == 1 {
				rw.Header().Set("Connection", "close")
			}
			if length != "" {
				rw.Header().Set("Content-Length", length)
			}
			rw.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = io.WriteString(rw, "too large")
		})
		body, end := io.Pipe()
		go func() { _, _ = io.WriteString(end, "first") }() // and never the rest
		res, text := l.whole(t, l.request(t, "POST", body))
		end.CloseWithError(errors.New("that was it"))
		if res.StatusCode != http.StatusRequestEntityTooLarge || text != "too large" {
			t.Errorf("answered %s %q", res.Status, text)
		}
		if res.ProtoMajor == 1 && !res.Close {
			t.Error("the connection is kept")
		}
		l.goesOn(t)
	}
}

// What is still on its way to a provider that has closed comes back as a reset, which
// must not overtake the answer. Over HTTP/2 a stream ends without one.
func earlyAnswersBeforeTheReset(t *testing.T, l *Lane) {
	if l.Upstream != gatewaytest.HTTP1 {
		return
	}
	for range 10 {
		l.provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n")
		})
		r := l.request(t, "POST", &pattern{left: 8 << 20})
		r.ContentLength = 8 << 20
		if res, got := l.whole(t, r); res.StatusCode != http.StatusRequestEntityTooLarge || got != "big\n" {
			t.Errorf("answered %s %q", res.Status, got)
		}
	}
	l.goesOn(t)
}

// goesOn wants the next call to be as good as any.
func (l *Lane) goesOn(t *testing.T) {
	t.Helper()
	l.provider.Handle(nil)
	if res, got := l.whole(t, l.request(t, "POST", strings.NewReader("next"))); res.StatusCode != 200 || got != "ok" {
		t.Errorf("the next one: %s %q", res.Status, got)
	}
}

// working is a provider that works on a call until it is cancelled.
func working(called, cancelled *gatewaytest.Gate, says string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		gatewaytest.ReadBody(r)
		if says != "" {
			_, _ = io.WriteString(rw, says)
			rw.(http.Flusher).Flush()
		}
		called.Open()
		select {
		case <-r.Context().Done():
			cancelled.Open()
		case <-time.After(gatewaytest.Patience):
		}
	}
}

func hangUpsBeforeTheAnswer(t *testing.T, l *Lane) {
	called, cancelled := gatewaytest.NewGate(t), gatewaytest.NewGate(t)
	l.provider.Handle(working(called, cancelled, ""))
	r, hangUp := l.abandon(t, l.request(t, "GET", nil))
	go func() {
		if called.Wait() {
			hangUp()
		}
	}()
	if res, err := l.client.Do(r); err == nil {
		res.Body.Close()
		t.Errorf("answered %s", res.Status)
	}
	if !cancelled.Wait() {
		t.Error("the provider still works on it")
	}
}

func hangUpsInTheAnswer(t *testing.T, l *Lane) {
	called, cancelled := gatewaytest.NewGate(t), gatewaytest.NewGate(t)
	l.provider.Handle(working(called, cancelled, "begun"))
	r, hangUp := l.abandon(t, l.request(t, "GET", nil))
	res := l.begin(t, r)
	gatewaytest.Hears(t, res.Body, "begun")
	hangUp()
	if !cancelled.Wait() {
		t.Error("the provider still works on it")
	}
}

func brokenUploads(t *testing.T, l *Lane) {
	arrived, broken := gatewaytest.NewGate(t), make(chan error, 1)
	l.provider.Handle(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 5))
		arrived.Open()
		_, err := io.Copy(io.Discard, r.Body)
		broken <- err
	})
	body, end := io.Pipe()
	go func() {
		_, _ = io.WriteString(end, "begun")
		arrived.Wait()
		end.CloseWithError(errors.New("over"))
	}()
	if res, err := l.client.Do(l.request(t, "POST", body)); err == nil {
		res.Body.Close()
		t.Errorf("answered %s", res.Status)
	}
	looksBroken(t, broken)
}

// looksBroken wants the provider to see that an upload has no end.
func looksBroken(t *testing.T, upload <-chan error) {
	t.Helper()
	select {
	case err := <-upload:
		if err == nil {
			t.Error("half an upload looks whole")
		}
	case <-time.After(gatewaytest.Patience):
		t.Error("the provider still waits for the rest")
	}
}

func brokenAnswers(t *testing.T, l *Lane) {
	for _, length := range []string{"", "100000"} {
		for _, size := range []int{0, 5, 50_000} {
			l.provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
				if length != "" {
					rw.Header().Set("Content-Length", length)
				}
				_, _ = io.WriteString(rw, strings.Repeat("x", size))
				rw.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			})
			res, err := l.client.Do(l.request(t, "GET", nil))
			if err != nil {
				t.Errorf("length %q, %d bytes: not even a header came: %v", length, size, err)
				continue
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil {
				t.Errorf("length %q: a broken answer of %d bytes looks whole, %d came", length, size, len(body))
			}
		}
	}
}
