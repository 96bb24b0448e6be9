// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
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

	// Where agents reach this site, such as `https://tools.example.com`, for the
	// addresses in answers, such as the next page's, that are turned into ours.
	// Default: as the request says; needed behind a proxy that ends TLS.
	URL string `json:"url,omitempty"`

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
	h.mount = gateway.Mount{Toolkit: h.Toolkit, Hosts: h.Hosts, URL: h.URL}
	return h.mount.Validate()
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if app, e := h.app.engineFor(w, r); e != nil {
		defer app.leave()
		mount := h.mount
		mount.Prefix = cutPrefix(r)
		unlogged(r)
		e.gateway.At(mount).ServeHTTP(w, r)
	}
	return nil
}

// unlogged keeps a session's token out of the access log: some SDKs put it into the address,
// and a developer may take it for the session's id. Our own line of the call is written.
func unlogged(r *http.Request) {
	if gateway.HoldsToken(r.RequestURI) {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
}

// cutPrefix is what handle_path or uri strip_prefix has taken off the path.
func cutPrefix(r *http.Request) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return ""
	}
	prefix, ok := strings.CutSuffix(original.URL.EscapedPath(), r.URL.EscapedPath())
	if !ok {
		return "" // rewritten in another way; the option url says where agents are
	}
	return strings.TrimSuffix(prefix, "/")
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
	h.app.pages.Store(true)
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *ConnectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	app, e := h.app.engineFor(w, r)
	if e == nil {
		return nil
	}
	defer app.leave()
	if e.connect == nil || !e.connect.Handles(r) { // the running configuration may have no pages

		return passOn(w, r, next)
	}
	// The address holds a link, or a code and a state: the access log would keep
	// them. The service writes a line of its own.
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	e.connect.ServeHTTP(w, r)
	return nil
}

// passOn hands the request to what comes after. Where nothing does, Caddy would answer
// 200 with nothing in it, which an agent cannot tell from success.
func passOn(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	seen := &seenWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	err := next.ServeHTTP(seen, r)
	if err == nil && !seen.written {
		p := problem.New(problem.NotFound, "path", "There is nothing at this address. Users' pages and the status of connections are here; agents' calls go to another site.")
		p.Step = "connect"
		p.Write(w, r.Header.Get("Accept"), rand.Text())
	}
	return err
}

// seenWriter notes whether anybody answered.
type seenWriter struct {
	*caddyhttp.ResponseWriterWrapper
	written bool
}

// WriteHeader implements http.ResponseWriter.
func (w *seenWriter) WriteHeader(status int) {
	w.written = true
	w.ResponseWriterWrapper.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *seenWriter) Write(p []byte) (int, error) {
	w.written = true
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (w *seenWriter) ReadFrom(r io.Reader) (int64, error) {
	w.written = true
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// Unwrap is for http.ResponseController: a hijacked connection is answered by others.
func (w *seenWriter) Unwrap() http.ResponseWriter {
	w.written = true
	return w.ResponseWriterWrapper.ResponseWriter
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
