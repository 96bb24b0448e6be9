// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// judging is a policy that says the same to all.
type judging struct {
	verdict error
	asked   string
}

func (j *judging) Admit(_ context.Context, c *gateway.Call) error {
	j.asked = c.Caller.User + " " + c.Method + " " + c.Target.String()
	return j.verdict
}

func (j *judging) Enter(context.Context, *gateway.Call) (gateway.Visit, error) { return nil, nil }

// reaching puts another way to all toolkits in.
func reaching(upstream http.RoundTripper) gatewaytest.Options {
	return gatewaytest.Options{Edit: func(cfg *gateway.Config) {
		for id, e := range cfg.Toolkits {
			e.Upstream = upstream
			cfg.Toolkits[id] = e
		}
	}}
}

// dialling is a transport that always dials that address.
func dialling(address string) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}}
}

// listening gives the address of a server that treats its connections so.
func listening(t *testing.T, treat func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); treat(conn) }()
		}
	}()
	return l.Addr().String()
}

func TestAProviderThatIsDownIsSaidToBeSo(t *testing.T) {
	nobody := listening(t, func(net.Conn) {})
	const refusing = "127.0.0.1:1" // not a port that was free a moment ago: another test may have it by now
	silent := dialling(listening(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	silent.ResponseHeaderTimeout = 20 * time.Millisecond
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = quietLog
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	tlsFails := &http.Transport{DisableKeepAlives: true}
	toTLS := seeing(func(r *http.Request) (*http.Response, error) {
		u := *r.URL
		u.Scheme, u.Host = "https", stranger.Listener.Addr().String()
		r.URL = &u
		return tlsFails.RoundTrip(r)
	})
	// A client's errors quote the whole address, and net/http quotes what is no
	// HTTP, here the request itself.
	quoting := seeing(func(r *http.Request) (*http.Response, error) {
		return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: errors.New("with " + r.Header.Get("Authorization") + r.Header.Get("X-Weather-Key"))}
	})
	echo := dialling(listening(t, func(c net.Conn) {
		line := make([]byte, 200)
		n, _ := io.ReadAtLeast(c, line, 60)
		_, _ = c.Write(line[:n])
	}))
	unreachable, late := verdict{502, "upstream_unreachable", "send", "connection"}, verdict{504, "upstream_timeout", "send", "timeout"}
	for name, c := range map[string]struct {
		upstream http.RoundTripper
		want     verdict
	}{
		"a refused connection":          {dialling(refusing), unreachable},
		"a connection that is cut":      {dialling(nobody), unreachable},
		"no answer in time":             {silent, late},
		"an unknown certificate":        {toTLS, unreachable},
		"an error that quotes":          {quoting, unreachable},
		"an answer that is no HTTP":     {echo, unreachable},
		"a deadline of the transport's": {seeing(func(*http.Request) (*http.Response, error) { return nil, context.DeadlineExceeded }), late},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, reaching(c.upstream))
			for _, path := range []string{"/acme/x", "/weather/x", "/maps/x", "/ledger/x", "/open/x"} {
				res, body := w.Get(path)
				r := parseRefusal(t, body)
				if got := (verdict{res.StatusCode, r.Code, r.Step, r.Rule}); got != c.want {
					t.Errorf("%s: refused with %v, want %v", path, got, c.want)
				}
				e := w.Event()
				if e.Err == nil || e.Status != c.want.status || strings.Contains(r.Detail, e.Err.Error()) {
					t.Errorf("%s: event %+v, body %s", path, e, body)
				}
				// Where nothing was sent, any method may be tried again.
				if soon := res.Header.Get("Retry-After") != ""; soon != (name == "a refused connection") {
					t.Errorf("%s: Retry-After %q", path, res.Header.Get("Retry-After"))
				}
				noSecret(t, path, body+" "+everyVerb(e))
			}
		})
	}
}

// The transport's goroutine may still speak when RoundTrip has given up.
func TestAnInterimAnswerAfterTheRefusalIsNotWritten(t *testing.T) {
	var trace *httptrace.ClientTrace
	w := gatewaytest.New(t, reaching(seeing(func(r *http.Request) (*http.Response, error) {
		trace = httptrace.ContextClientTrace(r.Context())
		return nil, errors.New("given up")
	})))
	rec := httptest.NewRecorder()
	w.Gateway.ServeHTTP(rec, w.Request("GET", "/acme/x", nil))
	before := rec.Header().Clone()
	if err := trace.Got1xxResponse(http.StatusEarlyHints, textproto.MIMEHeader{"Link": {"late"}}); err != nil {
		t.Error(err)
	}
	if rec.Code != 502 || !reflect.DeepEqual(rec.Header(), before) {
		t.Errorf("%d with %v, before %v", rec.Code, rec.Header(), before)
	}
}

// A context can end although the agent is still there, and silence would be a 200.
func TestWhoSeemsToHaveHungUpIsNotTold200(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rec := httptest.NewRecorder()
	w.Gateway.ServeHTTP(rec, w.Request("GET", "/acme/x", nil).WithContext(ctx))
	if e := w.Event(); rec.Code != 499 || e.Status != 499 || e.Err == nil {
		t.Errorf("answered %d, event %+v", rec.Code, e)
	}
}

func TestAnUploadThatCannotBeSentAgainIsNotTheAgentsFault(t *testing.T) {
	w := gatewaytest.New(t, reaching(seeing(func(r *http.Request) (*http.Response, error) {
		_, _ = io.CopyN(io.Discard, r.Body, 2<<20)
		_, err := r.GetBody()
		return nil, err
	})))
	res, body := w.Do(w.Request("POST", w.H1+"/acme/x", strings.NewReader(strings.Repeat("x", 2<<20))))
	refused(t, w, res, body, verdict{502, "upstream_unreachable", "send", "upload"})
}

func (j *judging) Reads(*gateway.Call) bool { return false }
