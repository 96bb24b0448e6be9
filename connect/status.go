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

// Standing is how a connection stands, for the agent that waits for it. As JSON, it is the
// answer to GET /v1/connections/{toolkit}.
type Standing struct {
	Toolkit problem.Toolkit   `json:"toolkit"`
	User    string            `json:"user"`
	Status  connection.Status `json:"status"`
	Reason  connection.Reason `json:"reason,omitempty"`
	Account string            `json:"account,omitempty"`
	Label   string            `json:"label,omitempty"` // that the user or the agent gave it
	ID      string            `json:"id,omitempty"`    // of the connection
	Scopes  []string          `json:"scopes,omitempty"`
	// ScopesMissing are asked for by the configuration and were not granted.
	ScopesMissing []string `json:"scopes_missing,omitempty"`
	// ReadOnly: the user allows calls that read, and no others.
	ReadOnly bool `json:"read_only,omitempty"`
	// Degraded: it works, but its newest token could not be saved and would be lost
	// with the gateway.
	Degraded  bool       `json:"degraded,omitempty"`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
	// Others are the user's other connections to the toolkit.
	Others []problem.Choice `json:"others,omitempty"`
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
	if _, err := s.askedFor(who, toolkitID); err != nil {
		v.refuse("resolve", err)
		return
	}
	account, err := accountOf(v.r)
	if err != nil {
		v.refuse("resolve", err)
		return
	}
	body, err := s.StandingOf(v.r.Context(), who, toolkitID, account, strings.Fields(v.r.URL.Query().Get("scope"))...)
	if several, ok := errors.AsType[*problem.Problem](err); ok && several.Code == problem.SeveralAccounts {
		several.Detail += " Say which one is meant: send the header X-Account."
	}
	if err != nil {
		v.refuse("status", err)
		return
	}
	h := v.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(v.w).Encode(body)
}

// StandingOf tells an agent how its user's connection to a toolkit stands, with respect to
// the scopes that it needs; none: those of the configuration. account is as the agent names
// it; "" is the default. It makes nothing. What it refuses is a *problem.Problem, where the
// account may be one of several too.
func (s *Service) StandingOf(ctx context.Context, who caller.Caller, toolkitID, account string, scopes ...string) (Standing, error) {
	tk, err := s.askedFor(who, toolkitID)
	if err != nil {
		return Standing{}, err
	}
	body := Standing{Toolkit: problem.Toolkit{ID: tk.ID, Name: tk.Name}, User: who.User, Status: connection.Active}
	if !tk.Auth.PerUser {
		return body, nil
	}
	err = s.fillStatus(ctx, who, tk, account, scopes, &body)
	if several, ok := errors.AsType[*connection.Ambiguous](err); ok {
		return body, s.severalAccounts(who, tk, several)
	}
	if err != nil {
		return body, vault.Problem(err)
	}
	return body, nil
}

func (s *Service) severalAccounts(who caller.Caller, tk *toolkit.Toolkit, several *connection.Ambiguous) *problem.Problem {
	p := problem.New(problem.SeveralAccounts, "account", "This user has connected several accounts of "+tk.Name+".")
	p.Choices = s.choices(who, several.Choices)
	return p
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

// accountOf is which account the agent asks for: as in its calls, or as in the address
// that a refusal has named.
func accountOf(r *http.Request) (string, error) {
	names := append(slices.Clone(r.Header["X-Account"]), r.URL.Query()["account"]...)
	if len(names) == 0 {
		return "", nil
	}
	if slices.ContainsFunc(names, func(n string) bool { return n != names[0] || !caller.ValidUser(n) }) {
		return "", problem.New(problem.InvalidAccount, "account", "Name one account, by its id or its label, in the header X-Account or as account in the query.")
	}
	return names[0], nil
}

// choices are for an agent to see. What an account is called is often an address of the
// user's, and no business of an agent that may not use the account.
func (s *Service) choices(who caller.Caller, of []connection.Choice) (all []problem.Choice) {
	for _, c := range of {
		choice := problem.Choice{ID: c.ID, Label: c.Name(), Status: string(c.Status)}
		if !c.Admits(who.Agent, s.cfg.Agents.Several(who.Tenant)) {
			choice.Label = ""
		}
		all = append(all, choice)
	}
	return all
}

// findConnection gives the connection that is meant, and the others of the toolkit.
func (s *Service) findConnection(ctx context.Context, key connection.Key, name string) (conn connection.Connection, others []connection.Choice, err error) {
	all, err := s.cfg.Vault.Accounts(ctx, key)
	if err != nil {
		return conn, nil, err
	}
	if key.Account, err = all.Pick(name); err != nil {
		if _, none := errors.AsType[*connection.Unusable](err); !none {
			return conn, nil, err
		}
		if len(all.All) > 0 {
			return conn, all.All, connection.ErrNotConnected
		}
		key.Account = "" // to be asked for all the same: a store that was lost says so
	}
	conn, err = s.cfg.Vault.Load(ctx, key)
	return conn, slices.DeleteFunc(all.All, func(c connection.Choice) bool { return c.ID == conn.ID }), err
}

func (s *Service) fillStatus(ctx context.Context, who caller.Caller, tk *toolkit.Toolkit, account string, needed []string, body *Standing) error {
	conn, others, err := s.findConnection(ctx, connection.Key{Tenant: who.Tenant, User: who.User, Toolkit: tk.ID}, account)
	body.Others = s.choices(who, others)
	switch {
	case errors.Is(err, connection.ErrNotConnected):
		body.Status, body.Reason = connection.NotConnected, connection.NoConnection
	case err != nil:
		return err
	case !s.admits(conn, who.Agent):
		// Whose account it is and what was granted is not this agent's business.
		body.Status, body.Reason = s.standing(conn, tk)
		if body.Status == connection.Active {
			body.Status, body.Reason = connection.NotConnected, connection.NotApproved
		}
	default:
		body.Status, body.Reason = s.standing(conn, tk)
		body.ID, body.Account, body.Label = conn.ID, conn.AccountLabel, conn.Label
		body.Scopes, body.UpdatedAt, body.ReadOnly = conn.Scopes, &conn.UpdatedAt, conn.ReadOnly
		if tk.OAuth != nil {
			body.ScopesMissing = tk.OAuth.Asking(needed).MissingScopes(conn.Scopes)
		}
		if body.Status == connection.Active && len(needed) > 0 && len(body.ScopesMissing) > 0 {
			body.Status, body.Reason = connection.Insufficient, connection.ScopeMissing
		}
		body.Degraded = s.cfg.Unsaved != nil && s.cfg.Unsaved(conn.Key)
	}
	if body.Status == connection.Active {
		return nil
	}
	if conn.Key.Account != "" {
		account = conn.Key.Account
	} else if conn.ID != "" {
		account = ""
	}
	going, err := s.underWay(ctx, who, tk.ID, account, needed)
	if going {
		body.Status, body.Reason = connection.Pending, connection.ConnectPending
	}
	return err
}

// standing is how a connection stands as far as a call would get with it: an agent
// that is told "active" sends its call again, and would only be sent back here.
func (s *Service) standing(conn connection.Connection, tk *toolkit.Toolkit) (connection.Status, connection.Reason) {
	issuer, client := tk.GranteeOf(conn.Variables)
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
func (s *Service) underWay(ctx context.Context, who caller.Caller, toolkitID, wanted string, scopes []string) (bool, error) {
	var what purpose
	what.add(toolkitID, wanted, scopes)
	l, _, err := s.lastMade(ctx, who, what)
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
			if p := l.part(toolkitID); p != nil && p.Wanted == wanted && joined(p.Scopes) == joined(scopes) && s.underWayNow(p) {
				return true, nil
			}
		}
		if err != nil || next == "" {
			return false, err
		}
	}
}
