// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package gateway carries a request from an agent to a provider and the answer
// back. serve.go tells the whole way; each step is a file of its name.
//
// The package is an http.Handler over http.RoundTrippers. It imports no Caddy, no
// store and no policy engine: it names the few things it needs, over types of the
// words, and whoever builds it brings them.
package gateway

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/toolkit"
)

// Credentials give what a user has granted; *tokencache.Cache does.
type Credentials interface {
	// TokenFor gives a connection whose access token works now. The key's account is as
	// the agent names it: an id, a label, or "" for the user's default. admit is asked
	// whether it may be used, before anything is done for it. Errors are admit's,
	// *connection.Unusable, *connection.Ambiguous or *problem.Problem.
	TokenFor(ctx context.Context, tk *toolkit.Toolkit, key connection.Key, admit func(connection.Connection) error) (connection.Connection, error)
	// Renew gives one with another token than stale's, which was refused.
	Renew(ctx context.Context, tk *toolkit.Toolkit, stale connection.Connection) (connection.Connection, error)
	// Rejected notes that even a renewed token was refused, Worked that one was taken.
	Rejected(ctx context.Context, conn connection.Connection, path string)
	Worked(key connection.Key)
}

// Links make the addresses that users open to connect; *connect.Service does.
type Links interface {
	// Link gives one. An error may be *connection.Ambiguous.
	Link(ctx context.Context, who caller.Caller, tk *toolkit.Toolkit, ask Ask) (Link, error)
}

// Ask is what a link is for beside a user and a toolkit.
type Ask struct {
	Account string // as the agent names it; "" is the default
	// Scopes are all that the grant is to have; nil: those of the configuration.
	Scopes      []string
	CallbackURL string // where the browser goes at the end; "": nowhere
}

// Link is what an agent shows to its user.
type Link struct {
	ConnectURL string
	ExpiresAt  time.Time
	StatusURL  string
	Pending    bool // the user has opened it and is on the way
}

// Audit keeps a record of what leaves. A line that cannot be written stops the request.
type Audit interface {
	Record(audit.Record) error
}

// Sessions read session tokens; *session.Desk does.
type Sessions interface {
	// Open gives the session of a token that is good. Errors are *problem.Problem.
	Open(token string) (*caller.Session, error)
	// Revoked reports whether a session that was good has been taken back.
	Revoked(s *caller.Session) bool
}

// Endpoint is a toolkit and the way to it.
type Endpoint struct {
	Toolkit *toolkit.Toolkit
	// Upstream carries requests to the toolkit's hosts. It must not follow
	// redirects, and must not unpack bodies.
	Upstream http.RoundTripper
	// Redirects fetches downloads from the toolkit's redirect hosts. It must know
	// no client certificate, and refuse private addresses; else it is as Upstream.
	// Nil: agents are told where to go.
	Redirects http.RoundTripper
}

// Config makes a Gateway.
type Config struct {
	// Agents may call. Without any, only calls that surely come from this
	// machine are served.
	Agents []Agent
	// Toolkits by their id.
	Toolkits    map[string]Endpoint
	Credentials Credentials
	Links       Links
	Audit       Audit
	Sessions    Sessions // nil: there are none
	Policy      Policy   // nil: everything is admitted
	// AuthRequiredStatus is the HTTP status of auth_required. Zero: 403.
	AuthRequiredStatus int
	// ManageURL is where users see and change what they have connected; "": nowhere.
	ManageURL string
	// Observe is told of every request when it has ended. Nil: nobody.
	Observe func(Event)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Gateway serves agents. It is safe for concurrent use.
type Gateway struct {
	cfg     Config
	agents  agents
	crowds  map[string]int // how many agents each tenant has
	tunnels tunnels
	// successor is the gateway of the running configuration, where that is known.
	successor atomic.Pointer[Gateway]
}

// New makes a gateway.
func New(cfg Config) *Gateway {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Gateway{cfg: cfg, agents: indexAgents(cfg.Agents), crowds: crowds(cfg.Agents)}
}

// At gives the handler for a mount.
func (g *Gateway) At(m Mount) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, m) })
}

// ServeHTTP serves a mount that selects by request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.serve(w, r, Mount{}) }

// Disconnect ends what goes on over a grant, when it is taken back: upgraded connections,
// and streams of events.
func (g *Gateway) Disconnect(key connection.Key) { g.tunnels.close(key, "") }

// Withdraw is [Gateway.Disconnect] for what one agent does, when that one may not use
// the connection any more.
func (g *Gateway) Withdraw(key connection.Key, agent string) { g.tunnels.close(key, agent) }

// Uses reports whether something goes on over a connection that could be ended.
func (g *Gateway) Uses(key connection.Key) bool { return g.tunnels.uses(key) }

// Recheck ends what goes on over a connection that is not as it was: made anew, switched
// off, limited to reading, or taken back from an agent.
func (g *Gateway) Recheck(now connection.Connection) {
	g.tunnels.closeThat(func(o openTunnel) bool {
		return o.key == now.Key && (o.id != now.ID || now.Status == connection.Inactive || now.Status == connection.Revoked || now.ReadOnly && !o.reads || !now.Admits(o.who.Agent, g.Several(now.Tenant)))
	})
}

// EndRevoked ends what goes on in sessions that were taken back.
func (g *Gateway) EndRevoked() { g.tunnels.closeThat(g.revoked) }

func (g *Gateway) revoked(o openTunnel) bool {
	return o.who.Session != nil && g.cfg.Sessions.Revoked(o.who.Session)
}

// EndDismissed ends what agents do here that they could not begin in now, the gateway of
// another configuration: they are gone, or have lost the right, the user or the toolkit.
// So does what they open from now on, with calls that are under way.
func (g *Gateway) EndDismissed(now *Gateway) {
	g.successor.Store(now) // what is on its way opens later
	g.tunnels.closeThat(now.dismisses)
}

func (g *Gateway) dismisses(o openTunnel) bool {
	if len(g.cfg.Agents) == 0 {
		return o.who.Agent != caller.LocalAgent
	}
	a := g.agentOf(o.who)
	return a == nil || !a.has(caller.Call) || !a.actsFor(o.who.User) || !g.May(o.who, o.toolkit)
}

// Close ends the upgraded connections that are still open, such as WebSockets.
func (g *Gateway) Close() { g.tunnels.closeAll() }
