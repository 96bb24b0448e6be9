// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"strings"
	"testing"
	"time"
)

func FuzzParseAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","refresh_token":"r","expires_in":3600,"scope":"x y"}`,
		`{"access_token":"a","expires_in":"3600.0","scope":["x"]}`, `{"error":{"code":"c","type":"t"}}`, `{"error":["x"]}`,
		`{"ok":true,"authed_user":{"access_token":"a"}}`, `{"data":{"error":"x","data":{"data":{}}}}`, `{"status":"BAD_REFRESH_TOKEN"}`,
		"access_token=a&expires_in=1e400&scope=a,b", "error=bad%00code", "\ufeff{}", "<html>;%zz", `{"expires_in":NaN}`, `{"expires_in":"0x1p-2"}`,
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text []byte) {
		a := parseAnswer(text, place{})
		code := strings.Join(a.errorCodes(func(string) bool { return true }), "")
		if len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
		}) {
			t.Fatalf("code %q", code)
		}
		g := a.grant(now, 0)
		if !g.ExpiresAt.IsZero() && (!g.ExpiresAt.After(now) || g.ExpiresAt.After(now.Add(tenYears*time.Second))) {
			t.Fatalf("good until %v", g.ExpiresAt)
		}
		if string(a.AccessToken) != g.AccessToken.Reveal() {
			t.Fatal("the token has changed on the way")
		}
		for _, scope := range a.Scope {
			if len(scope) > len(text) {
				t.Fatal("a scope out of nothing")
			}
		}
	})
}

func TestACodeThatIsNoneOfOursStaysAnError(t *testing.T) {
	// An error made only of what is cut away must not turn into success.
	if a := parseAnswer([]byte(`{"access_token":"a","error":"…"}`), place{}); len(a.errorCodes(nil)) == 0 {
		t.Error("an error has vanished")
	}
}
