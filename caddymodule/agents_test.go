// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
	"github.com/toolgate/toolgate/tokencache/vault"
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

// streaming has Acme send events without end, and tells when somebody hangs up.
func (w *world) streaming() (ended func(*testing.T)) {
	gone := make(chan struct{}, 10)
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: 1\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		gone <- struct{}{}
	})
	return func(t *testing.T) {
		t.Helper()
		select {
		case <-gone:
		case <-time.After(10 * time.Second): // after twice that, its own call ends it
			t.Fatal("the stream goes on")
		}
	}
}

// hear opens a stream, and leaves it open.
func (w *world) hear(t *testing.T, header ...string) {
	t.Helper()
	stream := w.open("GET", "/acme/extra/events", header...)
	t.Cleanup(func() { stream.Body.Close() })
	if line, err := bufio.NewReader(stream.Body).ReadString('\n'); err != nil || line != "data: 1\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

// lets presses an agent's button on the page of what is connected.
func (p *person) lets(t *testing.T, w *world, agent, deed string) {
	t.Helper()
	mine := w.public() + "/connections"
	form := formOf(t, p.get(mine), mine)
	form.Set("do", deed)
	form.Set("agent", agent)
	if page := p.do("POST", mine, form); !strings.Contains(page, "That assistant does not use this account any more") {
		t.Errorf("%d\n%s", p.status, page)
	}
}

// What users do at one gateway ends what goes on at the others that share its store.
func TestWhatIsTakenBackAtAnotherGatewayEndsHereToo(t *testing.T) {
	for name, change := range map[string]func(*vault.Vault, connection.Connection) error{
		"the right": func(v *vault.Vault, c connection.Connection) error {
			_, err := v.Save(context.Background(), c.Bar("billing-bot", nil))
			return err
		},
		"the connection": func(v *vault.Vault, c connection.Connection) error { return v.Remove(context.Background(), c) },
		"for a while": func(v *vault.Vault, c connection.Connection) error {
			c.Status = connection.Inactive
			_, err := v.Save(context.Background(), c)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			t.Setenv("SEAL", sealKey)
			server := redistest.Start(t)
			ended := w.streaming()
			file := "store file " + w.dir + "/connections.db"
			w.load(strings.Replace(w.caddyfile("", "encryption_key {env.SEAL}\n\t\t"+w.bots(), signedInSite), file, "store redis {\n address "+server.Addr+"\n}", 1))
			w.connectsAs(t, "alice", "X-Toolgate-Key", billingKey)
			w.hear(t, "X-Toolgate-Key", billingKey)

			ring, err := seal.ParseRing(sealKey)
			if err != nil {
				t.Fatal(err)
			}
			s := redisstore.New(redisstore.Config{Addresses: []string{server.Addr}})
			defer s.Close()
			v := vault.New(s, ring)
			conn, err := v.Load(t.Context(), connection.Key{Tenant: "default", User: "alice", Toolkit: "acme"})
			if err != nil {
				t.Fatal(err)
			}
			// What changes nothing about it ends nothing.
			conn.Label = "Work"
			if conn, err = v.Save(t.Context(), conn); err != nil {
				t.Fatal(err)
			}
			if err := change(v, conn); err != nil {
				t.Fatal(err)
			}
			ended(t)
		})
	}
}

func TestASecondAgentIsApprovedFromTheCaddyfileToTheCall(t *testing.T) {
	w := newWorld(t)
	ended := w.streaming()
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
	w.hear(t, "X-Toolgate-Key", billingKey)
	// Also where the configuration that it began under is over.
	w.load(w.caddyfile("", w.bots()+"\n\t\tlink_life 11m", signedInSite))
	p.lets(t, w, "billing-bot", "withdraw")
	ended(t)
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
