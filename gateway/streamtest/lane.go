// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package streamtest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// request makes a call of the lane's user's.
func (l *Lane) request(t *testing.T, method string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*gatewaytest.Patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, l.Front.URL+"/x", body)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, l.Front.Header.Clone())
	if upload, ok := body.(*io.PipeReader); ok {
		// A client over HTTP/1.1 waits for its upload even where it has given up.
		context.AfterFunc(ctx, func() { upload.CloseWithError(ctx.Err()) })
	}
	return r
}

// begin sends a request and gives the answer, whose body is still to come.
func (l *Lane) begin(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	res, err := l.client.Do(r)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.ProtoMajor != l.Caller.Major() {
		t.Errorf("the gateway speaks %s where %s should be", res.Proto, l.Caller)
	}
	return res
}

// whole sends a request and reads the answer to its end.
func (l *Lane) whole(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	res := l.begin(t, r)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return res, string(body)
}

// abandon gives a request and what ends it from the caller's side.
func (l *Lane) abandon(t *testing.T, r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, hangUp := context.WithCancel(r.Context())
	t.Cleanup(hangUp)
	return r.WithContext(ctx), hangUp
}

// refuses wants a refusal of the gateway's own, made on the step that sends.
func (l *Lane) refuses(t *testing.T, r *http.Request, status int, code, rule string) {
	t.Helper()
	res, text := l.whole(t, r)
	var said struct{ Code, Step, Rule string }
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		t.Fatalf("no refusal of the gateway's: %s %s", res.Status, text)
	}
	if res.StatusCode != status || said.Code != code || said.Step != "send" || said.Rule != rule {
		t.Errorf("refused with %d %s %s/%s, want %d %s send/%s", res.StatusCode, said.Code, said.Step, said.Rule, status, code, rule)
	}
}

// dial opens a connection for HTTP/1.1 by hand.
func (l *Lane) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.front(t).Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(3 * gatewaytest.Patience))
	if known := l.client.Transport.(*http.Transport).TLSClientConfig; known != nil {
		return tls.Client(conn, &tls.Config{RootCAs: known.RootCAs, ServerName: l.front(t).Hostname()})
	}
	return conn
}

// head is a request by hand, up to the headers of the test's own.
func (l *Lane) head(t *testing.T, method string) string {
	t.Helper()
	to := l.front(t)
	var text strings.Builder
	text.WriteString(method + " " + to.Path + "/x HTTP/1.1\r\nHost: " + to.Host + "\r\n")
	_ = l.Front.Header.Write(&text)
	return text.String()
}

func (l *Lane) front(t *testing.T) *url.URL {
	t.Helper()
	to, err := url.Parse(l.Front.URL)
	if err != nil {
		t.Fatal(err)
	}
	return to
}
