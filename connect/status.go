// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// statusBody is how a connection stands, for the agent that waits for it.
type statusBody struct {
	Toolkit problem.Toolkit   `json:"toolkit"`
	User    string            `json:"user"`
	Status  connection.Status `json:"status"`
	Reason  connection.Reason `json:"reason,omitempty"`
	Account string            `json:"account,omitempty"`
	Scopes  []string          `json:"scopes,omitempty"`
	// ScopesMissing are asked for by the configuration and were not granted.
	ScopesMissing []string `json:"scopes_missing,omitempty"`
	// Degraded: it works, but its newest token could not be saved and would be lost
	// with the gateway.
	Degraded  bool       `json:"degraded,omitempty"`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
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
	tk, err := s.askedFor(who, toolkitID)
	if err != nil {
		v.refuse("resolve", err)
		return
	}
	body := statusBody{Toolkit: problem.Toolkit{ID: tk.ID, Name: tk.Name}, User: who.User, Status: connection.Active}
	if tk.Auth.PerUser {
		if err := s.fillStatus(v.r.Context(), who, tk, &body); err != nil {
			v.refuse("status", vault.Problem(err))
			return
		}
	}
	h := v.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(v.w).Encode(body)
}

// askedFor refuses as the gateway does on a call.
func (s *Service) askedFor(who caller.Caller, toolkitID string) (*toolkit.Toolkit, error) {
	e, known := s.cfg.Toolkits[toolkitID]
	switch {
	case !known:
		return nil, problem.New(problem.UnknownToolkit, "toolkit", "There is no such toolkit here.")
	case !s.cfg.May(who, toolkitID):
		return nil, problem.New(problem.ToolkitForbidden, "toolkits", "The agent "+who.Agent+" may not use "+e.Toolkit.Name+". The operator allows it with toolkits.")
	case e.Toolkit.Draft():
		return nil, problem.New(problem.ToolkitDraft, "draft", e.Toolkit.Name+" is not set up yet. The operator has to configure: "+strings.Join(e.Toolkit.Missing, ", ")+".")
	}
	return e.Toolkit, nil
}

func (s *Service) fillStatus(ctx context.Context, who caller.Caller, tk *toolkit.Toolkit, body *statusBody) error {
	conn, err := s.cfg.Vault.Load(ctx, connection.Key{Tenant: who.Tenant, User: who.User, Toolkit: tk.ID})
	switch {
	case errors.Is(err, connection.ErrNotConnected):
		body.Status, body.Reason = connection.NotConnected, connection.NoConnection
	case err != nil:
		return err
	default:
		body.Status, body.Reason = s.standing(conn, tk)
		body.Account, body.Scopes, body.UpdatedAt = conn.AccountLabel, conn.Scopes, &conn.UpdatedAt
		if tk.OAuth != nil {
			body.ScopesMissing = tk.OAuth.MissingScopes(conn.Scopes)
		}
		body.Degraded = s.cfg.Unsaved != nil && s.cfg.Unsaved(conn.Key)
	}
	if body.Status == connection.Active {
		return nil
	}
	going, err := s.underWay(ctx, who, tk.ID)
	if going {
		body.Status, body.Reason = connection.Pending, connection.ConnectPending
	}
	return err
}

// standing is how a connection stands as far as a call would get with it: an agent
// that is told "active" sends its call again, and would only be sent back here.
func (s *Service) standing(conn connection.Connection, tk *toolkit.Toolkit) (connection.Status, connection.Reason) {
	issuer, client := tk.Grantee()
	switch {
	case conn.Status != connection.Active:
		return conn.Status, conn.Reason
	case tk.Allows(conn.Variables) != nil, conn.Granted.ClientID != client || conn.Granted.Issuer != issuer,
		!slices.Contains(conn.Granted.Hosts, tk.BaseURL.Scheme+"://"+tk.BaseURL.Host):
		return connection.NotConnected, connection.GrantMoved
	case tk.OAuth != nil && conn.Stale(s.cfg.Now()) && tk.OAuth.RenewWith(conn.AccessToken, conn.RefreshToken, true).IsZero():
		return connection.Expired, connection.NoRefreshToken
	}
	return conn.Status, conn.Reason
}

// underWay reports whether the user is about to connect, for the agent to say so.
func (s *Service) underWay(ctx context.Context, who caller.Caller, toolkitID string) (bool, error) {
	l, _, err := s.lastMade(ctx, who, one(toolkitID))
	if err == nil && l != nil {
		l, err = s.links.find(ctx, l.ID)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	if err == nil && l != nil && slices.ContainsFunc(l.parts, s.underWayNow) {
		return true, nil
	}
	for next := ""; ; {
		var found []vault.Document
		found, next, err = s.cfg.Vault.OfTerm(ctx, togetherOf(who.Tenant, who.User), next, 100)
		for _, d := range found {
			l, err := decodeLink(d.Plain)
			if err != nil || l.Tenant != who.Tenant || l.User != who.User || l.Agent != who.Agent {
				continue
			}
			if p := l.part(toolkitID); p != nil && s.underWayNow(p) {
				return true, nil
			}
		}
		if err != nil || next == "" {
			return false, err
		}
	}
}
