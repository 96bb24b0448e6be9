// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/demo"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	public  = "https://connect.example.com"
	acmeURL = "https://acme.example"
)

var (
	alice    = caller.Caller{Tenant: "acme-inc", Agent: "support-bot", User: "user-1"}
	aliceKey = connection.Key{Tenant: "acme-inc", User: "user-1", Toolkit: "acme"}
)

// world is everything around the handler: a store, Acme as the provider, a clock, and
// an internet of two hosts. Nothing in it leaves the process.
type world struct {
	t       testing.TB
	clock   *clock
	store   *spyStore
	vault   *vault.Vault
	acme    *demo.Provider
	tenants map[string]*demo.Provider // further providers, by their host
	cfg     connect.Config
	service *connect.Service
	audit   *auditLog

	mu     sync.Mutex
	events []connect.Event
	told   []connection.Connection // through Connected
	gone   []connection.Key        // through Disconnected
	away   bool                    // Acme
	wire   []string                // what token requests and their answers held
}

func newWorld(t testing.TB, changes ...func(*connect.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: newClock(), audit: &auditLog{}}
	w.store = newSpyStore(w.clock.now)
	ring, err := seal.ParseRing(strings.Repeat("0123456789abcdef", seal.KeySize/8))
	if err != nil {
		t.Fatal(err)
	}
	w.vault = vault.New(w.store, ring)
	w.cfg = connect.Config{
		PublicURL:    mustParse(t, public),
		Toolkits:     map[string]connect.Endpoint{"acme": {Toolkit: acmeToolkit(t, "acme"), Upstream: w}, "other": {Toolkit: otherToolkit(t), Upstream: w}},
		Vault:        w.vault,
		Exchanger:    &oauth.Client{Transport: w, Now: w.clock.now},
		Revoker:      &oauth.Client{Transport: w, Now: w.clock.now},
		Tenants:      []string{alice.Tenant, "other-inc"},
		Disconnected: func(k connection.Key) { w.gone = append(w.gone, k) },
		Audit:        w.audit,
		Identify:     identify,
		Connected:    w.connected,
		Key:          ring.Derive("connect form"),
		Report:       w.report,
		Now:          w.clock.now,
	}
	for _, change := range changes {
		change(&w.cfg)
	}
	w.acme, err = demo.New(demo.Config{
		Origin: acmeURL, ClientID: "toolgate", ClientSecret: "acme-client-secret", AccessTTL: time.Hour, Now: w.clock.now,
		RedirectURIs: []string{connect.RedirectURI(w.cfg.PublicURL, "acme"), connect.RedirectURI(w.cfg.PublicURL, "second")},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.service = connect.New(w.cfg)
	return w
}

// reload is what a new configuration does: another service over the same store.
func (w *world) reload(change func(*connect.Config)) {
	change(&w.cfg)
	w.service = connect.New(w.cfg)
}

func acmeToolkit(t testing.TB, id string) *toolkit.Toolkit {
	return &toolkit.Toolkit{
		ID: id, Name: "Acme", BaseURL: mustParse(t, acmeURL), Headers: map[string]string{"X-Api-Version": "7"},
		Auth:     toolkit.Auth{Kind: toolkit.OAuth, PerUser: true, Header: "Authorization", Prefix: "Bearer "},
		Identity: &toolkit.Identity{Path: "/v1/me", Field: "email"},
		OAuth: &toolkit.OAuth2{
			Issuer: acmeURL, AuthorizeURL: acmeURL + "/authorize", TokenURL: acmeURL + "/token", AuthStyle: toolkit.StyleBasic,
			RevokeURL: acmeURL + "/revoke",
			ClientID:  "toolgate", ClientSecret: secret.New("acme-client-secret"), Scopes: []string{"read", "offline_access"},
		},
	}
}

// otherToolkit is for tests that never get as far as its provider.
func otherToolkit(t testing.TB) *toolkit.Toolkit {
	tk := acmeToolkit(t, "other")
	o := *tk.OAuth
	o.Issuer, o.AuthorizeURL, o.ClientID = "", "https://other.example/authorize", "toolgate-at-other"
	tk.Name, tk.OAuth = "Other", &o
	return tk
}

// identify believes the headers: proving agents is the gateway's work.
func identify(r *http.Request) (caller.Caller, error) {
	return caller.Caller{Tenant: alice.Tenant, Agent: alice.Agent, User: r.Header.Get("X-User-Id")}, nil
}

// RoundTrip is the internet.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	switch r.URL.Host {
	case w.cfg.PublicURL.Host:
		return w.serve(arrived(r)), nil
	case "acme.example":
		if w.away {
			return nil, errors.New("connection refused")
		}
		return w.toAcme(r), nil
	}
	if p := w.tenants[r.URL.Host]; p != nil && !w.away {
		return w.to(p, r), nil
	}
	return nil, errors.New("no such host: " + r.URL.Host)
}

func (w *world) toAcme(r *http.Request) *http.Response { return w.to(w.acme, r) }

func (w *world) to(provider http.Handler, r *http.Request) *http.Response {
	in := arrived(r)
	var sent bytes.Buffer
	in.Body = io.NopCloser(io.TeeReader(in.Body, &sent))
	rec := httptest.NewRecorder()
	provider.ServeHTTP(rec, in)
	if r.URL.Path == "/token" {
		form, _ := url.ParseQuery(sent.String())
		w.note(form.Get("code"), form.Get("code_verifier"))
		var answer map[string]any
		_ = json.Unmarshal(rec.Body.Bytes(), &answer)
		for _, name := range []string{"access_token", "refresh_token"} {
			if token, ok := answer[name].(string); ok {
				w.note(token)
			}
		}
	}
	return rec.Result()
}

// serve gives a request to the handler, as a site would.
func (w *world) serve(r *http.Request) *http.Response {
	rec := httptest.NewRecorder()
	if !w.service.Handles(r) {
		rec.WriteHeader(http.StatusMisdirectedRequest)
		return rec.Result()
	}
	w.service.ServeHTTP(rec, r)
	return rec.Result()
}

// arrived is a client's request as the server sees it.
func arrived(r *http.Request) *http.Request {
	in := r.Clone(r.Context())
	in.Host, in.RequestURI, in.RemoteAddr = r.URL.Host, r.URL.RequestURI(), "203.0.113.9:4711"
	if u, err := url.ParseRequestURI(in.RequestURI); err == nil {
		in.URL = u
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	return in
}

func (w *world) link(who caller.Caller) string {
	w.t.Helper()
	l, err := w.service.Link(w.t.Context(), who, w.cfg.Toolkits["acme"].Toolkit)
	if err != nil {
		w.t.Fatal(err)
	}
	return l.URL
}

// connection is what is stored for alice.
func (w *world) connection() connection.Connection {
	w.t.Helper()
	conn, err := w.vault.Load(w.t.Context(), aliceKey)
	if err != nil {
		w.t.Fatalf("loading the connection: %v", err)
	}
	return conn
}

func (w *world) notConnected() {
	w.t.Helper()
	if _, err := w.vault.Load(w.t.Context(), aliceKey); !errors.Is(err, connection.ErrNotConnected) {
		w.t.Errorf("there is a connection (%v)", err)
	}
}

func (w *world) report(e connect.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *world) connected(c connection.Connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, c)
}

func (w *world) note(secrets ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wire = append(w.wire, secrets...)
}

// reported lists the events in short, such as "refused other_browser".
func (w *world) reported() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		all = append(all, strings.TrimSpace(e.What+" "+e.Reason))
	}
	return all
}

func (w *world) wantReported(want string) {
	w.t.Helper()
	if all := w.reported(); !slices.Contains(all, want) {
		w.t.Errorf("reported %q, want %q among it", all, want)
	}
}

// auditLog keeps lines, or refuses those that fail says.
type auditLog struct {
	mu    sync.Mutex
	lines []audit.Record
	fail  func(audit.Event) error
}

func (a *auditLog) Record(r audit.Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		if err := a.fail(r.Event); err != nil {
			return err
		}
	}
	a.lines = append(a.lines, r)
	return nil
}

func (a *auditLog) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, l := range a.lines {
		all = append(all, strings.TrimSpace(string(l.Event)+" "+l.Reason))
	}
	return strings.Join(all, ", ")
}

// exchanger is a token endpoint by hand.
type exchanger func(ctx context.Context, code, verifier string) (oauth.Grant, error)

func (f exchanger) Exchange(ctx context.Context, _ *toolkit.OAuth2, code, verifier, _ string) (oauth.Grant, error) {
	return f(ctx, code, verifier)
}

// upstream is a provider's API by hand.
type upstream func(*http.Request) (*http.Response, error)

func (f upstream) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func mustParse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
