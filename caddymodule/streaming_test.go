// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/gateway/streamtest"
)

// The suite on the servers and transports that users have: Caddy's, which puts its
// own body and writer around each request and knows more limits than net/http.
func TestStreaming(t *testing.T) {
	size := func(short, large int64) int64 {
		if os.Getenv("TOOLGATE_LONG") != "" {
			return large
		}
		return short
	}
	streamtest.Suite{Open: openLanes, Large: size(64<<20, 2<<30), Talk: size(4<<20, 100<<20)}.Run(t)
}

// lanes is one Caddy with a site for each protocol of callers, and a toolkit for
// each lane.
type lanes struct {
	t     *testing.T
	dir   string
	sites map[gatewaytest.Protocol]string // host:port
	oauth string                          // where users consent
}

func openLanes(t *testing.T, o streamtest.Options, all []*streamtest.Lane) {
	w := &lanes{t: t, dir: t.TempDir(), sites: map[gatewaytest.Protocol]string{}}
	t.Setenv("XDG_DATA_HOME", w.dir)
	t.Setenv("ACME_CLIENT_SECRET", clientSecret)
	oauth := httptest.NewUnstartedServer(consenting())
	oauth.Config.Protocols = new(http.Protocols) // a lane's token requests go its own way
	oauth.Config.Protocols.SetHTTP1(true)
	oauth.Config.Protocols.SetUnencryptedHTTP2(true)
	oauth.Start()
	t.Cleanup(oauth.Close)
	w.oauth = oauth.URL
	for _, p := range gatewaytest.Protocols {
		w.sites[p] = freeAddress(t)
	}
	certificate := writeCertificate(t, w.dir)
	w.load(w.caddyfile(o, all))
	for _, l := range all {
		l.Front = streamtest.Front{URL: "http://" + w.sites[l.Caller] + "/" + l.Name(), Header: http.Header{"X-User-Id": {"alice"}}}
		if l.Caller == gatewaytest.HTTP2 {
			l.Front.URL, l.Front.Certificate = "https"+strings.TrimPrefix(l.Front.URL, "http"), certificate
		}
		w.connect(l)
	}
}

// load starts Caddy, and reads in the end what it had to complain of.
func (w *lanes) load(caddyfile string) {
	w.t.Helper()
	config, _, err := adapt(caddyfile)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, caddyfile)
	}
	w.t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(w.dir, "caddy.log")); err != nil || gatewaytest.Complains(log) {
			w.t.Errorf("Caddy says, %v: %s", err, log)
		}
	})
	w.t.Cleanup(func() { _ = caddy.Stop() })
	if err := caddy.Load(config, true); err != nil {
		w.t.Fatalf("%v\n%s", err, caddyfile)
	}
}

// writeCertificate puts httptest's pair, which is good for 127.0.0.1, where Caddy
// finds it: for its own site and as what it trusts, since all providers show it.
func writeCertificate(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s.Certificate()
}

func (w *lanes) caddyfile(o streamtest.Options, all []*streamtest.Lane) string {
	var toolkits strings.Builder
	for _, l := range all {
		toolkits.WriteString(w.toolkit(o, l))
	}
	_, port, _ := strings.Cut(w.sites[gatewaytest.HTTP1], ":")
	return strings.NewReplacer(
		"DIR", w.dir, "PORT", port, "TIMEOUTS", siteTimeouts(o.IdleTime), "TOOLKITS", toolkits.String(),
		"HTTP1", w.sites[gatewaytest.HTTP1], "HTTP2", w.sites[gatewaytest.HTTP2], "H2C", w.sites[gatewaytest.H2C],
	).Replace(lanesCaddyfile)
}

// What is around the gateway wraps the writer and the body once more, as on users'
// sites. It is not encode: that keeps a header back until the body's first byte, but
// for text/event-stream (responseWriter.FlushError in Caddy's encode).
//
// The default log stays where it is, and silent: Caddy says in JSON that it moved one.
const lanesCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	grace_period 2s
	storage file_system DIR
	log default {
		level PANIC
	}
	log all {
		output file DIR/caddy.log
	}
	servers HTTP1 {
		TIMEOUTS
	}
	servers HTTP2 {
		protocols h1 h2
		TIMEOUTS
	}
	servers H2C {
		protocols h1 h2c
		TIMEOUTS
	}
	toolgate {
		public_url http://localhost:PORT
		store memory
		audit discard
		TOOLKITS
	}
}

(around) {
	log
	request_body {
		max_size 10GB
	}
}

http://HTTP1, http://localhost:PORT {
	bind 127.0.0.1
	import around
	toolgate_connect
	toolgate
}

https://HTTP2 {
	bind 127.0.0.1
	tls DIR/cert.pem DIR/key.pem
	import around
	toolgate
}

http://H2C {
	bind 127.0.0.1
	import around
	toolgate
}
`

// siteTimeouts are all of Caddy's that have to do with idling.
func siteTimeouts(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("timeouts {\n idle %[1]s\n read_body_idle %[1]s\n write_idle %[1]s\n }", d)
}

func (w *lanes) toolkit(o streamtest.Options, l *streamtest.Lane) string {
	transport := fmt.Sprintf("expect_continue_timeout %s\n", 3*gatewaytest.Patience)
	switch l.Upstream {
	case gatewaytest.HTTP2:
		transport += fmt.Sprintf("tls_trust_pool file %s/cert.pem\n", w.dir)
	case gatewaytest.H2C:
		transport += "versions h2c 2\n"
	}
	if o.HandshakeTime > 0 && l.Upstream == gatewaytest.HTTP2 {
		transport += fmt.Sprintf("tls_timeout %s\n", o.HandshakeTime)
	}
	if o.HeaderTime > 0 {
		transport += fmt.Sprintf("response_header_timeout %s\n", o.HeaderTime)
	}
	if o.IdleTime > 0 {
		transport += fmt.Sprintf("keepalive %s\n", o.IdleTime)
	}
	return fmt.Sprintf(`toolkit %s {
	base_url %s
	oauth2 {
		authorize_url %[3]s/authorize
		token_url %[3]s/token
		client_id toolgate
		client_secret {env.ACME_CLIENT_SECRET}
	}
	transport http {
		%[4]s
	}
}
`, l.Name(), l.API, w.oauth, transport)
}

// consenting is an OAuth server whose users agree to everything. Each token is new.
func consenting() http.Handler {
	var tokens atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", func(rw http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		http.Redirect(rw, r, q.Get("redirect_uri")+"?code=agreed&state="+q.Get("state"), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"access_token":"marker-token-%d","refresh_token":"marker-refresh","token_type":"bearer","expires_in":3600}`, tokens.Add(1))
	})
	return mux
}

// connect goes the way of alice's browser. It calls over HTTP/1.1, whatever the lane
// speaks: a link is for everybody.
func (w *lanes) connect(l *streamtest.Lane) {
	w.t.Helper()
	b := &person{t: w.t, cookies: map[string]map[string]string{}}
	r, err := http.NewRequest("GET", "http://"+w.sites[gatewaytest.HTTP1]+"/"+l.Name()+"/x", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header = l.Front.Header.Clone()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var refusal struct {
		ConnectURL string `json:"connect_url"`
	}
	if err := json.NewDecoder(res.Body).Decode(&refusal); err != nil || refusal.ConnectURL == "" {
		w.t.Fatalf("instead of auth_required: %s, %v", res.Status, err)
	}
	if page := b.submit(b.get(refusal.ConnectURL), refusal.ConnectURL, ""); !strings.Contains(page, "is connected</h1>") {
		w.t.Fatalf("the result page: %s", page)
	}
}
