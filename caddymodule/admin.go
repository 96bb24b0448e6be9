// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// AdminRoutes are what Toolgate's commands ask a running gateway to do, on Caddy's
// admin endpoint below /toolgate/. No answer holds a secret: records go over it sealed.
type AdminRoutes struct{}

// CaddyModule returns the Caddy module information.
func (AdminRoutes) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.toolgate", New: func() caddy.Module { return new(AdminRoutes) }}
}

const adminPrefix = "/toolgate/"

// Routes returns the routes.
func (AdminRoutes) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminPrefix, Handler: caddy.AdminHandlerFunc(serveAdmin)}}
}

// maxAdminBody holds a step's records, each as large as a store takes it.
const maxAdminBody = 256 << 20

// adminAnswer is either. What a job has to say is no fault of HTTP's: Caddy would log
// it as its own, and hide it from the command in a sentence of its own.
type adminAnswer struct {
	// Result is what the job gave.
	Result json.RawMessage `json:"result,omitempty"`
	// Error is a sentence for the operator.
	Error string `json:"error,omitempty"`
}

func serveAdmin(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("POST, please")}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminBody))
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("reading the request: %w", err)}
	}
	// Looked up anew each time: after a reload that failed, this endpoint belongs to
	// the configuration that failed.
	running, err := caddy.ActiveContext().AppIfConfigured("toolgate")
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("no Toolgate is running here")}
	}
	var answer adminAnswer
	answer.Result, err = running.(*App).job(r.Context(), strings.TrimPrefix(r.URL.Path, adminPrefix), body)
	if err != nil {
		answer.Error = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	return json.NewEncoder(w).Encode(answer)
}

// job does a job with the running gateway's store, keys and cache.
func (a *App) job(ctx context.Context, name string, body []byte) (json.RawMessage, error) {
	e, err := a.use()
	if err != nil {
		return nil, err
	}
	defer a.leave()
	return do(ctx, &workplace{app: a, store: e.state.store, ring: e.ring, vault: e.cache.vault, connected: e.cache.tokens.Put, audit: e.audit, people: e.people, policy: e.state.policy}, name, body)
}

var _ caddy.AdminRouter = AdminRoutes{}
