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
		_, err = s.let(ctx, requestID, p.approved, p.Agent, false, nil)
	case forgotten || p.before.ID == "":
		_, err = s.disconnect(ctx, requestID, "", p.kept)
	default:
		err = s.putBack(ctx, requestID, p.kept, p.before)
	}
	if errors.Is(err, connection.ErrNotConnected) {
		return nil
	}
	return err
}

// putBack has what a link replaced stand again: whoever calls off that somebody connects
// anew does not mean to disconnect. What was removed meanwhile stays removed.
func (s *Service) putBack(ctx context.Context, requestID string, key connection.Key, before connection.Connection) error {
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
		back := before
		back.Version, back.NotDefault, back.UpdatedAt = replaced.Version, replaced.NotDefault, s.cfg.Now()
		stands, err = s.cfg.Vault.Save(ctx, back)
		return err
	})
	if gone || err != nil {
		return err
	}
	s.cfg.Connected(stands)
	s.cfg.Stopped(key) // what began with the grant that goes
	if err := s.giveUp(ctx, replaced); err != nil {
		s.cfg.Report(Event{What: "trouble", Tenant: key.Tenant, User: key.User, Toolkit: key.Toolkit, RequestID: requestID, Reason: "revoke", Err: fmt.Errorf("giving a grant back: %w", err)})
	}
	return nil
}

// giveUp is giveBack for a grant that was kept for a moment. What stands in its place again
// may live on it.
func (s *Service) giveUp(ctx context.Context, conn connection.Connection) error {
	o := s.revocable(conn)
	if o == nil {
		return nil
	}
	stray := conn
	stray.Key.Account = noAccount
	if shared, err := s.livesOn(ctx, stray, time.Time{}); shared || err != nil {
		return err
	}
	return s.cfg.Revoker.Revoke(ctx, o, conn.AccessToken, conn.RefreshToken)
}
