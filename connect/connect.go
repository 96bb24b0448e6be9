// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package connect is where people give and take back access: links, pages and the
// OAuth flow in their browser.
//
// What it defends against: a link that is forwarded or previewed, a flow that one
// person starts and another finishes, a callback meant for another toolkit or
// provider, and a page that is driven from another site.
package connect

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// Vault keeps links, flows and connections; *vault.Vault is one.
type Vault interface {
	Get(ctx context.Context, name string) (vault.Document, error)
	Put(ctx context.Context, d vault.Document) error
	Delete(ctx context.Context, name string, version uint64) error
	Load(ctx context.Context, key connection.Key) (connection.Connection, error)
	Save(ctx context.Context, c connection.Connection) (connection.Connection, error)
	Remove(ctx context.Context, c connection.Connection) error
	GrantShared(ctx context.Context, c connection.Connection) (bool, error)
	OfUser(ctx context.Context, tenant, user string) ([]connection.Connection, error)
	Accounts(ctx context.Context, key connection.Key) (connection.Accounts, error)
	SetDefault(ctx context.Context, key connection.Key) (first connection.Connection, err error)
	KeepDefault(ctx context.Context, key connection.Key, now connection.Accounts) error
	ForgetDefault(ctx context.Context, key connection.Key) error
	EraseUser(ctx context.Context, tenant, user string) (removed int, err error)
	OfTerm(ctx context.Context, term, after string, limit int) (found []vault.Document, next string, err error)
}

// Exchanger turns a code into tokens; *oauth.Client is one.
type Exchanger interface {
	Exchange(ctx context.Context, o *toolkit.OAuth2, code, verifier, redirectURI string) (oauth.Grant, error)
}

// Tokens give a connection's token as a call would get it, and a newer one on demand;
// *tokencache.Source does. Errors are *connection.Unusable or *problem.Problem.
type Tokens interface {
	Token(ctx context.Context, tk *toolkit.Toolkit, key connection.Key) (connection.Connection, error)
	Refresh(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (connection.Connection, error)
}

// Endpoint is a toolkit and the way to it, for the call that names the account.
type Endpoint struct {
	Toolkit  *toolkit.Toolkit
	Upstream http.RoundTripper
}

// Config makes a Service.
type Config struct {
	// PublicURL is where users reach the pages. Links are made from it alone,
	// never from a request, and the pages answer only on its host.
	PublicURL *url.URL
	Toolkits  map[string]Endpoint
	Vault     Vault
	Exchanger Exchanger
	Revoker   Revoker
	Tokens    Tokens
	// Tenants are those that the agents here belong to.
	Tenants []string
	Audit   interface{ Record(audit.Record) error }
	// Identify tells which agent asks for the status of a connection.
	Identify func(*http.Request) (caller.Caller, error)
	// May reports whether the agent may use that toolkit, and so ask how its
	// connection stands. Nil: every agent every toolkit.
	May func(who caller.Caller, toolkitID string) bool
	// MayCallBack reports whether an agent may have users sent to an address after
	// connecting. Nil: no agent to any.
	MayCallBack func(who caller.Caller, address string) bool
	// Connected is told of a connection that was saved, and once more when it
	// got its label. Nil: nobody.
	Connected func(connection.Connection)
	// Disconnected is told of a connection that was removed. Nil: nobody.
	Disconnected func(connection.Key)
	// Stopped is told of a connection that was switched off, after Connected: what goes
	// on over it ends. Nil: nobody.
	Stopped func(connection.Key)
	// Agents are those that are configured. Nil: there is one, and nobody is asked.
	Agents Agents
	// Withdrawn is told of an agent that may not use a connection any more, after
	// Connected: what it does over it ends. Nil: nobody.
	Withdrawn func(key connection.Key, agent string)
	// Unsaved reports whether a connection's newest token is held in memory because it
	// could not be saved. Nil: none is.
	Unsaved func(connection.Key) bool
	// Key signs form tokens: 32 random bytes that outlive the process.
	Key []byte
	// Verifier or SignIn tells who sits at a browser; at most one of them. Without
	// either nobody asks, and whoever opens a link is taken for its user.
	Verifier Verifier
	SignIn   SignIn
	// Project is the link without an end. Nil, or without a Verifier or SignIn: there is
	// none.
	Project *Project
	// LocalOnly: the pages serve browsers on this machine alone. It is how they
	// may be used without a way to verify the user.
	LocalOnly bool
	// Client gives the address that a request comes from, where a proxy in front is
	// known to say so. Nil: the peer's.
	Client func(*http.Request) string
	// Branding makes the pages the operator's own, once it was prepared. Nil: they are
	// plain.
	Branding *Branding
	// Language is that of pages for browsers that like none of [Languages]. "": English.
	Language string
	// LinkLife is how long a link lives. Zero: 15 minutes.
	LinkLife time.Duration
	// Report is told of what went wrong with a flow, for the operator's log;
	// it gets no secret. Nil: nobody.
	Report func(Event)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Event is one thing that happened to a flow.
type Event struct {
	// started, connected, scopes_missing, denied, failed, cancelled, refused, trouble,
	// disconnected, disconnected_here, disconnected_pending, removed, revocation_pending, default_chosen,
	// agent_approved, agent_allowed, agent_withdrawn, renamed, switched_off, switched_on, read_only, read_write, works, works_not, works_unknown, renewed, renewed_not
	What      string
	Tenant    string
	User      string
	Agent     string
	Toolkit   string
	RequestID string
	Reason    string
	Err       error
}

// Service makes links and serves the pages behind them. It is safe for concurrent use.
type Service struct {
	cfg    Config
	links  Links
	prefix string // of the paths, from PublicURL, cleaned as in the links
	trips  bound  // to a sign-in
}

// New makes a service. It touches neither store nor network.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.LinkLife <= 0 {
		cfg.LinkLife = 15 * time.Minute
	}
	if cfg.Report == nil {
		cfg.Report = func(Event) {}
	}
	if cfg.Connected == nil {
		cfg.Connected = func(connection.Connection) {}
	}
	if cfg.Disconnected == nil {
		cfg.Disconnected = func(connection.Key) {}
	}
	if cfg.Stopped == nil {
		cfg.Stopped = func(connection.Key) {}
	}
	if cfg.Withdrawn == nil {
		cfg.Withdrawn = func(connection.Key, string) {}
	}
	if cfg.Agents == nil {
		cfg.Agents = oneAgent{}
	}
	if cfg.Language == "" {
		cfg.Language = Languages()[0]
	}
	if cfg.MayCallBack == nil {
		cfg.MayCallBack = func(caller.Caller, string) bool { return false }
	}
	if cfg.May == nil {
		cfg.May = func(caller.Caller, string) bool { return true }
	}
	links := Links{Vault: cfg.Vault, Audit: cfg.Audit, Now: cfg.Now}
	return &Service{cfg: cfg, links: links, prefix: strings.TrimRight(cfg.PublicURL.JoinPath("/").Path, "/")}
}

// RedirectURI is the address to register with the provider of a toolkit. Each
// toolkit has its own: a code that one provider sends can then never be taken for
// another's (cross-toolkit account takeover, draft-ietf-oauth-security-topics-update).
func RedirectURI(public *url.URL, toolkitID string) string {
	return public.JoinPath("callback", toolkitID).String()
}

func (s *Service) linkURL(id string) string { return s.cfg.PublicURL.JoinPath("connect", id).String() }

func (s *Service) statusURL(toolkitID string, ask Ask) string {
	u, query := s.cfg.PublicURL.JoinPath("v1", "connections", toolkitID), url.Values{}
	if ask.Account != "" {
		query.Set("account", ask.Account)
	}
	if len(ask.Scopes) > 0 {
		query.Set("scope", joined(ask.Scopes))
	}
	u.RawQuery = query.Encode()
	return u.String()
}
