// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Most providers have one grant for a client and an account, whichever toolkits it is used
// for, and whoever revokes a token of it ends all of it (RFC 7009 §2.1). So before one is
// revoked, it is asked who else lives on it.

// endsAll reports whether a revocation ends the whole grant.
func endsAll(o *toolkit.OAuth2) bool {
	return o.RevokeStyle == "" || o.RevokeStyle == toolkit.RevokeToken
}

// livesOn reports whether another connection may live on the grant of one that goes, or
// that went at that time. Of one whose account cannot be told, nobody knows; it may where
// it is the user's and of another toolkit, as for which people use the same account, or was
// made since: who connects again does so with the account that they had.
func (s *Service) livesOn(ctx context.Context, gone connection.Connection, since time.Time) (bool, error) {
	conns, err := s.cfg.Vault.OfUser(ctx, gone.Tenant, gone.User)
	if err != nil {
		return false, err
	}
	for _, c := range conns {
		if c.Key == gone.Key || c.Granted.Issuer != gone.Granted.Issuer || c.Granted.ClientID != gone.Granted.ClientID {
			continue
		}
		same, known := connection.SameAccount(c.AccountLabel, gone.AccountLabel)
		if known && same || !known && (c.Toolkit != gone.Toolkit || !c.CreatedAt.Before(since)) {
			return true, nil
		}
	}
	return s.cfg.Vault.GrantShared(ctx, gone)
}

// noAccount is an account that no connection has: what is compared is not in the store, and
// so each that is there is another one.
const noAccount = "none"

// needed reports whether what was to be revoked is in use: the connection was not removed
// after all, or its user has connected again since.
func (s *Service) needed(ctx context.Context, o *toolkit.OAuth2, r revocation) (bool, error) {
	gone := connection.Connection{
		Key:          connection.Key{Tenant: r.Tenant, User: r.User, Toolkit: r.Toolkit, Account: noAccount},
		AccountLabel: r.Account, Granted: connection.Grantee{Issuer: r.Issuer, ClientID: r.ClientID},
	}
	conns, err := s.cfg.Vault.OfUser(ctx, r.Tenant, r.User)
	if err != nil {
		return false, err
	}
	access, refresh := secret.New(r.AccessToken), secret.New(r.RefreshToken)
	for _, c := range conns {
		if !access.IsZero() && c.AccessToken.Equal(access) || !refresh.IsZero() && c.RefreshToken.Equal(refresh) {
			return true, nil
		}
		if endsAll(o) && c.Toolkit == r.Toolkit && r.Connection != "" && c.ID == r.Connection {
			return true, nil
		}
	}
	if !endsAll(o) && r.Connection != "" {
		return false, nil
	}
	return s.livesOn(ctx, gone, r.Since)
}
