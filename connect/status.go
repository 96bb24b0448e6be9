// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// statusBody is how a connection stands, for the agent that waits for it.
type statusBody struct {
	Toolkit   problem.Toolkit   `json:"toolkit"`
	User      string            `json:"user"`
	Status    connection.Status `json:"status"`
	Reason    connection.Reason `json:"reason,omitempty"`
	Account   string            `json:"account,omitempty"`
	Scopes    []string          `json:"scopes,omitempty"`
	UpdatedAt *time.Time        `json:"updated_at,omitempty"`
}

// serveStatus answers GET /v1/connections/{toolkit} for the calling agent's user.
// It makes nothing: an agent may poll it.
func (s *Service) serveStatus(v visit, toolkitID string) {
	if v.r.Method != http.MethodGet && v.r.Method != http.MethodHead {
		p := problem.New(problem.MethodRefused, "method", "This address answers GET.")
		p.Allow = "GET, HEAD"
		v.refuse("status", p)
		return
	}
	who, err := s.cfg.Identify(v.r)
	if err != nil {
		v.refuse("identify", err)
		return
	}
	e, known := s.cfg.Toolkits[toolkitID]
	if !known {
		v.refuse("resolve", problem.New(problem.UnknownToolkit, "toolkit", "There is no such toolkit here."))
		return
	}
	body := statusBody{Toolkit: problem.Toolkit{ID: e.Toolkit.ID, Name: e.Toolkit.Name}, User: who.User, Status: connection.Active}
	if e.Toolkit.Auth.PerUser {
		if err := s.fillStatus(v, who, &body); err != nil {
			v.refuse("status", err)
			return
		}
	}
	v.w.Header().Set("Content-Type", "application/json")
	v.w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(v.w).Encode(body)
}

func (s *Service) fillStatus(v visit, who caller.Caller, body *statusBody) error {
	key := connection.Key{Tenant: who.Tenant, User: who.User, Toolkit: body.Toolkit.ID}
	conn, err := s.cfg.Vault.Load(v.r.Context(), key)
	switch {
	case errors.Is(err, connection.ErrNotConnected):
		body.Status, body.Reason = connection.NotConnected, connection.NoConnection
	case err != nil:
		return vault.Problem(err)
	default:
		at := conn.UpdatedAt
		body.Status, body.Reason, body.Account, body.Scopes, body.UpdatedAt = conn.Status, conn.Reason, conn.AccountLabel, conn.Scopes, &at
	}
	if body.Status == connection.Active {
		return nil
	}
	// Somebody is on the way: the agent may tell its user so.
	place := vault.Name("link-for", who.Tenant, who.Agent, who.User, key.Toolkit)
	l, _, err := s.living(v.r.Context(), place)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return vault.Problem(err)
	}
	if l != nil && !l.Started.IsZero() {
		body.Status, body.Reason = connection.Pending, connection.ConnectPending
	}
	return nil
}
