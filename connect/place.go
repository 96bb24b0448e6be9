// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Some providers have another address for each account. Where it is, the token endpoint
// says, or the callback. The first is the provider's own word. The second has come through
// a browser, in which anybody can write another company's number into it: it counts only
// where the provider lets the new token call at that very address.

var errClaim = errors.New("a parameter of the callback is missing, is there twice, or cannot be what it should be")

// claimed is what a callback says of the toolkit's variables.
func claimed(tk *toolkit.Toolkit, query url.Values) (map[string]string, error) {
	values := map[string]string{}
	for name, v := range tk.Claimed() {
		said := query[v.Field]
		if len(said) != 1 {
			return nil, fmt.Errorf("%w: %s", errClaim, v.Field)
		}
		value, ok := v.Accept(said[0])
		if !ok {
			return nil, fmt.Errorf("%w: %s", errClaim, v.Field)
		}
		values[name] = value
	}
	return values, nil
}

// place finds the addresses of a grant. What the grant has of variables is then all that
// the connection keeps. failure is the word for what went wrong, or "".
func (s *Service) place(ctx context.Context, t *trip, g *oauth.Grant, claims map[string]string) (failure string, err error) {
	if len(claims) > 0 {
		all := maps.Clone(claims)
		maps.Copy(all, g.Variables)
		g.Variables = all
	}
	if t.own, err = t.toolkit.For(g.Variables); err != nil {
		return nowhere, err
	}
	if len(claims) == 0 {
		return "", nil
	}
	return s.prove(ctx, t, g.AccessToken)
}

// prove makes the identity call, in whose address the claims stand. Only an answer that
// names the account is a yes: some APIs say no with 200.
func (s *Service) prove(ctx context.Context, t *trip, token secret.String) (failure string, err error) {
	short, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	a, err := s.ask(short, t.own, t.own.Identity.Path, "", token)
	if err != nil {
		return away, bare(err)
	}
	name := label(a.text, t.own.Identity.Field)
	switch {
	case a.status >= 500, a.status == http.StatusTooManyRequests, a.status == http.StatusRequestTimeout:
		return away, fmt.Errorf("the provider answers %d", a.status)
	case a.status < 200, a.status > 299, a.refuses(t.own.Auth.Refused), name == "":
		return unproven, fmt.Errorf("the identity call does not prove what the callback says: the provider answers %d", a.status)
	}
	t.label, t.asked = name, true
	return "", nil
}

// labelOf asks for the account's name, once.
func (s *Service) labelOf(ctx context.Context, t *trip, g oauth.Grant) string {
	if !t.asked {
		t.label, t.asked = s.account(ctx, t.own, g.AccessToken), true
	}
	return t.label
}

// giveBack revokes a grant that is not kept. Not so where the user has a connection by
// the same client: at most providers the same grant stands behind both (RFC 7009 §2.1),
// and a callback that somebody has altered must not cost the one that works.
func (s *Service) giveBack(ctx context.Context, t *trip, g oauth.Grant) error {
	conns, err := s.cfg.Vault.OfUser(ctx, t.link.Tenant, t.link.User)
	if err != nil {
		return err
	}
	issuer, client := t.toolkit.Grantee()
	if slices.ContainsFunc(conns, func(c connection.Connection) bool { return c.Granted.Issuer == issuer && c.Granted.ClientID == client }) {
		return nil
	}
	return s.cfg.Revoker.Revoke(ctx, t.toolkit.OAuth, g.AccessToken, g.RefreshToken)
}
