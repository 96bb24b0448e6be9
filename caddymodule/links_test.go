// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestAnOperatorEndsLinksWhileTheGatewayRuns(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	link := w.connectURL()
	w.wantCall(t, "bob", http.StatusForbidden, "auth_required")
	out := s.succeeds(t, "alice", "links", "list")
	for _, text := range []string{"LINK", "default", "local", "acme", "waiting", "bob"} {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
	if strings.Contains(out, link[strings.LastIndex(link, "/")+1:]) || strings.Contains(out, "c_") {
		t.Errorf("it shows the address of a link:\n%s", out)
	}

	s.fails(t, "say which", "links", "revoke")
	s.fails(t, "either name links", "links", "revoke", "--user", "alice", "0123456789ab")
	s.fails(t, "there is no link 0123456789ab", "links", "revoke", "0123456789ab")
	s.fails(t, "too short", "links", "revoke", "0")
	s.succeeds(t, "0 links ended", "links", "revoke", "--user", "carol")
	s.succeeds(t, "1 link ended", "links", "revoke", "--user", "alice")
	p := newPerson(t)
	if page := p.get(link); p.status != http.StatusGone || !strings.Contains(page, "This link was called off") {
		t.Errorf("%d\n%s", p.status, page)
	}
	if out := s.succeeds(t, "bob", "links", "list"); strings.Contains(out, "alice") {
		t.Errorf("it is listed still:\n%s", out)
	}
	s.succeeds(t, "cancelled", "links", "list", "--all", "--user", "alice")

	short := strings.Fields(s.succeeds(t, "bob", "links", "list", "--agent", "local"))[7]
	s.succeeds(t, "1 link ended", "links", "revoke", short)
	s.succeeds(t, "0 links ended", "links", "revoke", "--all")
	if fresh := w.connectURL(); fresh == link {
		t.Error("the agent gets the link that was ended")
	}
	w.connect()
}

func TestAnOperatorEndsLinksWhereNoGatewayRuns(t *testing.T) {
	w, s := stopped(t)
	w.load(w.caddyfile("", "", ""))
	w.wantCall(t, "bob", http.StatusForbidden, "auth_required")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	s.succeeds(t, "waiting", "links", "list")
	s.succeeds(t, "1 link ended", "links", "revoke", "--all")
	s.succeeds(t, "cancelled", "links", "list", "--all")
}

// They stand apart in the store, where gateways of the version before do not find them.
func TestLinksForAnAccountAreListedAndEndedWithTheOthers(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	w.connect()
	for _, account := range []string{"home", "club"} {
		if status, body := w.call("GET", "/acme/v1/me", "X-Account", account); status != http.StatusForbidden || !strings.Contains(body, "/connect/ca_") {
			t.Fatalf("%d %s", status, body)
		}
	}
	w.wantCall(t, "bob", http.StatusForbidden, "auth_required")
	out := s.succeeds(t, "bob", "links", "list")
	if strings.Count(out, "waiting") != 3 || strings.Count(out, "alice") != 2 {
		t.Errorf("listed:\n%s", out)
	}
	short := strings.Fields(s.succeeds(t, "alice", "links", "list", "--user", "alice"))[7]
	s.succeeds(t, "1 link ended", "links", "revoke", short)
	s.succeeds(t, "2 links ended", "links", "revoke", "--all")
	w.wantCall(t, "alice", ok, "")
}
