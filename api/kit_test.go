// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/api"
	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/session"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// world is a service, with everything around it in memory.
type world struct {
	t       *testing.T
	service *api.Service
	desk    *session.Desk
	revoked *session.Revocations
	vault   *watched
	audit   *book
	ended   int // how often it was said that sessions are over
	events  []api.Event
}

// watched is a vault that may be away, and that calls before each saving.
type watched struct {
	*vault.Vault
	mu     sync.Mutex
	away   bool
	saving func(name string)
}

func (v *watched) state() (away bool, saving func(string)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.away, v.saving
}

func (v *watched) Get(ctx context.Context, name string) (vault.Document, error) {
	if away, _ := v.state(); away {
		return vault.Document{}, store.ErrUnavailable
	}
	return v.Vault.Get(ctx, name)
}

func (v *watched) Put(ctx context.Context, d vault.Document) error {
	away, saving := v.state()
	if away {
		return store.ErrUnavailable
	}
	if saving != nil {
		saving(d.Name)
	}
	return v.Vault.Put(ctx, d)
}

func (v *watched) goAway(away bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.away = away
}

// book is an audit log that may be full.
type book struct {
	mu   sync.Mutex
	full bool
	all  []audit.Record
}

func (b *book) Record(r audit.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return errors.New("no space left on device")
	}
	b.all = append(b.all, r)
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ring, err := seal.ParseRing(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, vault: &watched{Vault: vault.New(memstore.New(nil), ring)}, audit: new(book)}
	revoked := session.NewRevocations(w.vault, time.Now)
	w.desk, w.revoked = session.NewDesk(ring, revoked, time.Now), revoked
	var mu sync.Mutex
	w.service = api.New(api.Config{
		PublicURL: address(t, "https://connect.example/base"), AgentsURL: address(t, "https://tools.example"),
		Here:        func(r *http.Request) bool { return r.Host == "connect.example" },
		Toolkits:    map[string]*toolkit.Toolkit{"acme": {ID: "acme", Name: "Acme"}, "weather": {ID: "weather", Name: "Weather"}, "maps": {ID: "maps", Name: "Maps"}},
		Minter:      minter,
		May:         func(who caller.Caller, id string) bool { return id != "maps" && who.Session.May(id) },
		MayCallBack: func(_ caller.Caller, address string) bool { return address == "https://app.example/done" },
		Sessions:    w.desk,
		Revocations: revoked,
		Ended:       func() { mu.Lock(); defer mu.Unlock(); w.ended++ },
		Vault:       w.vault,
		Audit:       w.audit,
		Report:      func(e api.Event) { mu.Lock(); defer mu.Unlock(); w.events = append(w.events, e) },
	})
	return w
}

func address(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// minter knows two agents by their keys. Neither may act for mallory.
func minter(r *http.Request, user string) (caller.Caller, error) {
	who := caller.Caller{Tenant: "default", Agent: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), User: user}
	switch {
	case who.Agent != "bot" && who.Agent != "clerk":
		return caller.Caller{}, problem.New(problem.UnknownAgent, "agent_key", "Nobody.")
	case user == "mallory":
		return who, problem.New(problem.UserMismatch, "acts_for", "Not for her.")
	}
	return who, nil
}

// ask sends a request as the agent bot.
func (w *world) ask(method, path, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, "https://connect.example/base/v1/"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer bot")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if !w.service.Handles(r) {
		w.t.Fatalf("%s %s is not its own", method, path)
	}
	answer := httptest.NewRecorder()
	w.service.ServeHTTP(answer, r)
	return answer
}

type made struct {
	ID, Token, User string
	BaseURL         string `json:"base_url"`
	Manage          bool   `json:"manage_connections"`
	Toolkits        []struct{ ID string }
}

// session makes one.
func (w *world) session(body string, header ...string) (m made) {
	w.t.Helper()
	answer := w.ask("POST", "sessions", body, header...)
	text, _ := io.ReadAll(answer.Body)
	if err := json.Unmarshal(text, &m); err != nil || answer.Code != http.StatusCreated {
		w.t.Fatalf("%d %s", answer.Code, text)
	}
	return m
}

// refused wants a refusal with this status and code, and with no token in it.
func refused(t *testing.T, answer *httptest.ResponseRecorder, status int, code string) string {
	t.Helper()
	body := answer.Body.String()
	if answer.Code != status || !strings.Contains(body, `"code":"`+code+`"`) || strings.Contains(body, session.Prefix) {
		t.Errorf("%d %s, want %d %s", answer.Code, body, status, code)
	}
	return body
}
