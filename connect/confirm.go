// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Confirming is a [SignIn] at the operator's own application. The browser goes to a page
// of it with a flow_id; its server sees who is signed in there and says so at
// /v1/confirm_user, and sends the browser on to the address that it gets in return.
//
// That address holds a proof, and is good in the browser that was sent alone: somebody
// who sends their own flow_id to another person has that person's name for the flow, and
// no browser that could go on with it.
type Confirming struct {
	Page *url.URL      // gets flow_id
	Key  secret.String // of the operator's server
}

// Begin implements SignIn.
func (c *Confirming) Begin(_ context.Context, t *Trip) (string, error) {
	to := *c.Page
	query := to.Query()
	query.Set("flow_id", t.State)
	to.RawQuery = query.Encode()
	return to.String(), nil
}

// Finish implements SignIn.
func (c *Confirming) Finish(_ context.Context, query url.Values, t Trip) (string, error) {
	if t.User == "" || subtle.ConstantTimeCompare([]byte(hash(query.Get("proof"))), []byte(t.Proof)) != 1 {
		return "", ErrNotRecognised
	}
	return t.User, nil
}

// Place implements SignIn.
func (c *Confirming) Place() *url.URL { return c.Page }

// confirmation is what the operator's server says.
type confirmation struct {
	FlowID string `json:"flow_id"`
	UserID string `json:"user_id"`
}

// serveConfirm answers POST /v1/confirm_user {"flow_id", "user_id"} with {"next_uri"}.
func (s *Service) serveConfirm(v visit) {
	next, err := s.confirm(v)
	if err != nil {
		v.refuse("confirm_user", err)
		return
	}
	h := v.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(v.w).Encode(map[string]string{"next_uri": next})
}

func (s *Service) confirm(v visit) (next string, err error) {
	c, ok := s.cfg.SignIn.(*Confirming)
	switch {
	case !ok:
		return "", problem.New(problem.NotFound, "verify_user", "This gateway does not ask an application who its users are: verify_user callback is not configured.")
	case v.r.Method != http.MethodPost:
		p := problem.New(problem.MethodRefused, "method", "This address answers POST.")
		p.Allow = "POST"
		return "", p
	}
	given, bearer := strings.CutPrefix(v.r.Header.Get("Authorization"), "Bearer ")
	if !bearer || c.Key.IsZero() || !secret.New(given).Equal(c.Key) {
		return "", problem.New(problem.UnknownAgent, "key", "The key of verify_user callback is needed: Authorization: Bearer …")
	}
	var said confirmation
	if err := json.NewDecoder(http.MaxBytesReader(v.w, v.r.Body, 16<<10)).Decode(&said); err != nil || said.FlowID == "" || !caller.ValidUser(said.UserID) {
		return "", problem.New(problem.BadRequest, "body", `The body has to be {"flow_id": "…", "user_id": "…"}.`)
	}
	return s.confirmed(v, said)
}

// confirmed notes who it was. A person whom the link is not for is refused here too, so
// that the operator's page can say so.
func (s *Service) confirmed(v visit, said confirmation) (next string, err error) {
	ctx := v.r.Context()
	t, err := s.tripOf(ctx, said.FlowID)
	var l *link
	open := err == nil && t.User == ""
	if open && t.LinkID != "" {
		l, err = s.links.find(ctx, t.LinkID)
	}
	unknown := problem.New(problem.NotFound, "flow_id", "There is no such flow: it was confirmed before, took longer than ten minutes, or never was.")
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && !open:
		return "", unknown
	case err != nil:
		return "", vault.Problem(err)
	case l != nil && l.User != said.UserID:
		s.report("refused", v, l.whole(), "other_user", nil)
		if err := s.cfg.Vault.Delete(ctx, tripName(t.State), t.version); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			return "", vault.Problem(err)
		}
		return "", problem.New(problem.UserMismatch, "user_id", "The link was made for another user. Do not let this person go on.")
	}
	proof := random(idBytes)
	t.User, t.Proof = said.UserID, hash(proof)
	if err := s.saveTrip(ctx, t); errors.Is(err, store.ErrConflict) {
		return "", unknown
	} else if err != nil {
		return "", vault.Problem(err)
	}
	return t.Back + "?" + url.Values{"state": {t.State}, "proof": {proof}}.Encode(), nil
}
