// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/toolgate/toolgate/api"
	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/session"
	"github.com/toolgate/toolgate/tokencache"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/toolkit"
)

// engine is a configuration at work. This file is how its parts are joined.
type engine struct {
	gateway *gateway.Gateway
	connect *connect.Service // nil without a public URL
	api     *api.Service     // nil without a public URL
	people  *connect.Service // that, or one without pages
	chats   chats            // MCP endpoints, made when somebody asks for one
	state   *state
	cache   *cache
	ring    *seal.Ring

	credentials *tokencache.Source
	audit       *audit.Writer
}

// use gives the engine, and keeps its store open until leave is called. Caddy waits
// for no request before it cleans up the configuration that the request came under:
// one that is refused with 401 later still has to save the token that it renews.
//
// Caddy starts its apps in random order, so a request may come before Start, and one
// may come after Cleanup: whoever is first builds the engine, and a failure can be
// mended.
func (a *App) use() (*engine, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.engine == nil {
		if err := a.wakeLocked(); err != nil {
			return nil, err
		}
	}
	a.users++
	return a.engine, nil
}

func (a *App) wakeLocked() (err error) {
	if a.state == nil {
		if stopping() {
			return errors.New("toolgate: shutting down")
		}
		if a.state, err = states.take(a.opener); err != nil {
			return fmt.Errorf("toolgate: store: %w", err)
		}
	}
	ring, err := a.ring()
	if err != nil {
		if a.users == 0 {
			a.restLocked()
		}
		return fmt.Errorf("toolgate: encryption_key: %w", err)
	}
	a.engine = a.build(ring)
	return nil
}

// leave ends a use.
func (a *App) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users--
	if a.users == 0 {
		a.restLocked()
	}
}

func (a *App) restLocked() {
	if a.auditTo != nil {
		_ = a.auditTo.Close()
	}
	if a.engine != nil {
		a.state.gateways.leave(a.engine.gateway)
	}
	states.give(a.state)
	a.state, a.engine = nil, nil
}

func (a *App) build(ring *seal.Ring) *engine {
	cache := a.state.cacheFor(ring)
	client := &oauth.Client{Transport: tokenTransport(a.toolkits)}
	record := audit.NewWriter(a.auditTo)
	credentials := cache.tokens.Source(client, a.logToken)
	if shared, ok := a.opener.(SharedStoreOpener); ok {
		credentials.MaxStale = shared.StaleLimit()
	}
	e := &engine{state: a.state, cache: cache, ring: ring, audit: record, credentials: credentials}
	verify := cmp.Or(a.VerifyUser, new(VerifyUser))
	desk := session.NewDesk(ring, cache.revoked, time.Now)
	e.gateway = gateway.New(gateway.Config{
		ManageURL:          a.manageURL(),
		Agents:             a.agentList(),
		Toolkits:           a.gatewayEndpoints(),
		Credentials:        credentials,
		Links:              links{e},
		Sessions:           desk,
		Audit:              record,
		Policy:             a.policy.With(a.state.policy),
		AuthRequiredStatus: a.AuthRequiredStatus,
		Observe:            a.logCall,
	})
	e.state.gateways.join(e.gateway)
	disconnected := func(k connection.Key) {
		cache.tokens.Forget(k)
		e.state.gateways.disconnect(k)
		e.state.news.tell(k)
	}
	if a.publicURL == nil {
		e.people = a.people(cache.vault, record, disconnected)
		return e
	}
	var brand *connect.Branding
	if a.Branding != nil {
		brand = a.Branding.made
	}
	e.connect = connect.New(connect.Config{
		Branding:    brand,
		PublicURL:   a.publicURL,
		Toolkits:    a.connectEndpoints(),
		Vault:       cache.vault,
		Exchanger:   client,
		Revoker:     client,
		Tokens:      credentials,
		Tenants:     a.tenants(),
		Audit:       record,
		Identify:    e.gateway.Identify,
		May:         e.gateway.May,
		MayCallBack: e.gateway.MayCallBack,
		Connected: func(c connection.Connection) {
			cache.tokens.Put(c)
			e.state.news.tell(c.Key)
		},
		Unsaved:   cache.tokens.Unsaved,
		Stopped:   e.state.gateways.disconnect,
		Withdrawn: e.state.gateways.withdraw,
		Agents:    e.gateway,
		Key:       ring.Derive("connect form"),
		Verifier:  verify.verifier,
		SignIn:    verify.signIn,
		Project:   a.project(),
		LocalOnly: a.localOnly,
		Client:    clientIP,
		Language:  a.Language,
		LinkLife:  time.Duration(a.LinkLife),
		Report:    a.logConnect,

		Disconnected: disconnected,
	})
	e.people = e.connect
	e.api = api.New(api.Config{
		PublicURL:   a.publicURL,
		Here:        func(r *http.Request) bool { return connect.SameHost(r, a.publicURL) },
		AgentsURL:   a.agentsURL,
		Toolkits:    a.toolkitList(),
		Minter:      e.gateway.Minter,
		May:         e.gateway.May,
		MayCallBack: e.gateway.MayCallBack,
		Sessions:    desk,
		Revocations: cache.revoked,
		Ended:       e.state.gateways.endRevoked,
		Vault:       cache.vault,
		Audit:       record,
		Report:      a.logAPI,
	})
	return e
}

// manageURL is where users see what they have connected; "" where nobody asks who they are.
func (a *App) manageURL() string {
	if a.publicURL == nil || a.VerifyUser == nil || a.VerifyUser.verifier == nil && a.VerifyUser.signIn == nil {
		return ""
	}
	return connect.PageURL(a.publicURL)
}

// clientIP is the address that Caddy has found out, with regard to trusted_proxies.
func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}

// ring reads the keys, making a key file where that is the default.
func (a *App) ring() (*seal.Ring, error) {
	if a.EncryptionKey != "" {
		text, err := resolved(a.EncryptionKey)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, fmt.Errorf("%s is empty; without the key, stored connections cannot be read", a.EncryptionKey)
		}
		return seal.ParseRing(text)
	}
	path := a.opener.KeyFile()
	if path == "" {
		return a.state.processKey()
	}
	if err := a.keyNotLost(path); err != nil {
		return nil, err
	}
	ring, created, err := seal.LoadOrCreate(path)
	if created {
		a.log.Info("made an encryption key; back it up, connections cannot be read without it", zap.String("file", path))
	}
	return ring, err
}

// keyNotLost refuses to make a new key beside a store that an old one sealed: it
// would look like a fresh start, and every connection in it would be unreadable.
func (a *App) keyNotLost(keyFile string) error {
	if _, err := os.Stat(keyFile); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if info, err := os.Stat(strings.TrimSuffix(keyFile, keySuffix)); err == nil && info.Size() > 0 {
		return fmt.Errorf("the store is there but its key file %s is not; put the key back, or move the store away to begin anew (or make a new key with `toolgate keys generate`, and set aside with `toolgate keys abandon` what the old one sealed)", keyFile)
	}
	return nil
}

// probe opens the store, so that a start fails at once and with a reason. One that is
// a server of its own may be away; then the keys are checked by the first call.
func (a *App) probe(e *engine) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := e.cache.vault.Check(ctx)
	if _, shared := a.opener.(SharedStoreOpener); shared && errors.Is(err, store.ErrUnavailable) {
		a.log.Warn("the store is away; calls that need it get 503 until it is back", zap.Error(err))
		return nil
	}
	return err
}

// links lets the gateway ask the connect service for links.
type links struct{ engine *engine }

// Link implements gateway.Links.
func (l links) Link(ctx context.Context, who caller.Caller, tk *toolkit.Toolkit, ask gateway.Ask) (gateway.Link, error) {
	if l.engine.connect == nil {
		return gateway.Link{}, problem.New(problem.ToolkitDraft, "public_url", "The operator has to configure public_url before users can connect.")
	}
	link, err := l.engine.connect.LinkFor(ctx, who, connect.Ask{Toolkits: []string{tk.ID}, Account: ask.Account, Scopes: ask.Scopes, CallbackURL: ask.CallbackURL})
	return gateway.Link{ConnectURL: link.URL, ExpiresAt: link.ExpiresAt, StatusURL: link.StatusURL, Pending: link.Pending}, err
}

// engineFor gives the engine, which wants leave of the app that comes with it to be
// called, or answers why there is none yet.
func (a *App) engineFor(w http.ResponseWriter, r *http.Request) (*App, *engine) {
	app := a.serving()
	e, err := app.use()
	if err != nil {
		a.log.Error("not ready", zap.Error(err))
		p := problem.New(problem.StorageUnavailable, "start", "The gateway is not ready.")
		p.Step, p.RetryAfter = "start", 5*time.Second
		p.Write(w, r.Header.Get("Accept"), rand.Text())
	}
	return app, e
}

// serving is whose agents, rules and store count. While Caddy starts a configuration,
// its servers may already get calls, and another of its apps may still fail: until
// all have started, the running configuration decides.
func (a *App) serving() *App {
	if a.active.Load() {
		return a
	}
	// Where none runs, or one without Toolgate, there is nobody but us.
	running, err := caddy.ActiveContext().AppIfConfigured("toolgate")
	if err != nil {
		return a
	}
	if other, ok := running.(*App); ok && other.serial < a.serial {
		return other
	}
	a.active.Store(true)
	return a
}
