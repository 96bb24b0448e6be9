// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// connectsAs goes from a refusal of alice's call to the end, signed in at Acme as user.
func (w *world) connectsAs(t *testing.T, user string, header ...string) {
	t.Helper()
	status, body := w.call("GET", "/acme/v1/me", header...)
	var refusal struct {
		Code       string
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || status != http.StatusForbidden || refusal.Code != "auth_required" {
		t.Fatalf("instead of auth_required: %d %s", status, body)
	}
	p := newPerson(t)
	p.name = "alice"
	page := p.submit(p.get(refusal.ConnectURL), refusal.ConnectURL, "")
	form := formOf(t, page, p.at)
	form.Set("action", "login")
	form.Set("user", user)
	form.Set("password", "demo")
	page = p.do("POST", p.at, form)
	if page = p.submit(page, p.at, "allow"); !strings.Contains(page, "Connected as "+user+"@acme.example") {
		t.Fatalf("at the end:\n%s", page)
	}
}

func (w *world) wantAccount(t *testing.T, want string, path string, header ...string) {
	t.Helper()
	if status, body := w.call("GET", path, header...); status != ok || !strings.Contains(body, `"`+want+`@acme.example"`) {
		t.Errorf("%s %v: %d %s, want %s's", path, header, status, body, want)
	}
}

func TestTwoAccountsFromTheCaddyfileToTheCall(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "verify_user caddy_auth {http.auth.user.id}", signedInSite))
	w.connectsAs(t, "alice")
	w.connectsAs(t, "bob", "X-Account", "home")
	w.wantAccount(t, "alice", "/acme/v1/me")
	w.wantAccount(t, "bob", "/acme/v1/me", "X-Account", "home")
	w.wantAccount(t, "bob", "/acme@home/v1/me")
	w.wantAccount(t, "bob", "/acme/v1/me", "X-Account", "bob@acme.example")
	w.wantAccount(t, "alice", "/acme@alice@acme.example/v1/me")

	p := newPerson(t)
	p.name = "alice"
	mine := w.public() + "/connections"
	press := func(account, deed string) string {
		t.Helper()
		_, behind, found := strings.Cut(p.get(mine), "<dd>"+account)
		if !found {
			t.Fatalf("%s is not on the page", account)
		}
		form := formOf(t, behind, mine)
		form.Set("do", deed)
		return p.do("POST", mine, form)
	}
	press("bob@acme.example", "default")
	w.wantAccount(t, "bob", "/acme/v1/me")
	if page := press("bob@acme.example", "test"); !strings.Contains(page, "It works") {
		t.Errorf("%d\n%s", p.status, page)
	}
	if page := press("bob@acme.example", "refresh"); !strings.Contains(page, "The access was renewed") {
		t.Errorf("%d\n%s", p.status, page)
	}
	w.wantAccount(t, "bob", "/acme/v1/me")
	press("bob@acme.example", "off")
	status, body := w.call("GET", "/acme/v1/me")
	if status != http.StatusForbidden || !strings.Contains(body, `"code":"connection_inactive"`) || !strings.Contains(body, mine) {
		t.Errorf("switched off: %d %s", status, body)
	}
	w.wantAccount(t, "alice", "/acme/v1/me", "X-Account", "alice@acme.example") // this one is not
	press("bob@acme.example", "on")
	w.wantAccount(t, "bob", "/acme/v1/me")
	press("bob@acme.example", "disconnect")
	w.wantAccount(t, "alice", "/acme/v1/me") // the only one that is left
	if status, body := w.call("GET", "/acme/v1/me", "X-Account", "home"); status != http.StatusForbidden || !strings.Contains(body, `"code":"auth_required"`) {
		t.Errorf("what was taken away: %d %s", status, body)
	}
}

func TestAnAgentThatInventsAccountsIsToldToWait(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "verify_user caddy_auth {http.auth.user.id}", signedInSite))
	for i := range 20 {
		if status, body := w.call("GET", "/acme/v1/me", "X-Account", fmt.Sprint("made-up-", i)); status != http.StatusForbidden || !strings.Contains(body, "auth_required") {
			t.Fatalf("%d: %d %s", i, status, body)
		}
	}
	res := w.open("GET", "/acme/v1/me", "X-Account", "one-more")
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusTooManyRequests || !strings.Contains(string(body), `"code":"too_many_links"`) || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s, %v", res.StatusCode, res.Header, body, err)
	}
	w.connectsAs(t, "alice", "X-Account", "made-up-7") // those that were given are good
	w.wantAccount(t, "alice", "/acme/v1/me")
}
