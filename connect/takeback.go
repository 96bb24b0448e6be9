// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
)

// takeBack undoes what a link has just done, since it was called off meanwhile. forgotten:
// it was removed, with all that is kept of its user, and nothing of theirs may come back.
func (s *Service) takeBack(ctx context.Context, requestID string, p *part, forgotten bool) error {
	var err error
	switch {
	case p.approved != (connection.Key{}):
		_, err = s.let(ctx, requestID, p.approved, p.Agent, mayNot, nil)
	case forgotten || p.before.ID == "":
		_, err = s.disconnect(ctx, requestID, "", p.kept)
	default:
		err = s.putBack(ctx, requestID, p)
	}
	if errors.Is(err, connection.ErrNotConnected) {
		return nil
	}
	return err
}

// putBack has what a link replaced stand again: whoever calls off that somebody connects
// anew does not mean to disconnect. What was removed meanwhile stays removed, what was
// switched off is off, and an agent from which it was taken back may not use it.
func (s *Service) putBack(ctx context.Context, requestID string, p *part) error {
	key, before := p.kept, p.before
	var replaced, stands connection.Connection
	gone, audited := false, false
	err := persist(ctx, func() (err error) {
		if replaced, err = s.cfg.Vault.Load(ctx, key); errors.Is(err, connection.ErrNotConnected) {
			gone = true
			return nil
		}
		if err != nil {
			return err
		}
		if !audited {
			r := audit.Record{Time: s.cfg.Now(), Event: audit.Restored, RequestID: requestID, Tenant: key.Tenant, User: key.User, Toolkit: key.Toolkit, Connection: before.ID}
			if err := s.cfg.Audit.Record(r); err != nil {
				return err
			}
			audited = true
		}
		back := before.DecidedAs(replaced, p.Agent)
		if replaced.Status == connection.Inactive {
			if off, err := back.After(connection.SwitchOff, connection.SwitchedOff, s.cfg.Now()); err == nil {
				back = off
			}
		}
		back.Version, back.NotDefault, back.Label, back.UpdatedAt = replaced.Version, replaced.NotDefault, replaced.Label, s.cfg.Now()
		stands, err = s.cfg.Vault.Save(ctx, back)
		return err
	})
	if gone || err != nil {
		return err
	}
	s.cfg.Connected(stands)
	s.cfg.Stopped(key) // what began with the grant that goes
	if err := s.giveUp(ctx, requestID, replaced); err != nil {
		s.cfg.Report(Event{What: "trouble", Tenant: key.Tenant, User: key.User, Toolkit: key.Toolkit, RequestID: requestID, Reason: "revoke", Err: fmt.Errorf("giving a grant back: %w", err)})
	}
	return nil
}

// giveUp ends a grant that is not kept, or was for a moment. At most providers that ends
// all that this client has of the account (RFC 7009 §2.1): where another connection lives on
// it, it stays. Where nobody can tell whose account it is, each of the user's by the same
// client may, and a callback that somebody has altered must not cost the one that works.
//
// It is written down first, as for what is disconnected: nobody else has this token, and a
// provider that is away is told later.
func (s *Service) giveUp(ctx context.Context, requestID string, stray connection.Connection) error {
	o := s.revocable(stray)
	if o == nil {
		return nil
	}
	stray.Key.Account = noAccount
	if shared, err := s.livesOn(ctx, stray, time.Time{}); shared || err != nil {
		return err
	}
	paper, noted := s.putRevocation(ctx, revocationOf(stray, o), nil)
	if noted != nil { // there is one chance, and this is it
		return errors.Join(noted, s.cfg.Revoker.Revoke(ctx, o, stray.AccessToken, stray.RefreshToken))
	}
	if err := s.revoke(ctx, *paper); err != nil {
		s.cfg.Report(Event{What: "revocation_pending", Tenant: stray.Tenant, User: stray.User, Toolkit: stray.Toolkit, RequestID: requestID, Err: err})
	}
	return nil
}
