// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/toolgate/toolgate/toolkit"
)

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","refresh_token":"r","expires_in":3600,"scope":"x y"}`, `{"access_token":"\u0007","refresh_token":"\u0000"}`,
		`{"access_token":"a","expires_in":"3600.0","scope":["x","\u0007"]}`, `{"error":{"code":190,"type":"t"}}`, `{"error":["x"]}`, `{"error":7}`,
		`{"ok":true,"authed_user":{"access_token":"a"}}`, `{"data":{"error":"x","data":{"data":{}}}}`, `{"status":"BAD_REFRESH_TOKEN"}`,
		"access_token=a&expires_in=1e400&scope=a,b", "error=bad%00code", "access_token=a%0d%0ab", "\ufeff{}", "<html>;%zz", `{"expires_in":NaN}`, `{"expires_in":"0x1p-2"}`,
	} {
		f.Add([]byte(seed), 200, "authed_user", true)
		f.Add([]byte(seed), 400, "", false)
		f.Add([]byte(seed), 429, "data.data", false)
	}
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text []byte, status int, path string, refresh bool) {
		o := &toolkit.OAuth2{TokenPath: path, ReconnectErrors: []string{"190"}, RetryErrors: []string{"Access Denied"}, TokenLifetime: time.Hour}
		header := http.Header{"Retry-After": {string(text[:min(len(text), 8)])}}
		g, err := verdict{o, refresh}.read(response{status, header, text}, now)
		no, refused := errors.AsType[*Refused](err)
		away, passes := errors.AsType[*Unavailable](err)
		switch {
		case err == nil:
			checkGrant(t, g, now)
			if status < 200 || status > 299 {
				t.Fatalf("a token with status %d", status)
			}
		case !g.AccessToken.IsZero() || !g.RefreshToken.IsZero():
			t.Fatal("a token and an error")
		case refused && (no.Code == "" || clean(no.Code) != no.Code):
			t.Fatalf("code %q", no.Code)
		case passes && (away.RetryAfter < 0 || away.RetryAfter > time.Hour):
			t.Fatalf("retry after %v", away.RetryAfter)
		case !refused && !passes:
			t.Fatal(err)
		}
		if err != nil && strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Fatalf("%q", err)
		}
	})
}

// checkGrant holds a grant to what is kept and sent without looking again.
func checkGrant(t *testing.T, g Grant, now time.Time) {
	if !visible(g.AccessToken.Reveal()) || g.AccessToken.IsZero() {
		t.Fatalf("%q, %q", g.AccessToken.Reveal(), g.RefreshToken.Reveal())
	}
	if !g.ExpiresAt.IsZero() && (!g.ExpiresAt.After(now) || g.ExpiresAt.After(now.Add(tenYears*time.Second))) {
		t.Fatalf("good until %v", g.ExpiresAt)
	}
	for _, scope := range g.Scopes {
		if scope == "" || !visible(scope) {
			t.Fatalf("scope %q", scope)
		}
	}
}

func TestACodeThatIsNoneOfOursStaysAnError(t *testing.T) {
	// An error made only of what is cut away must not turn into success.
	if a := parseAnswer([]byte(`{"access_token":"a","error":"…"}`), place{}); len(a.errorCodes(nil)) == 0 {
		t.Error("an error has vanished")
	}
}
