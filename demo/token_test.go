// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestACodeIsExchangedForTokensThatWork(t *testing.T) {
	w := newWorld(t)
	rec := w.redeemCode(w.codeFor("alice"))
	got := w.tokensIn(rec)
	if !strings.HasPrefix(got.AccessToken, "acme_at_") || !strings.HasPrefix(got.RefreshToken, "acme_rt_") {
		t.Errorf("tokens look otherwise: %d and %d letters", len(got.AccessToken), len(got.RefreshToken))
	}
	if got.TokenType != "Bearer" || got.ExpiresIn != 60 || got.Scope != "offline_access read write" {
		t.Errorf("got %s, %d s, %q", got.TokenType, got.ExpiresIn, got.Scope)
	}
	if rec.Header().Get("Cache-Control") != "no-store" {
		t.Error("tokens may be cached")
	}
	if !w.works(got.AccessToken) {
		t.Error("the access token does not work")
	}
}

func TestWithoutOfflineAccessThereIsNoRefreshToken(t *testing.T) {
	w := newWorld(t)
	if got := w.tokensFor("alice", "scope=read"); got.RefreshToken != "" || got.Scope != "read" {
		t.Errorf("scope %q, refresh token: %t", got.Scope, got.RefreshToken != "")
	}
}

func TestWhoNamesNoScopeGetsToReadAndToStay(t *testing.T) {
	w := newWorld(t)
	if got := w.tokensFor("alice", "scope="); got.RefreshToken == "" || got.Scope != "read offline_access" {
		t.Errorf("scope %q", got.Scope)
	}
}

func TestACodeUsedTwiceEndsWhatItWasExchangedFor(t *testing.T) {
	w := newWorld(t)
	code := w.codeFor("alice")
	got := w.tokensIn(w.redeemCode(code))
	got = w.tokensIn(w.refreshWith(got.RefreshToken))
	w.pass(10 * time.Minute) // long after the code itself expired
	wantError(t, w.redeemCode(code), http.StatusBadRequest, "invalid_grant")
	wantError(t, w.refreshWith(got.RefreshToken), http.StatusBadRequest, "invalid_grant")
}

func TestACodeWorksForOneMinute(t *testing.T) {
	w := newWorld(t)
	code := w.codeFor("alice")
	w.pass(time.Minute - 1)
	w.tokensIn(w.redeemCode(code))
	code = w.codeFor("alice")
	w.pass(time.Minute)
	wantError(t, w.redeemCode(code), http.StatusBadRequest, "invalid_grant")
}

func TestACodeWorksOnlyWithItsVerifierAndAddress(t *testing.T) {
	for name, pair := range map[string][2]string{
		"other verifier": {verifier + "x", callback},
		"no verifier":    {"", callback},
		"other address":  {verifier, "https://app.example/cb?tenant=a"},
		"no address":     {verifier, ""},
	} {
		w := newWorld(t)
		code := w.codeFor("alice")
		rec := w.post("/token", "grant_type", "authorization_code", "code", code, "code_verifier", pair[0], "redirect_uri", pair[1])
		wantError(t, rec, http.StatusBadRequest, "invalid_grant")
		if w.redeemCode(code).Code == http.StatusOK {
			t.Errorf("%s: a second try was allowed", name)
		}
	}
}

func TestAmongManyWithOneCodeAtMostOneGetsTokens(t *testing.T) {
	w := newWorld(t)
	code := w.codeFor("alice")
	if n := atOnce(20, func() bool { return w.redeemCode(code).Code == http.StatusOK }); n != 1 {
		t.Errorf("%d got tokens", n)
	}
}

func TestARefreshRotatesBothTokens(t *testing.T) {
	w := newWorld(t)
	first := w.tokensFor("alice")
	second := w.tokensIn(w.refreshWith(first.RefreshToken))
	if second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken || second.Scope != first.Scope {
		t.Error("the refresh changed too little")
	}
	if !w.works(first.AccessToken) || !w.works(second.AccessToken) {
		t.Error("a refresh must not cut off calls under way")
	}
}

func TestARefreshTokenUsedTwiceEndsTheFamily(t *testing.T) {
	w := newWorld(t)
	first, other := w.tokensFor("alice"), w.tokensFor("alice")
	last := first
	for range 5 { // also a token from long before is recognised
		last = w.tokensIn(w.refreshWith(last.RefreshToken))
	}
	wantError(t, w.refreshWith(first.RefreshToken), http.StatusBadRequest, "invalid_grant")
	wantError(t, w.refreshWith(last.RefreshToken), http.StatusBadRequest, "invalid_grant")
	if w.works(last.AccessToken) {
		t.Error("the access token outlived its family")
	}
	if n := w.Stats().ReuseDetections; n != 1 {
		t.Errorf("%d reuses counted", n)
	}
	if !w.works(other.AccessToken) {
		t.Error("the other grant ended too")
	}
}

func TestAmongManyWithOneRefreshTokenAtMostOneWins(t *testing.T) {
	w := newWorld(t)
	token := w.tokensFor("alice").RefreshToken
	if n := atOnce(20, func() bool { return w.refreshWith(token).Code == http.StatusOK }); n != 1 {
		t.Errorf("%d were refreshed", n)
	}
	if n := w.Stats().ReuseDetections; n != 1 {
		t.Errorf("%d reuses counted; a family ends once", n)
	}
}

// atOnce runs try n times at the same time and counts the successes.
func atOnce(n int, try func() bool) (won int) {
	var group sync.WaitGroup
	var mu sync.Mutex
	for range n {
		group.Go(func() {
			ok := try()
			mu.Lock()
			defer mu.Unlock()
			if ok {
				won++
			}
		})
	}
	group.Wait()
	return won
}

func TestARefreshCannotAskForMore(t *testing.T) {
	w := newWorld(t)
	got := w.tokensFor("alice", "scope=read offline_access")
	wantError(t, w.post("/token", "grant_type", "refresh_token", "refresh_token", got.RefreshToken, "scope", "read write"), http.StatusBadRequest, "invalid_scope")
	w.tokensIn(w.post("/token", "grant_type", "refresh_token", "refresh_token", got.RefreshToken, "scope", "read"))
}

func TestAForeignTokenIsNoRefreshToken(t *testing.T) {
	w := newWorld(t)
	got := w.tokensFor("alice")
	for _, token := range []string{"", "x", "acme_rt_", "acme_rt_!!!", got.AccessToken, newToken(refreshPrefix, make([]byte, handleSize))} {
		wantError(t, w.refreshWith(token), http.StatusBadRequest, "invalid_grant")
	}
	if !w.works(got.AccessToken) || w.Stats().ReuseDetections != 0 {
		t.Error("a foreign token ended a grant")
	}
}

func TestARefreshTokenThatRestsTooLongEnds(t *testing.T) {
	w := newWorld(t)
	got := w.tokensFor("alice")
	w.pass(89 * 24 * time.Hour)
	got = w.tokensIn(w.refreshWith(got.RefreshToken))
	w.pass(90 * 24 * time.Hour)
	wantError(t, w.refreshWith(got.RefreshToken), http.StatusBadRequest, "invalid_grant")
}

func TestTheClientMustProveItself(t *testing.T) {
	w := newWorld(t)
	basic := func(id, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(id, secret) }
	}
	for name, try := range map[string]struct {
		body   string
		header func(*http.Request)
		status int
		code   string
	}{
		"encoded basic":      {"", basic(url.QueryEscape(clientID), url.QueryEscape(clientSecret)), 400, "unsupported_grant_type"},
		"body":               {"&client_id=toolgate&client_secret=" + url.QueryEscape(clientSecret), nil, 400, "unsupported_grant_type"},
		"basic with same id": {"&client_id=toolgate", basic(clientID, url.QueryEscape(clientSecret)), 400, "unsupported_grant_type"},
		"both":               {"&client_secret=x", basic(clientID, url.QueryEscape(clientSecret)), 400, "invalid_request"},
		"secret twice":       {"&client_secret=x&client_secret=y", nil, 400, "invalid_request"},
		"none":               {"", nil, 401, "invalid_client"},
		"wrong secret":       {"", basic(clientID, "wrong"), 401, "invalid_client"},
		"wrong id":           {"", basic("other", url.QueryEscape(clientSecret)), 401, "invalid_client"},
		"secret unencoded":   {"", basic(clientID, clientSecret), 401, "invalid_client"},
		"in the address": {"", func(r *http.Request) {
			r.URL.RawQuery = "client_id=toolgate&client_secret=" + url.QueryEscape(clientSecret)
		}, 401, "invalid_client"},
	} {
		for _, path := range []string{"/token", "/revoke"} {
			r := httptest.NewRequest("POST", path, strings.NewReader("grant_type=password"+try.body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if try.header != nil {
				try.header(r)
			}
			rec, want := w.do(r), try.code
			if path == "/revoke" && want == "unsupported_grant_type" {
				want = "invalid_request" // the client is fine, the token is missing
			}
			t.Log(name, path)
			wantError(t, rec, try.status, want)
			if got := rec.Header().Get("WWW-Authenticate"); (try.status == 401) != strings.HasPrefix(got, "Basic ") {
				t.Errorf("%s: WWW-Authenticate %q", name, got)
			}
		}
	}
}

func TestAFormThatIsTooLargeOrRepeatsItselfIsRefused(t *testing.T) {
	w := newWorld(t)
	wantError(t, w.post("/token", "grant_type", strings.Repeat("x", maxForm)), http.StatusBadRequest, "invalid_request")
	wantError(t, w.post("/token", "grant_type", "refresh_token", "grant_type", "x"), http.StatusBadRequest, "invalid_request")
	wantError(t, w.post("/token"), http.StatusBadRequest, "invalid_request")
}

func TestRevokingAnyTokenEndsTheFamily(t *testing.T) {
	for name, pick := range map[string]func(first, last tokens) string{
		"access token":          func(_, last tokens) string { return last.AccessToken },
		"refresh token":         func(_, last tokens) string { return last.RefreshToken },
		"rotated refresh token": func(first, _ tokens) string { return first.RefreshToken },
	} {
		w := newWorld(t)
		first := w.tokensFor("alice")
		last := w.tokensIn(w.refreshWith(first.RefreshToken))
		if rec := w.post("/revoke", "token", pick(first, last), "token_type_hint", "no_such_type"); rec.Code != http.StatusOK {
			t.Errorf("%s: %d", name, rec.Code)
		}
		if w.works(last.AccessToken) || w.refreshWith(last.RefreshToken).Code == http.StatusOK {
			t.Errorf("%s: something still works", name)
		}
		if got := w.Stats(); got.Revocations != 1 || got.ReuseDetections != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestRevokingAnUnknownTokenIsFine(t *testing.T) {
	w := newWorld(t)
	got := w.tokensFor("alice")
	if rec := w.post("/revoke", "token", "acme_rt_unknown"); rec.Code != http.StatusOK || !w.works(got.AccessToken) {
		t.Errorf("%d", rec.Code)
	}
}

func TestRevokeUserEndsHisGrantsAndNobodyElses(t *testing.T) {
	w := newWorld(t)
	alice, bob, code := w.tokensFor("alice"), w.tokensFor("bob"), w.codeFor("alice")
	w.RevokeUser("alice")
	if w.works(alice.AccessToken) || w.refreshWith(alice.RefreshToken).Code == http.StatusOK || w.redeemCode(code).Code == http.StatusOK {
		t.Error("something of alice's still works")
	}
	if !w.works(bob.AccessToken) {
		t.Error("bob was revoked too")
	}
	if got := w.Stats(); got.ReuseDetections != 0 {
		t.Errorf("a revoked token counts as a reuse: %+v", got)
	}
}

func TestExpiredAccessTokensCanBeRefreshed(t *testing.T) {
	w := newWorld(t)
	got := w.tokensFor("alice")
	w.ExpireAccessTokens()
	if w.works(got.AccessToken) {
		t.Error("the access token still works")
	}
	if !w.works(w.tokensIn(w.refreshWith(got.RefreshToken)).AccessToken) {
		t.Error("the new access token does not work")
	}
}
