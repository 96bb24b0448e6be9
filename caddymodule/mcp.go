// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/chat"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
)

// MCPHandler serves agents that speak MCP, the Model Context Protocol: tools by which a chat
// finds out what its user has connected, gets links, waits for them and, where that is
// allowed, calls toolkits. It answers only its own path, and only on public_url's host;
// everything else it passes on.
type MCPHandler struct {
	// Where the endpoint is, below public_url. Default: `/mcp`.
	Path string `json:"path,omitempty"`

	// What stands before the names of the tools, such as `acme_`, for clients that have
	// other tools of these names. Default: nothing.
	ToolPrefix string `json:"tool_prefix,omitempty"`

	// Whether there is a tool that takes a user's connection away. The model decides when
	// it is called. Default: no.
	Disconnect bool `json:"disconnect,omitempty"`

	// Whether there is a tool that calls any address of the toolkits that the agent may use,
	// for agents that have no HTTP of their own. Default: no.
	HTTPRequest bool `json:"http_request,omitempty"`

	app *App
}

// CaddyModule returns the Caddy module information.
func (MCPHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.toolgate_mcp", New: func() caddy.Module { return new(MCPHandler) }}
}

// Provision finds the app.
func (h *MCPHandler) Provision(ctx caddy.Context) (err error) {
	if h.app, err = appOf(ctx); err != nil {
		return err
	}
	if h.app.publicURL == nil {
		return errors.New("toolgate_mcp needs public_url in the global option toolgate: the address that it is reached under")
	}
	if err := h.check(); err != nil {
		return err
	}
	if id, _, _ := strings.Cut(h.path()[1:], "/"); h.app.toolkits[id] != nil {
		return fmt.Errorf("toolgate_mcp: path %q: calls of the toolkit %s begin so; another path, please", h.path(), id)
	}
	return nil
}

func (h *MCPHandler) path() string { return cmp.Or(h.Path, "/mcp") }

var (
	mcpPath    = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`)
	toolPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// otherPaths are the first segments of the other handlers' paths.
var otherPaths = []string{"connect", "callback", "connections", "signin", "v1"}

func (h *MCPHandler) check() error {
	first, _, _ := strings.Cut(strings.TrimPrefix(h.Path, "/"), "/")
	switch {
	case h.Path != "" && !mcpPath.MatchString(h.Path):
		return fmt.Errorf("toolgate_mcp: path %q: a path such as /mcp, please, of letters, digits and . _ -, without a slash at its end", h.Path)
	case slices.Contains(otherPaths, first):
		return fmt.Errorf("toolgate_mcp: path %q: /%s is where users' pages and the API are; another one, please", h.Path, first)
	case h.ToolPrefix != "" && !toolPrefix.MatchString(h.ToolPrefix):
		return fmt.Errorf("toolgate_mcp: tool_prefix %q: 1 to 64 letters, digits, _ and -, please", h.ToolPrefix)
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *MCPHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	app, e := h.app.engineFor(w, r)
	if e == nil {
		return nil
	}
	defer app.leave()
	service := app.chat(e, h)
	if service == nil || !service.Handles(r) { // the running configuration may have no public_url
		return passOn(w, r, next)
	}
	service.ServeHTTP(w, r)
	return nil
}

// chats are an engine's MCP endpoints, by their options: sites may have different ones.
type chats struct {
	mu  sync.Mutex
	all map[mcpOptions]*chat.Service
}

type mcpOptions struct {
	path, prefix             string
	disconnect, httpRequests bool
}

func (a *App) chat(e *engine, h *MCPHandler) *chat.Service {
	if e.connect == nil {
		return nil
	}
	o := mcpOptions{h.path(), h.ToolPrefix, h.Disconnect, h.HTTPRequest}
	e.chats.mu.Lock()
	defer e.chats.mu.Unlock()
	if e.chats.all == nil {
		e.chats.all = map[mcpOptions]*chat.Service{}
	}
	if e.chats.all[o] == nil {
		e.chats.all[o] = a.newChat(e, o)
	}
	return e.chats.all[o]
}

func (a *App) newChat(e *engine, o mcpOptions) *chat.Service {
	cfg := chat.Config{
		PublicURL: a.publicURL, Path: o.path, ToolPrefix: o.prefix, Disconnect: o.disconnect,
		Toolkits: a.toolkitList(), Agents: e.gateway, Connections: chatConnections{e.connect}, Changes: &e.state.news,
		Seal: e.ring, ManageURL: a.manageURL(), Report: a.logChat,
	}
	if o.httpRequests {
		here := a.agentsURL.String()
		cfg.Calls = &chat.Calls{URL: here, To: func(id string) http.Handler { return e.gateway.At(gateway.Mount{Toolkit: id, URL: here}) }}
	}
	return chat.New(cfg)
}

// chatConnections lets the endpoint ask the connect service.
type chatConnections struct{ service *connect.Service }

// Standing implements chat.Connections.
func (c chatConnections) Standing(ctx context.Context, who caller.Caller, toolkitID, account string) (chat.Standing, error) {
	s, err := c.service.StandingOf(ctx, who, toolkitID, account)
	st := chat.Standing{Toolkit: s.Toolkit, Status: s.Status, Reason: s.Reason, ID: s.ID, Account: s.Label, Others: s.Others}
	if st.Account == "" {
		st.Account = s.Account
	}
	if s.UpdatedAt != nil {
		st.UpdatedAt = *s.UpdatedAt
	}
	return st, err
}

// Link implements chat.Connections.
func (c chatConnections) Link(ctx context.Context, who caller.Caller, ask chat.Ask) (chat.Link, error) {
	link, err := c.service.LinkFor(ctx, who, connect.Ask{Toolkits: ask.Toolkits, Account: ask.Account, CallbackURL: ask.CallbackURL})
	if _, several := errors.AsType[*connection.Ambiguous](err); several {
		err = problem.New(problem.SeveralAccounts, "account", "This user has several accounts by that name. Name one by its id.")
	}
	return chat.Link{URL: link.URL, ExpiresAt: link.ExpiresAt}, err
}

// Disconnect implements chat.Connections.
func (c chatConnections) Disconnect(ctx context.Context, requestID string, who caller.Caller, toolkitID, account string) (string, error) {
	return c.service.DisconnectFor(ctx, requestID, who, toolkitID, account)
}

// logChat writes a line for each call of a tool.
func (a *App) logChat(e chat.Event) {
	level, message := zapcore.InfoLevel, "mcp"
	if e.Err != nil {
		level = zapcore.WarnLevel
	}
	fields := []zap.Field{
		zap.String("request_id", e.RequestID), zap.String("tenant", e.Caller.Tenant), zap.String("agent", e.Caller.Agent), zap.String("user", e.Caller.User),
		zap.String("tool", e.Tool), zap.String("toolkit", e.Toolkit), zap.String("result", e.Result), zap.Duration("took", e.Took),
	}
	if e.Code != "" {
		fields = append(fields, zap.String("code", string(e.Code)))
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	a.log.Log(level, message, fields...)
}

// parseMCPHandler reads the directive:
//
//	toolgate_mcp [<matcher>] {
//		path         <path>
//		tool_prefix  <text>
//		disconnect   on | off
//		http_request on | off
//	}
func parseMCPHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if h.NextArg() {
		return nil, h.Err("toolgate_mcp takes a block, or nothing; where it is reached is its option path")
	}
	handler := new(MCPHandler)
	err := parseBlock(h.Dispenser, "toolgate_mcp", options{
		"path":         {"path <path>, such as path /mcp", checked(text(&handler.Path), &handler.Path, handler.check)},
		"tool_prefix":  {"tool_prefix <text>, such as tool_prefix acme_", checked(text(&handler.ToolPrefix), &handler.ToolPrefix, handler.check)},
		"disconnect":   {"disconnect on or disconnect off", whether(&handler.Disconnect)},
		"http_request": {"http_request on or http_request off", whether(&handler.HTTPRequest)},
	})
	return handler, err
}

var (
	_ caddy.Provisioner           = (*MCPHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*MCPHandler)(nil)
)
