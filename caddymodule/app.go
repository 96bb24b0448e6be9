// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package caddymodule is the door into Caddy, and the only package that knows it. It
// translates options and requests, and decides nothing.
//
// The comments of the options are the documentation that operators read.
package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"go.uber.org/zap"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/policy"
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(ConnectHandler{})
	caddy.RegisterModule(APIHandler{})
	caddy.RegisterModule(MCPHandler{})
	caddy.RegisterModule(FileStore{})
	caddy.RegisterModule(MemoryStore{})
	caddy.RegisterModule(RedisStore{})
	caddy.RegisterModule(AdminRoutes{})
	caddy.RegisterModule(ListenerWrapper{})
	httpcaddyfile.RegisterGlobalOption("toolgate", parseApp)
	httpcaddyfile.RegisterHandlerDirective("toolgate_connect", parseConnectHandler)
	httpcaddyfile.RegisterHandlerDirective("toolgate_api", parseAPIHandler)
	httpcaddyfile.RegisterHandlerDirective("toolgate_mcp", parseMCPHandler)
	httpcaddyfile.RegisterHandlerDirective("toolgate", parseHandler)
	// Each goes right before reverse_proxy, so the order here is their order:
	// pages first, since on a shared site they answer only their own paths.
	httpcaddyfile.RegisterDirectiveOrder("toolgate_connect", httpcaddyfile.Before, "reverse_proxy")
	httpcaddyfile.RegisterDirectiveOrder("toolgate_api", httpcaddyfile.Before, "reverse_proxy")
	httpcaddyfile.RegisterDirectiveOrder("toolgate_mcp", httpcaddyfile.Before, "reverse_proxy")
	httpcaddyfile.RegisterDirectiveOrder("toolgate", httpcaddyfile.Before, "reverse_proxy")
}

// App holds what all of Toolgate's handlers share: the agents that may call, the
// toolkits that they may reach, and the store where users' connections are kept.
//
// Secrets are written as placeholders, `{env.NAME}` or `{file./path}`. They are
// read once when the configuration is loaded and never appear in `/config/`.
type App struct {
	// The address under which users reach the connect pages, such as
	// `https://connect.example.com`. Links are made from it and never from a
	// request. It has to be https unless it is on this machine.
	// Default: none; toolkits that users connect to are then drafts.
	PublicURL string `json:"public_url,omitempty"`

	// The address under which agents reach toolkits, where that is not public_url: the
	// site with `toolgate`. Sessions are given out with it. Default: public_url.
	AgentsURL string `json:"agents_url,omitempty"`

	// How the person who opens a link is known to be the user whom the link is for.
	// Default: not at all while public_url is on this machine, and then for browsers
	// on this machine only. Anywhere else it has to be chosen.
	VerifyUser *VerifyUser `json:"verify_user,omitempty"`

	// A page without an end at `<public_url>/connect`, where people see what they still
	// have to connect. Default: none. It needs a verify_user other than none.
	ProjectLink *ProjectLink `json:"project_link,omitempty"`

	// Where connections are kept. Default: `file`, in Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=toolgate.stores inline_key=store"`

	// The keys that seal what is stored, as a placeholder: 32 bytes each in
	// base64, one per line, the first for new records and all for reading.
	// Default: with the `file` store, a key file that is made beside it. Other
	// stores need one. Without the key all connections are lost: back it up.
	EncryptionKey string `json:"encryption_key,omitempty"`

	// The file that gets one JSON line for each call before it is made. A call
	// that cannot be recorded is not made. `stderr` and `discard` are possible.
	// The file may be moved away at any time; a new one is begun.
	// Default: `toolgate/audit.log` in Caddy's data directory.
	Audit string `json:"audit,omitempty"`

	// The programs that may call, by name. Default: none, and then only calls
	// that surely come from this machine are served.
	Agents map[string]*Agent `json:"agents,omitempty"`

	// The APIs that agents may reach, by name.
	Toolkits map[string]*Toolkit `json:"toolkits,omitempty"`

	// How many calls may be made, by all agents and to all toolkits. Default: as many as
	// anybody likes.
	Limits []*Limit `json:"limits,omitempty"`

	// The HTTP status of the answer that asks a user to connect. SDKs lose or
	// retry many others. Default: 403.
	AuthRequiredStatus int `json:"auth_required_status,omitempty"`

	// How long a connect link lives. Default: 15 minutes.
	LinkLife caddy.Duration `json:"link_life,omitempty"`

	// Name, logo and colour of the pages. Default: Toolgate's.
	Branding *Branding `json:"branding,omitempty"`

	// The language of the pages for browsers that like none of those that there are:
	// `en` or `de`. Default: `en`. What the browser asks for comes first.
	Language string `json:"language,omitempty"`

	log       *zap.Logger
	publicURL *url.URL
	agentsURL *url.URL // nil without both
	localOnly bool
	opener    StoreOpener
	toolkits  map[string]*endpoint
	policy    *policy.Policy
	auditTo   io.WriteCloser
	pages     atomic.Bool // some site has the connect pages
	active    atomic.Bool // the configuration is the running one, or was
	serial    int64       // later configurations have higher ones

	stop context.CancelFunc // of the background work

	mu     sync.Mutex
	state  *state // nil before Provision, and where nobody uses it any more
	engine *engine
	users  int // of state: this configuration until its Cleanup, and every request
}

var lastSerial atomic.Int64

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "toolgate", New: func() caddy.Module { return new(App) }}
}

// Provision checks the configuration and prepares everything that needs no disk and
// no network: it also runs for `validate`, beside a server that has the store open.
func (a *App) Provision(ctx caddy.Context) error {
	a.log, a.serial = ctx.Logger(), lastSerial.Add(1)
	if err := a.provisionPublicURL(); err != nil {
		return err
	}
	if err := a.provisionAgentsURL(); err != nil {
		return err
	}
	if err := a.checkLanguage(); err != nil {
		return err
	}
	if a.Branding != nil {
		if err := a.Branding.provision(); err != nil {
			return err
		}
	}
	if err := a.provisionStore(ctx); err != nil {
		return err
	}
	if err := a.provisionAgents(); err != nil {
		return err
	}
	a.auditTo = auditWriter(a.Audit)
	if err := a.provisionToolkits(ctx); err != nil {
		return err
	}
	if err := a.provisionPolicy(); err != nil {
		return err
	}
	return a.provisionProject()
}

// Start opens the store and, if there is none, makes the key file. A store that is a
// server of its own may be away: a gateway that does not start because of that would
// not be there when it is back.
func (a *App) Start() error {
	e, err := a.use()
	if err != nil {
		return err
	}
	defer a.leave()
	e.state.update(a.opener)
	if err := a.probe(e); err != nil {
		return fmt.Errorf("toolgate: %w", err)
	}
	if file, ok := a.auditTo.(*audit.File); ok {
		if err := file.Open(); err != nil {
			return fmt.Errorf("toolgate: audit: %w; no call could be recorded, so none would be made", err)
		}
	}
	a.warnOfMissingPages()
	if len(a.Agents) == 0 {
		a.log.Warn("no agent is configured: only calls that surely come from this machine are served")
	}
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	go a.sweep(ctx)
	go a.followSessions(ctx)
	go a.renewUnused(ctx)
	go a.retryRevocations(ctx)
	return nil
}

// warnOfMissingPages tells of links that would lead nowhere.
func (a *App) warnOfMissingPages() {
	if a.publicURL == nil || a.pages.Load() {
		return
	}
	for _, id := range sortedKeys(a.toolkits) {
		if a.toolkits[id].toolkit.Auth.PerUser {
			a.log.Warn("no site has toolgate_connect, so the links that users get lead nowhere", zap.String("public_url", a.publicURL.String()))
			return
		}
	}
}

// Stop ends the background work. Requests in flight go on.
func (a *App) Stop() error {
	if a.stop != nil {
		a.stop()
	}
	return nil
}

// Cleanup gives back what Provision took. It also runs after a Provision that failed.
// Requests that came under this configuration may go on for as long as they like.
func (a *App) Cleanup() error {
	for _, way := range a.toolkits {
		way.retire()
	}
	a.mu.Lock()
	took, e := a.state != nil, a.engine
	a.mu.Unlock()
	over := stopping()
	if over && e != nil {
		// Not in Stop: Caddy stops its apps in random order, and the servers give
		// requests some time. They know nothing of upgraded connections.
		e.gateway.Close()
	}
	if took { // or else Provision did not get that far
		a.leave()
	}
	if over {
		states.closeAll()
	}
	return nil
}

// stopping reports whether this is the end, and not a reload: then another
// configuration would be active by now.
func stopping() bool { return caddy.Exiting() || caddy.ActiveContext().Context == nil }

// sweep removes expired links and flows now and then.
func (a *App) sweep(ctx context.Context) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.sweepOnce()
		}
	}
}

func (a *App) sweepOnce() {
	e, err := a.use()
	if err != nil {
		return // whoever calls is told
	}
	defer a.leave()
	if err := e.state.sweep(); err != nil {
		a.log.Warn("sweeping the store", zap.Error(err))
	}
}

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
