// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAnUnknownClientOrAddressGetsAPageAndNeverARedirect(t *testing.T) {
	for _, edit := range []string{
		"client_id=", "client_id=other", "redirect_uri=", "redirect_uri=https://evil.example/cb",
		"redirect_uri=" + callback + "/", "redirect_uri=" + callback + "?x=1",
		"redirect_uri=" + strings.ToUpper(callback), "redirect_uri=http://localhost:8081/callback/acme",
	} {
		w := newWorld(t)
		for _, rec := range []int{0, 1} {
			got := w.browse([]string{"GET", "POST"}[rec], address(edit, "response_type=token"), nil)
			if got.Code != http.StatusBadRequest || got.Header().Get("Location") != "" {
				t.Errorf("%s: %d, Location %q", edit, got.Code, got.Header().Get("Location"))
			}
			if strings.Contains(got.Body.String(), "evil") {
				t.Errorf("%s: the page shows the address", edit)
			}
		}
	}
	twice := newWorld(t).browse("GET", address()+"&redirect_uri="+url.QueryEscape(callback), nil)
	if twice.Code != http.StatusBadRequest {
		t.Errorf("redirect_uri twice: %d", twice.Code)
	}
}

func TestABadRequestOfAKnownClientGoesBackToIt(t *testing.T) {
	for edit, want := range map[string]string{
		"response_type=":              "invalid_request",
		"response_type=token":         "unsupported_response_type",
		"response_mode=fragment":      "invalid_request",
		"code_challenge=":             "invalid_request",
		"code_challenge=short":        "invalid_request",
		"code_challenge_method=":      "invalid_request",
		"code_challenge_method=plain": "invalid_request",
		"scope=read admin":            "invalid_scope",
	} {
		w := newWorld(t)
		got := w.sentBack(w.browse("GET", address(edit), nil))
		if got.Get("error") != want || got.Get("state") != "st4te&+ " || got.Get("iss") != origin || got.Has("code") {
			t.Errorf("%s: %v, want %s", edit, got, want)
		}
	}
	w := newWorld(t)
	if got := w.sentBack(w.browse("GET", address()+"&scope=read", nil)); got.Get("error") != "invalid_request" {
		t.Errorf("scope twice: %v", got)
	}
}

func TestAPersonSignsInConsentsAndTheCodeGoesBack(t *testing.T) {
	w := newWorld(t)
	login := w.browse("GET", address(), nil).Body.String()
	for _, want := range []string{"Sign in to Acme", `value="alice"`, `value="bob"`, "<code>demo</code>", "Toolgate demo"} {
		if !strings.Contains(login, want) {
			t.Errorf("the login page lacks %q", want)
		}
	}
	w.signInAs("alice")
	consent := w.browse("GET", address(), nil).Body.String()
	for _, want := range []string{"Toolgate demo wants", "alice@acme.example", "See your profile", "Write notes", "Stay connected", "localhost:8080", "Use another account"} {
		if !strings.Contains(consent, want) {
			t.Errorf("the consent page lacks %q", want)
		}
	}
	got := w.sentBack(w.act(address(), "allow"))
	if len(got.Get("code")) < 43 || got.Get("state") != "st4te&+ " || got.Get("iss") != origin || got.Has("error") {
		t.Errorf("sent back %v", got)
	}
}

func TestTheConsentPageNamesOnlyWhatIsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.signInAs("alice")
	page := w.browse("GET", address("scope=read"), nil).Body.String()
	if !strings.Contains(page, "See your profile") || strings.Contains(page, "Write notes") || strings.Contains(page, "Stay connected") {
		t.Error("the page shows other scopes than read")
	}
}

func TestDenyingGoesBackAsAccessDenied(t *testing.T) {
	w := newWorld(t)
	w.signInAs("bob")
	got := w.sentBack(w.act(address(), "deny"))
	if got.Get("error") != "access_denied" || got.Get("state") == "" || got.Get("iss") != origin || got.Has("code") {
		t.Errorf("sent back %v", got)
	}
}

func TestARegisteredAddressKeepsItsQuery(t *testing.T) {
	w := newWorld(t)
	w.signInAs("bob")
	got := w.sentBack(w.act(address("redirect_uri=https://app.example/cb?tenant=a", "state="), "allow"))
	if got.Get("tenant") != "a" || got.Get("code") == "" || got.Has("state") {
		t.Errorf("sent back %v", got)
	}
}

func TestAWrongPasswordSignsNobodyIn(t *testing.T) {
	for _, pair := range [][2]string{{"alice", "Demo"}, {"mallory", "demo"}, {"", ""}} {
		w := newWorld(t)
		rec := w.act(address(), "login", "user", pair[0], "password", pair[1])
		if rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), `role="alert"`) {
			t.Errorf("%v: %d", pair, rec.Code)
		}
		if !strings.Contains(w.browse("GET", address(), nil).Body.String(), "Sign in to Acme") {
			t.Errorf("%v: signed in", pair)
		}
	}
}

func TestAFormFromElsewhereIsRefused(t *testing.T) {
	w := newWorld(t)
	w.signInAs("alice")
	for _, csrf := range []string{"", "guess", newWorld(t).csrfOf("other")} {
		rec := w.browse("POST", address(), url.Values{"csrf": {csrf}, "action": {"allow"}})
		if rec.Code != http.StatusForbidden || rec.Header().Get("Location") != "" {
			t.Errorf("csrf %q: %d", csrf, rec.Code)
		}
	}
}

func TestAConsentPageOfAnotherSignInIsRefused(t *testing.T) {
	w := newWorld(t)
	w.signInAs("alice")
	stale := csrfIn(w.browse("GET", address(), nil).Body.String())
	w.act(address(), "switch")
	w.signInAs("bob")
	if rec := w.browse("POST", address(), url.Values{"csrf": {stale}, "action": {"allow"}}); rec.Code != http.StatusForbidden {
		t.Errorf("alice's page allowed for bob: %d", rec.Code)
	}
}

func TestUsingAnotherAccountLeadsToTheLoginPage(t *testing.T) {
	w := newWorld(t)
	w.signInAs("alice")
	rec := w.act(address(), "switch")
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != address() {
		t.Errorf("%d to %q", rec.Code, rec.Header().Get("Location"))
	}
	if !strings.Contains(w.browse("GET", address(), nil).Body.String(), "Sign in to Acme") {
		t.Error("still signed in")
	}
}

func TestASessionEndsAndThenAllowAsksToSignInAgain(t *testing.T) {
	w := newWorld(t)
	w.signInAs("alice")
	form := url.Values{"csrf": {csrfIn(w.browse("GET", address(), nil).Body.String())}, "action": {"allow"}}
	w.pass(13 * time.Hour)
	if rec := w.browse("POST", address(), form); rec.Header().Get("Location") != address() {
		t.Errorf("went to %q", rec.Header().Get("Location"))
	}
}

func TestSigningInGivesTheBrowserANewCookie(t *testing.T) {
	w := newWorld(t)
	w.cookie = "planted"
	w.signInAs("alice")
	if w.cookie == "planted" {
		t.Fatal("the planted cookie is signed in now")
	}
	w.cookie = "planted"
	if !strings.Contains(w.browse("GET", address(), nil).Body.String(), "Sign in to Acme") {
		t.Error("the planted cookie is signed in too")
	}
}

func TestTheCookieIsForAcmeAlone(t *testing.T) {
	for origin, secure := range map[string]bool{"http://127.0.0.1:9090": false, "https://acme.example": true} {
		w := newWorld(t, func(c *Config) { c.Origin = origin })
		got := w.browse("GET", address(), nil).Result().Cookies()
		if len(got) != 1 || !got[0].HttpOnly || got[0].SameSite != http.SameSiteLaxMode || got[0].Secure != secure {
			t.Errorf("%s: %v", origin, got)
		}
	}
}

func TestEveryPageIsLockedDown(t *testing.T) {
	w := newWorld(t)
	w.signInAs("alice")
	for _, target := range []string{"/", "/nowhere", address(), address("client_id=x")} {
		rec := w.browse("GET", target, nil)
		csp := rec.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy lacks %s: %s", target, want, csp)
			}
		}
		if rec.Header().Get("Cache-Control") != "no-store" || rec.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", target, rec.Header())
		}
		body := rec.Body.String()
		for _, no := range []string{"<script", " style=", "<style", "onclick"} {
			if strings.Contains(body, no) {
				t.Errorf("%s has %s, which the policy forbids", target, no)
			}
		}
	}
	csp := w.browse("GET", address(), nil).Header().Get("Content-Security-Policy")
	if !strings.Contains(csp, "form-action 'self' http://localhost:8080;") {
		t.Errorf("Chromium would stop the way back: %s", csp)
	}
}

func TestThePagesFindTheirStyle(t *testing.T) {
	w := newWorld(t)
	for path, kind := range map[string]string{"/acme.css": "text/css", "/acme.svg": "image/svg+xml"} {
		rec := w.browse("GET", path, nil)
		if rec.Code != http.StatusOK || !strings.HasPrefix(rec.Header().Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Header().Get("Content-Type"))
		}
	}
}

func TestStateFromTheAddressCannotBreakOutOfThePage(t *testing.T) {
	w := newWorld(t)
	page := w.browse("GET", address(`state="><script>alert(1)</script>`), nil).Body.String()
	if strings.Contains(page, "<script") {
		t.Error("the state became markup")
	}
}
