// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// world is a store, a provider, and as many gateways as a test needs. Inside a
// synctest bubble all of it goes by the bubble's clock.
type world struct {
	t        testing.TB
	store    *shaky
	vault    *vault.Vault
	provider *provider
	toolkit  *toolkit.Toolkit

	mu     sync.Mutex
	events []Event
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, store: &shaky{Store: memstore.New(nil)}, provider: &provider{life: time.Hour},
		toolkit: &toolkit.Toolkit{ID: "acme", Name: "Acme", OAuth: &toolkit.OAuth2{TokenURL: "https://id.example/token", ClientID: "client"}},
	}
	w.vault = vault.New(w.store, w.ring())
	return w
}

func (w *world) ring() *seal.Ring {
	w.t.Helper()
	ring, err := seal.ParseRing(strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		w.t.Fatal(err)
	}
	return ring
}

// gateway is one more process over the same store.
func (w *world) gateway() *Source { return w.gatewayWith(Config{}) }

func (w *world) gatewayWith(cfg Config) *Source {
	cfg.Vault = w.vault
	c := New(cfg)
	w.t.Cleanup(c.Close)
	return c.Source(w.provider, w.observe)
}

func (w *world) observe(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// told gives the events of a kind so far.
func (w *world) told(kind EventKind) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.events), func(e Event) bool { return e.Kind != kind })
}

func key(user string) connection.Key {
	return connection.Key{Tenant: "acme", User: user, Toolkit: "acme"}
}

// connect saves what a user has just granted: the provider's first tokens.
func (w *world) connect(k connection.Key) connection.Connection {
	w.t.Helper()
	g := w.provider.grant(k.Tenant + "." + k.User)
	before, err := w.vault.Load(context.Background(), k)
	if err != nil && !errors.Is(err, connection.ErrNotConnected) {
		w.t.Fatal(err)
	}
	id := k.Account // of a further connection
	if id == "" {
		id = "conn_1"
	}
	return w.save(connection.Connection{
		Key: k, ID: id, Version: before.Version, Status: connection.Active, AccessToken: g.AccessToken, RefreshToken: g.RefreshToken,
		IssuedAt: g.IssuedAt, ExpiresAt: g.ExpiresAt, UpdatedAt: g.IssuedAt, Granted: connection.Grantee{Issuer: w.toolkit.OAuth.TokenURL, ClientID: w.toolkit.OAuth.ClientID},
	})
}

func (w *world) save(c connection.Connection) connection.Connection {
	w.t.Helper()
	saved, err := w.vault.Save(context.Background(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return saved
}

// change writes into a record as another program would.
func (w *world) change(k connection.Key, how func(*connection.Connection)) connection.Connection {
	w.t.Helper()
	c := w.stored(k)
	how(&c)
	return w.save(c)
}

func (w *world) stored(k connection.Key) connection.Connection {
	w.t.Helper()
	c, err := w.vault.Load(context.Background(), k)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// token asks and wants one.
func (w *world) token(g *Source, k connection.Key) connection.Connection {
	w.t.Helper()
	c, err := g.Token(context.Background(), w.toolkit, k)
	if err != nil {
		w.t.Fatalf("Token: %v", err)
	}
	return c
}

// refused asks and wants a problem with that code.
func (w *world) refused(g *Source, k connection.Key, code problem.Code) *problem.Problem {
	w.t.Helper()
	_, err := g.Token(context.Background(), w.toolkit, k)
	p, ok := errors.AsType[*problem.Problem](err)
	if !ok || p.Code != code {
		w.t.Fatalf("Token: %v, want %s", err, code)
	}
	return p
}

// unusable asks and wants to be told that the user has to connect.
func (w *world) unusable(g *Source, k connection.Key, status connection.Status, reason connection.Reason) {
	w.t.Helper()
	_, err := g.Token(context.Background(), w.toolkit, k)
	wantUnusable(w.t, err, status, reason)
}

func wantUnusable(t testing.TB, err error, status connection.Status, reason connection.Reason) {
	t.Helper()
	u, ok := errors.AsType[*connection.Unusable](err)
	if !ok || u.Status != status || u.Reason != reason {
		t.Fatalf("%v, want %s: %s", err, status, reason)
	}
}

func (w *world) wantCalls(want int, why string) {
	w.t.Helper()
	if got := w.provider.count(); got != want {
		w.t.Fatalf("%d token requests, want %d: %s", got, want, why)
	}
}

// provider is a strict one: a refresh token works once, and one that comes a
// second time ends the grant.
type provider struct {
	life  time.Duration // of access tokens; zero: not said
	delay time.Duration // of an answer
	keeps bool          // refresh tokens are not replaced
	// before may refuse a request (nothing is spent), after may lose an answer.
	before, after func(call int, refreshToken string) error

	mu     sync.Mutex
	calls  int
	reuses int
	latest map[string]int // by grant; -1: ended
}

func (p *provider) grant(name string) oauth.Grant {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.latest == nil {
		p.latest = map[string]int{}
	}
	// A grant has a name of its own, also where the user connects again.
	for n := 1; ; n++ {
		id := fmt.Sprintf("%s.%d", name, n)
		if _, taken := p.latest[id]; !taken {
			p.latest[id] = 1
			return p.tokens(id, 1)
		}
	}
}

func (p *provider) tokens(grant string, n int) oauth.Grant {
	g := oauth.Grant{AccessToken: secret.New(fmt.Sprintf("%s/access/%d", grant, n)), RefreshToken: secret.New(fmt.Sprintf("%s/refresh/%d", grant, n)), IssuedAt: time.Now()}
	if p.life > 0 {
		g.ExpiresAt = g.IssuedAt.Add(p.life)
	}
	return g
}

// Refresh implements Refresher.
func (p *provider) Refresh(ctx context.Context, _ *toolkit.OAuth2, token secret.String) (oauth.Grant, error) {
	p.mu.Lock()
	p.calls++
	call := p.calls
	p.mu.Unlock()
	if p.before != nil {
		if err := p.before(call, token.Reveal()); err != nil {
			return oauth.Grant{}, err
		}
	}
	if !pause(ctx, p.delay) {
		return oauth.Grant{}, &oauth.Unavailable{}
	}
	g, err := p.rotate(token.Reveal())
	if err == nil && p.after != nil {
		err = p.after(call, token.Reveal())
	}
	return g, err
}

func (p *provider) rotate(token string) (oauth.Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, number, _ := strings.Cut(token, "/refresh/")
	latest, known := p.latest[name]
	switch {
	case !known || latest < 0:
		return oauth.Grant{}, invalidGrant
	case p.keeps:
		p.latest[name]++
		g := p.tokens(name, p.latest[name])
		g.RefreshToken = secret.String{}
		return g, nil
	case number != fmt.Sprint(latest):
		p.reuses++
		p.latest[name] = -1
		return oauth.Grant{}, invalidGrant
	}
	p.latest[name]++
	return p.tokens(name, p.latest[name]), nil
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

var (
	invalidGrant  = &oauth.Refused{Code: "invalid_grant", Status: 400}
	invalidClient = &oauth.Refused{Code: "invalid_client", Status: 401}
	errDown       = fmt.Errorf("%w: it is down", store.ErrUnavailable)
)

// away is a passing fault.
func away(unspent bool, retryAfter time.Duration) error {
	return &awayError{&oauth.Unavailable{Unspent: unspent, RetryAfter: retryAfter}}
}

// awayError gives an Unavailable a text without a cause.
type awayError struct{ *oauth.Unavailable }

func (e *awayError) Error() string { return "away" }
func (e *awayError) Unwrap() error { return e.Unavailable }

// shaky is a store that a test can break.
type shaky struct {
	store.Store

	mu sync.Mutex
	// hook is asked before each call: get, put, list or lease.
	hook func(op, name string) error
	// lost makes a put that is done look as if it were not.
	lost func(name string) error
}

func (s *shaky) breaks(hook func(op, name string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// down fails these operations, of connections, until up.
func (s *shaky) down(ops ...string) {
	s.breaks(func(op, _ string) error {
		if slices.Contains(ops, op) {
			return errDown
		}
		return nil
	})
}

func (s *shaky) up() { s.breaks(nil) }

func (s *shaky) ask(op, name string) error {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op, name)
}

func (s *shaky) Get(ctx context.Context, name string) (store.Record, error) {
	if err := s.ask("get", name); err != nil {
		return store.Record{}, err
	}
	return s.Store.Get(ctx, name)
}

func (s *shaky) Put(ctx context.Context, r store.Record) error {
	if err := s.ask("put", r.Key); err != nil {
		return err
	}
	err := s.Store.Put(ctx, r)
	if err == nil && s.lost != nil {
		err = s.lost(r.Key)
	}
	return err
}

func (s *shaky) List(ctx context.Context, term, after string, limit int) ([]store.Record, error) {
	if err := s.ask("list", term); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, term, after, limit)
}

func (s *shaky) Lease(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	if err := s.ask("lease", name); err != nil {
		return store.Lease{}, err
	}
	return s.Store.Lease(ctx, name, ttl)
}
