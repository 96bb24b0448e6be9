// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// token_lifetime is for what the provider does not say, and a guess must not end a token
// that could not be renewed.
func TestALifetimeIsTheProvidersOrElseTheToolkits(t *testing.T) {
	for _, c := range []struct {
		expiresIn string // with its comma
		refresh   string
		with      toolkit.Payment
		off       bool
		code, ren time.Duration
	}{
		{`,"expires_in":60`, "r", "", false, time.Minute, time.Minute},
		{``, "r", "", false, 2 * time.Hour, 2 * time.Hour},
		{`,"expires_in":0`, "r", "", false, 2 * time.Hour, 2 * time.Hour},
		{`,"expires_in":"soon"`, "r", "", false, 2 * time.Hour, 2 * time.Hour},
		{`,"expires_in":-1`, "", "", false, 0, 2 * time.Hour}, // on a refresh the old refresh token stays
		{``, "", toolkit.WithAccessToken, false, 2 * time.Hour, 2 * time.Hour},
		{``, "r", "", true, 0, 0},
		{`,"expires_in":60`, "r", "", true, time.Minute, time.Minute},
	} {
		e := newEndpoint(t, says(200, jsonType, fmt.Sprintf(`{"access_token":"a","refresh_token":%q%s}`, c.refresh, c.expiresIn)))
		e.oauth.TokenLifetime, e.oauth.RefreshWith, e.oauth.NoRefresh = 2*time.Hour, c.with, c.off
		g, err := e.refresh()
		gives{"a", c.refresh, "", c.ren}.compare(t, "refresh"+c.expiresIn, g, err)
		e.requests.Store(0)
		if c.with == "" { // the other is prolonged at once
			g, err = e.client.Exchange(t.Context(), e.oauth, "c", "v", callback)
			gives{"a", c.refresh, "", c.code}.compare(t, "code"+c.expiresIn, g, err)
		}
	}
}

func TestATokenIsFoundWhereTheToolkitSays(t *testing.T) {
	deep := `{"access_token":"top","refresh_token":"top","error":null,"a":{"b":{"access_token":"deep","refresh_token":"r","expires_in":"60"}},"data":{"access_token":"data"}}`
	for path, want := range map[string]struct{ code, refresh gives }{
		"":      {gives{"top", "top", "", 0}, gives{"top", "top", "", 0}},
		"a.b":   {gives{"deep", "r", "", time.Minute}, gives{"deep", "r", "", time.Minute}},
		"data":  {gives{"data", "", "", 0}, gives{"data", "", "", 0}},
		"a.x.y": {gives{}, gives{"top", "top", "", 0}},
		"error": {gives{}, gives{"top", "top", "", 0}},
	} {
		e := newEndpoint(t, says(200, jsonType, deep))
		e.oauth.TokenPath = path
		g, err := e.client.Exchange(t.Context(), e.oauth, "c", "v", callback)
		if want.code.access == "" {
			if outcome(err) != "lost" {
				t.Errorf("code, %q: %v", path, err)
			}
		} else {
			want.code.compare(t, "code, "+path, g, err)
		}
		e.requests.Store(0)
		g, err = e.refresh()
		want.refresh.compare(t, "refresh, "+path, g, err)
	}
}

func TestScopesAreSentOnARefreshWhereTheyAreWanted(t *testing.T) {
	for _, c := range []struct {
		on     bool
		scopes []string
		want   string
	}{{false, []string{"a", "b"}, ""}, {true, []string{"a", "b"}, "a,b"}, {true, nil, ""}} {
		e := newEndpoint(t, says(200, jsonType, `{"access_token":"a"}`))
		e.oauth.RefreshScope, e.oauth.Scopes, e.oauth.ScopeSeparator, e.oauth.ScopeParam = c.on, c.scopes, ",", "user_scope"
		if _, err := e.refresh(); err != nil || e.form.Get("scope") != c.want || e.form.Has("scope") != (c.want != "") || e.form.Has("user_scope") {
			t.Errorf("%+v: %v, %v", c, e.form, err)
		}
	}
}

// Where there was no connection, not one byte has left: the token is as good as before.
func TestAHandshakeThatFailsHasSpentNothing(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer server.Close()
	for way, o := range ways(server.URL) {
		client := &oauth.Client{Transport: &http.Transport{}} // which does not know the certificate
		_, err := client.Refresh(t.Context(), o, secret.New(refreshToken))
		if away, ok := errors.AsType[*oauth.Unavailable](err); !ok || !away.Unspent || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", way, err)
		}
	}
}
