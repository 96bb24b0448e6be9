// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package streamtest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// What streams arrives when it was sent, and not when there is enough of it.
var flowing = []promise{
	{words: "an event comes before the next is made", check: eventsComeOneByOne},
	{words: "a header comes before the first byte", check: headersComeFirst},
	{words: "an upload arrives before its end", check: uploadsArriveAsTheyAreSent},
	{words: "both sides talk in turns", check: bothSidesTalk},
}

func eventsComeOneByOne(t *testing.T, l *Lane) {
	acknowledged := make(chan int)
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			rw.(http.Flusher).Flush()
			select {
			case <-acknowledged:
			case <-r.Context().Done():
				return
			}
		}
	})
	res := l.begin(t, l.request(t, "GET", nil))
	for i := range 3 {
		gatewaytest.Hears(t, res.Body, fmt.Sprintf("data: %d\n\n", i))
		acknowledged <- i
	}
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Errorf("at the end came %q, %v", rest, err)
	}
}

func headersComeFirst(t *testing.T, l *Lane) {
	for _, length := range []string{"", "4"} {
		headerSeen := gatewaytest.NewGate(t)
		l.provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			if length != "" {
				rw.Header().Set("Content-Length", length)
			}
			rw.(http.Flusher).Flush()
			if headerSeen.Wait() {
				_, _ = io.WriteString(rw, "body")
			}
		})
		res := l.begin(t, l.request(t, "GET", nil))
		headerSeen.Open()
		if body, err := io.ReadAll(res.Body); string(body) != "body" || err != nil {
			t.Errorf("length %q: then came %q, %v", length, body, err)
		}
	}
}

func uploadsArriveAsTheyAreSent(t *testing.T, l *Lane) {
	arrived := gatewaytest.NewGate(t)
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		first := make([]byte, 5)
		_, _ = io.ReadFull(r.Body, first)
		arrived.Open()
		rest, err := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s+%s %v %d", first, rest, err, r.ContentLength)
	})
	body, end := io.Pipe()
	go func() {
		_, _ = io.WriteString(end, "first")
		if arrived.Wait() {
			_, _ = io.WriteString(end, "second")
		}
		end.Close()
	}()
	if _, got := l.whole(t, l.request(t, "POST", body)); got != "first+second <nil> -1" {
		t.Errorf("the provider read %q", got)
	}
}

func bothSidesTalk(t *testing.T, l *Lane) {
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex()
		rw.(http.Flusher).Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(rw, "got %s\n", lines.Text())
			rw.(http.Flusher).Flush()
		}
	})
	body, say := io.Pipe()
	res := l.begin(t, l.request(t, "POST", body))
	for i := range 20 {
		fmt.Fprintf(say, "%d\n", i)
		gatewaytest.Hears(t, res.Body, fmt.Sprintf("got %d\n", i))
	}
	say.Close()
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Errorf("at the end came %q, %v", rest, err)
	}
}
