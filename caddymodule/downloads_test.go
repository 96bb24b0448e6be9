// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/egress"
	"github.com/toolgate/toolgate/toolkit"
)

func TestDownloadsDoNotShowTheClientCertificate(t *testing.T) {
	tk := downloadingToolkit(t, "https://api.example.com", "*.example.com")
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	// The files do not exist: whoever wants them fails.
	raw := json.RawMessage(`{"protocol":"http","tls":{"client_certificate_file":"/none.pem","client_certificate_key_file":"/none.key","server_name":"api.example.com"}}`)
	if _, err := newTransport(ctx, tk, raw, nil); err == nil {
		t.Error("the way to the toolkit does not want the certificate")
	}
	downloads, err := newDownloads(ctx, tk, raw, false)
	if err != nil {
		t.Fatal(err)
	}
	if c := downloads.http.Transport.TLSClientConfig; len(c.Certificates) != 0 || c.GetClientCertificate != nil || c.ServerName != "" {
		t.Error("the way to the downloads knows the certificate or the toolkit's name")
	}
}

func TestDownloadsDoNotLeadIntoThePrivateNetwork(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	host := "localhost:" + s.URL[strings.LastIndex(s.URL, ":")+1:]
	tk := downloadingToolkit(t, "http://localhost", host)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	for _, allowed := range []bool{false, true} {
		downloads, err := newDownloads(ctx, tk, nil, allowed)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "http://"+strings.ToUpper(host)+"/x", nil)
		r.RequestURI = ""
		res, err := downloads.RoundTrip(r)
		if err == nil {
			res.Body.Close()
		}
		if refused := errors.Is(err, egress.ErrPrivate); refused == allowed {
			t.Errorf("allow_private %v: %v", allowed, err)
		}
	}
}

func downloadingToolkit(t *testing.T, base string, hosts ...string) *toolkit.Toolkit {
	t.Helper()
	tk, err := toolkit.Definition{ID: "files", BaseURL: base, RedirectHosts: hosts, Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}}.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	return tk
}
