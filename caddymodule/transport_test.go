// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/egress"
	"github.com/toolgate/toolgate/toolkit"
)

func TestTheCataloguesHostsAreGuardedAndTheOperatorsAreNot(t *testing.T) {
	catalogue, known := toolkit.Builtin("github")
	if !known {
		t.Fatal("github is not in the catalogue")
	}
	for _, c := range []struct {
		name    string
		written toolkit.Definition
		want    []string
	}{
		{"nothing written", toolkit.Definition{}, []string{"api.github.com", "github.com", "uploads.github.com"}},
		{"another base_url", toolkit.Definition{BaseURL: "https://github.corp.internal/api/v3"}, []string{"api.github.com", "github.com", "uploads.github.com"}},
		{"the same base_url", toolkit.Definition{BaseURL: "https://api.github.com"}, []string{"github.com", "uploads.github.com"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			guarded := guardedHosts(catalogue, c.written)
			if got := slices.Sorted(maps.Keys(guarded)); !slices.Equal(got, c.want) {
				t.Errorf("guarded: %v, want %v", got, c.want)
			}
			if guarded["github.corp.internal"] {
				t.Error("the operator's host is guarded")
			}
		})
	}
}

// What Caddy leaves open would hold a call for ever, or change a body.
func TestTheTransportHasLimitsAndChangesNoBody(t *testing.T) {
	for name, c := range map[string]struct {
		base, raw         string
		timeout           time.Duration
		header, handshake time.Duration
		expect            time.Duration
	}{
		"nothing said":           {"https://a.example", ``, 0, time.Minute, 5 * time.Second, time.Second},
		"in the clear":           {"http://a.example", ``, 0, time.Minute, 0, time.Second},
		"the toolkit's timeout":  {"https://a.example", ``, 7 * time.Second, 7 * time.Second, 5 * time.Second, time.Second},
		"over the transport's":   {"https://a.example", `{"response_header_timeout":"9s"}`, 7 * time.Second, 7 * time.Second, 5 * time.Second, time.Second},
		"the transport's own":    {"https://a.example", `{"response_header_timeout":"9s","expect_continue_timeout":"3s","tls":{"handshake_timeout":"8s"}}`, 0, 9 * time.Second, 8 * time.Second, 3 * time.Second},
		"compression is not one": {"https://a.example", `{"compression":true}`, 0, time.Minute, 5 * time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			tk := &toolkit.Toolkit{BaseURL: mustParse(t, c.base), Timeout: c.timeout}
			var raw json.RawMessage
			if c.raw != "" {
				raw = json.RawMessage(c.raw)
			}
			ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
			defer cancel()
			tr, err := newTransport(ctx, tk, raw, nil)
			if err != nil {
				t.Fatal(err)
			}
			h := tr.http.Transport
			if h.ResponseHeaderTimeout != c.header || h.TLSHandshakeTimeout != c.handshake || h.ExpectContinueTimeout != c.expect || !h.DisableCompression || h.MaxResponseHeaderBytes != 1<<20 {
				t.Errorf("header %v, handshake %v, expect %v, compression off %v, header's size %d", h.ResponseHeaderTimeout, h.TLSHandshakeTimeout, h.ExpectContinueTimeout, h.DisableCompression, h.MaxResponseHeaderBytes)
			}
			if h.HTTP2.WriteByteTimeout != 15*time.Second || h.HTTP2.MaxReceiveBufferPerStream != 1<<20 {
				t.Errorf("HTTP/2: %+v", h.HTTP2)
			}
		})
	}
}

// A toolkit that speaks HTTP/2 without TLS has hosts that speak HTTP/1 too, such as its
// token endpoint.
func TestTheVersionH2CLeavesConnectionsApart(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })) // HTTP/1.1
	defer s.Close()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	tr, err := newTransport(ctx, &toolkit.Toolkit{BaseURL: mustParse(t, "http://a.example")}, json.RawMessage(`{"versions":["1.1","2","h2c"]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	tr.http.Transport.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	defer tr.http.Transport.CloseIdleConnections()
	from := map[string]string{}
	for _, user := range []string{"alice", "bob"} {
		r, err := http.NewRequestWithContext(egress.For(t.Context(), user), "GET", s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.ProtoMajor != 1 {
			t.Errorf("%s, %v", answer.Proto, err)
		}
		from[string(text)] = user
	}
	if len(from) != 2 {
		t.Errorf("two users' calls came over %d connections", len(from))
	}
}

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
