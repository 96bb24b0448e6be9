// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/toolgate/toolgate/gateway"
)

// Handler serves agents: it finds the toolkit and the user of a call, puts the
// user's credential on it and passes it to the provider. It answers every request
// itself, so a `respond` for what else there may be belongs on another site.
type Handler struct {
	// The one toolkit of this site. Default: each call names its own, by the
	// first segment of the path, the header `X-Toolkit`, or the host.
	Toolkit string `json:"toolkit,omitempty"`

	// Hosts by which a call names its toolkit, such as `*.gw.example.com`, where
	// `github.gw.example.com` is for the toolkit `github`.
	Hosts []string `json:"hosts,omitempty"`

	app   *App
	mount gateway.Mount
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.toolgate", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds the app.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	if h.app, err = appOf(ctx); err != nil {
		return err
	}
	if _, known := h.app.toolkits[h.Toolkit]; h.Toolkit != "" && !known {
		return fmt.Errorf("toolgate %s: there is no such toolkit in the global option toolgate", h.Toolkit)
	}
	h.mount = gateway.Mount{Toolkit: h.Toolkit, Hosts: h.Hosts}
	return h.mount.Validate()
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if e := h.app.engineFor(w, r); e != nil {
		e.gateway.At(h.mount).ServeHTTP(w, r)
	}
	return nil
}

// ConnectHandler serves users: the pages where they connect accounts, and for
// agents `GET /v1/connections/{toolkit}`. It answers only its own paths, and only
// on public_url's host; everything else it passes on.
type ConnectHandler struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (ConnectHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.toolgate_connect", New: func() caddy.Module { return new(ConnectHandler) }}
}

// Provision finds the app.
func (h *ConnectHandler) Provision(ctx caddy.Context) (err error) {
	if h.app, err = appOf(ctx); err != nil {
		return err
	}
	if h.app.publicURL == nil {
		return errors.New("toolgate_connect needs public_url in the global option toolgate: the address that users' browsers reach it under")
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *ConnectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	e := h.app.engineFor(w, r)
	if e == nil {
		return nil
	}
	if !e.connect.Handles(r) {
		return next.ServeHTTP(w, r)
	}
	// The address holds a link, or a code and a state: the access log would keep
	// them. The service writes a line of its own.
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	e.connect.ServeHTTP(w, r)
	return nil
}

func appOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.AppIfConfigured("toolgate")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, errors.New("toolgate needs its global option: { toolgate { … } } at the top of the Caddyfile")
	}
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddy.Provisioner           = (*ConnectHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ConnectHandler)(nil)
)
