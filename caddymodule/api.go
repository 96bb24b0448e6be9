// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/toolgate/toolgate/api"
	"github.com/toolgate/toolgate/toolkit"
)

// APIHandler serves your own app's server: `/v1/sessions`. It answers only its own paths,
// and only on public_url's host; everything else it passes on.
type APIHandler struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (APIHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.toolgate_api", New: func() caddy.Module { return new(APIHandler) }}
}

// Provision finds the app.
func (h *APIHandler) Provision(ctx caddy.Context) (err error) {
	if h.app, err = appOf(ctx); err != nil {
		return err
	}
	if h.app.publicURL == nil {
		return errors.New("toolgate_api needs public_url in the global option toolgate: the address that it is reached under")
	}
	if len(h.app.Agents) == 0 {
		return errors.New("toolgate_api needs an agent with a key: without one, nobody could prove who they are")
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *APIHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	app, e := h.app.engineFor(w, r)
	if e == nil {
		return nil
	}
	defer app.leave()
	if e.api == nil || !e.api.Handles(r) {
		return passOn(w, r, next)
	}
	unlogged(r)
	e.api.ServeHTTP(w, r)
	return nil
}

func (a *App) toolkitList() map[string]*toolkit.Toolkit {
	all := map[string]*toolkit.Toolkit{}
	for id, way := range a.toolkits {
		all[id] = way.toolkit
	}
	return all
}

// logAPI writes a line for each request.
func (a *App) logAPI(e api.Event) {
	level := zapcore.InfoLevel
	if e.Err != nil {
		level = zapcore.WarnLevel
	}
	fields := []zap.Field{zap.String("request_id", e.RequestID), zap.String("what", e.What), zap.String("tenant", e.Caller.Tenant), zap.String("agent", e.Caller.Agent), zap.String("user", e.Caller.User)}
	if e.Code != "" {
		fields = append(fields, zap.String("code", string(e.Code)))
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	a.log.Log(level, "api", fields...)
}

// followEvery is how often it is looked whether another gateway on the store, or a command
// of the operator's, has taken sessions back: one read of one record.
const followEvery = 500 * time.Millisecond

// followSessions ends what goes on in sessions that were taken back elsewhere, and, once
// this configuration is the running one, what its agents could not begin any more.
func (a *App) followSessions(ctx context.Context) {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	dismissed, seen := false, uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		e, err := a.use()
		if err != nil {
			continue // whoever calls is told
		}
		if !dismissed && a.serving() == a {
			e.state.gateways.endDismissed(e.gateway)
			dismissed = true
		}
		a.followOnce(ctx, e)
		// It may be a call that has read what is new.
		if news := e.cache.revoked.News(); news != seen {
			e.state.gateways.endRevoked()
			seen = news
		}
		a.leave()
	}
}

func (a *App) followOnce(ctx context.Context, e *engine) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	if _, err := e.cache.revoked.Refresh(ctx); err != nil {
		a.log.Debug("reading which sessions are revoked", zap.Error(err)) // the store's own lines say that it is away
	}
}

var (
	_ caddy.Provisioner           = (*APIHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*APIHandler)(nil)
)
