// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	supportKey = "tgk_support-bot-key-0123456789"
	billingKey = "tgk_billing-bot-key-0123456789"
)

// bots are two agents of one tenant.
func (w *world) bots() string {
	w.t.Helper()
	for name, key := range map[string]string{"support": supportKey, "billing": billingKey} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(key), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return `verify_user caddy_auth {http.auth.user.id}
		agent support-bot {
			key {file.` + w.dir + `/support}
			acts_for any
		}
		agent billing-bot {
			key {file.` + w.dir + `/billing}
			acts_for any
		}`
}

// refusal is the refusal of a call of an agent's.
func (w *world) refusal(t *testing.T, key string) (reason, link string) {
	t.Helper()
	status, body := w.call("GET", "/acme/v1/me", "X-Toolgate-Key", key)
	var r struct {
		Code       string
		ConnectURL string `json:"connect_url"`
		Connection struct{ Reason string }
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil || status != http.StatusForbidden || r.Code != "auth_required" {
		t.Fatalf("instead of auth_required: %d %s", status, body)
	}
	return r.Connection.Reason, r.ConnectURL
}

func TestASecondAgentIsApprovedFromTheCaddyfileToTheCall(t *testing.T) {
	w := newWorld(t)
	events := make(chan struct{})
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: 1\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		close(events)
	})
	w.load(w.caddyfile("", w.bots(), signedInSite))
	w.connectsAs(t, "alice", "X-Toolgate-Key", supportKey)
	w.wantAccount(t, "alice", "/acme/v1/me", "X-Toolgate-Key", supportKey)

	calls := w.acme.Stats()
	reason, link := w.refusal(t, billingKey)
	if now := w.acme.Stats(); reason != "agent_not_approved" || now != calls {
		t.Errorf("%s, and the provider: %+v, then %+v", reason, calls, now)
	}
	status, body := w.call("GET", "/v1/connections/acme", "X-Toolgate-Key", billingKey)
	if status != ok || !strings.Contains(body, `"status":"not_connected","reason":"agent_not_approved"`) || strings.Contains(body, "@acme.example") {
		t.Errorf("its status: %d %s", status, body)
	}
	p := newPerson(t)
	p.name = "alice"
	page := p.get(link)
	if !strings.Contains(page, "Let billing-bot use Acme?") || !strings.Contains(page, "alice@acme.example") {
		t.Fatalf("the page:\n%s", page)
	}
	w.refusal(t, billingKey) // looking at it changes nothing
	if page = p.do("POST", link, formOf(t, page, link)); !strings.Contains(page, "<h1>Allowed</h1>") {
		t.Fatalf("%d\n%s", p.status, page)
	}
	w.wantAccount(t, "alice", "/acme/v1/me", "X-Toolgate-Key", billingKey)

	// What it streams ends when its user takes the right back, and what the other one does goes on.
	stream := w.open("GET", "/acme/extra/events", "X-Toolgate-Key", billingKey)
	defer stream.Body.Close()
	from := bufio.NewReader(stream.Body)
	if line, err := from.ReadString('\n'); err != nil || line != "data: 1\n" {
		t.Fatalf("%q, %v", line, err)
	}
	mine := w.public() + "/connections"
	form := formOf(t, p.get(mine), mine)
	form.Set("do", "withdraw")
	form.Set("agent", "billing-bot")
	if page = p.do("POST", mine, form); !strings.Contains(page, "That assistant does not use this account any more") {
		t.Errorf("%d\n%s", p.status, page)
	}
	select {
	case <-events:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream goes on")
	}
	if reason, _ := w.refusal(t, billingKey); reason != "agent_not_approved" {
		t.Errorf("afterwards: %s", reason)
	}
	w.wantAccount(t, "alice", "/acme/v1/me", "X-Toolgate-Key", supportKey)

	// And so it stays when the configuration is loaded anew.
	w.load(w.caddyfile("", w.bots()+"\n\t\tlink_life 10m", signedInSite))
	if reason, _ := w.refusal(t, billingKey); reason != "agent_not_approved" {
		t.Errorf("after a reload: %s", reason)
	}
}

func TestOneAgentIsNeverAskedFor(t *testing.T) {
	w := newWorld(t)
	both := w.bots()
	one, _, _ := strings.Cut(both, "agent billing-bot")
	w.load(w.caddyfile("", one, signedInSite))
	w.connectsAs(t, "alice", "X-Toolgate-Key", supportKey)
	// The operator gives their agent another name.
	w.load(w.caddyfile("", strings.Replace(one, "support-bot", "helper", 1), signedInSite))
	w.wantAccount(t, "alice", "/acme/v1/me", "X-Toolgate-Key", supportKey)
	p := newPerson(t)
	p.name = "alice"
	if page := p.get(w.public() + "/connections"); strings.Contains(page, "Who may use it") {
		t.Errorf("the page asks:\n%s", page)
	}
	w.load(w.caddyfile("", both, signedInSite))
	w.wantAccount(t, "alice", "/acme/v1/me", "X-Toolgate-Key", supportKey)
	if reason, _ := w.refusal(t, billingKey); reason != "agent_not_approved" {
		t.Errorf("%s", reason)
	}
}

func TestAnOperatorSeesWhichAgentsMayUseAConnection(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	w.connect()
	out := s.succeeds(t, "CONNECTION", "connections", "list")
	for _, text := range []string{"conn_", "default", "alice", "acme", "alice@acme.example", "active", "local"} {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
	for _, narrowed := range [][]string{{"--user", "bob"}, {"--tenant", "other"}, {"--toolkit", "github"}, {"--agent", "stranger"}} {
		if out := s.succeeds(t, "CONNECTION", append([]string{"connections", "list"}, narrowed...)...); strings.Contains(out, "alice") {
			t.Errorf("%v:\n%s", narrowed, out)
		}
	}
	s.succeeds(t, "alice", "connections", "list", "--agent", "local", "--user", "alice", "--toolkit", "acme", "--tenant", "default")
}
