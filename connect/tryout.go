// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"errors"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// tryOut asks the provider whether it takes a connection's token now, by the call that
// names the account or the one that checks keys. The token is got as any call gets it,
// and what comes of it changes nothing: one endpoint's whim is not the grant's end.
func (s *Service) tryOut(v visit, conn connection.Connection) undoing {
	tk, ctx, cancel := s.atHand(v, conn)
	defer cancel()
	if tk == nil {
		return unsure
	}
	now, err := s.cfg.Tokens.Token(ctx, tk, exactly(conn))
	switch _, unusable := errors.AsType[*connection.Unusable](err); {
	case unusable:
		return ailing
	case err != nil:
		return unsure
	}
	if status, _ := s.standing(now, tk); status != connection.Active {
		return ailing // it was granted for another host, say, and must not go to this one
	}
	own, err := tk.For(now.Variables)
	if err != nil {
		return ailing
	}
	switch _, failure, err := s.check(ctx, own, now.AccessToken); {
	case failure == wrongKey:
		return ailing
	case failure != "":
		s.cfg.Report(Event{What: "trouble", Tenant: conn.Tenant, User: conn.User, Toolkit: conn.Toolkit, RequestID: v.id, Reason: "test", Err: err})
		return unsure
	}
	return works
}

// refreshNow renews a connection's token ahead of time.
func (s *Service) refreshNow(v visit, conn connection.Connection) undoing {
	tk, ctx, cancel := s.atHand(v, conn)
	defer cancel()
	if tk == nil || tk.OAuth == nil {
		return stale
	}
	_, err := s.cfg.Tokens.Refresh(ctx, tk, conn)
	if unusable, ok := errors.AsType[*connection.Unusable](err); ok && unusable.Status != connection.Active {
		return ailing
	}
	if err != nil {
		cause := err
		if p, ok := errors.AsType[*problem.Problem](err); ok {
			cause = errors.Unwrap(p)
		}
		s.cfg.Report(Event{What: "trouble", Tenant: conn.Tenant, User: conn.User, Toolkit: conn.Toolkit, RequestID: v.id, Reason: "refresh", Err: cause})
		return stale
	}
	return fresh
}

// handLimit is how long a person waits for either.
const handLimit = 20 * time.Second

func (s *Service) atHand(v visit, conn connection.Connection) (*toolkit.Toolkit, context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(v.r.Context(), handLimit)
	e, known := s.cfg.Toolkits[conn.Toolkit]
	if !known || e.Toolkit.Draft() || !e.Toolkit.Auth.PerUser || s.cfg.Tokens == nil || conn.Status != connection.Active {
		return nil, ctx, cancel
	}
	return e.Toolkit, ctx, cancel
}

// exactly names a connection by its id, as agents may: by no label and no default.
func exactly(conn connection.Connection) connection.Key {
	key := conn.Key
	key.Account = conn.ID
	return key
}
