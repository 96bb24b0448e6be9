// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
)

// A toolkit may be set up for a user before they have connected it: they then find it on
// the page of what they have connected, with a button. What is set up holds nothing and is
// good for nothing until they do.

// Stage sets a toolkit up for a user; name is what the account is to be called, "" for the
// user's first one. added is false where there is such a connection already, in whichever
// status, and conn is that one then. The error is a [*connection.Ambiguous] where several
// are called so.
func (s *Service) Stage(ctx context.Context, requestID string, key connection.Key, name string) (conn connection.Connection, added bool, err error) {
	if err := s.stageable(key, name); err != nil {
		return conn, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, finishLimit)
	defer cancel()
	audited := false
	var several error
	err = persist(ctx, func() (err error) {
		added, several = false, nil
		var free bool
		if conn, free, err = s.stagePlace(ctx, key, name); err != nil || !free {
			if ambiguous, ok := errors.AsType[*connection.Ambiguous](err); ok {
				several = ambiguous
				return nil
			}
			return err
		}
		if !audited {
			r := audit.Record{Time: s.cfg.Now(), Event: audit.Staged, RequestID: requestID, Tenant: key.Tenant, User: key.User, Toolkit: key.Toolkit, Connection: conn.ID}
			if err := s.cfg.Audit.Record(r); err != nil {
				return err
			}
			audited = true
		}
		added = true
		conn, err = s.cfg.Vault.Save(ctx, conn) // ErrConflict: the user has just connected
		return err
	})
	if err == nil {
		err = several
	}
	if err != nil {
		return conn, false, fmt.Errorf("setting up a connection: %w", err)
	}
	if added {
		s.cfg.Connected(conn)
	}
	return conn, added, nil
}

func (s *Service) stageable(key connection.Key, name string) error {
	e, known := s.cfg.Toolkits[key.Toolkit]
	switch {
	case !known:
		return fmt.Errorf("there is no toolkit %q", key.Toolkit)
	case !e.Toolkit.Auth.PerUser:
		return fmt.Errorf("nobody has to connect %s: it works for everybody", e.Toolkit.Name)
	case name != "" && (!caller.ValidUser(name) || connection.LooksLikeID(name)):
		return errors.New("that cannot be an account's name: 1 to 256 printable ASCII characters without spaces and commas, and not the form of a connection's id")
	}
	return nil
}

// stagePlace gives a connection that is to be saved where there is none yet, or the one that
// is there. The first of all goes where calls that name no account look.
func (s *Service) stagePlace(ctx context.Context, key connection.Key, name string) (conn connection.Connection, free bool, err error) {
	all, err := s.cfg.Vault.Accounts(ctx, key)
	if err != nil {
		return conn, false, err
	}
	if name == "" && all.Nobody {
		name = all.All[0].ID // there are some, and that is what matters
	}
	account, err := all.Pick(name)
	if _, none := errors.AsType[*connection.Unusable](err); err != nil && !none {
		return conn, false, err
	} else if !none {
		key.Account = account
		conn, err = s.cfg.Vault.Load(ctx, key)
		return conn, false, err
	}
	id := "conn_" + rand.Text()
	if len(all.All) > 0 {
		key.Account = id
	}
	// Nobody may use it but the agent for which its user connects.
	conn = connection.Connection{Key: key, ID: id, Label: name, Agents: []string{}, CreatedAt: s.cfg.Now()}
	conn, err = conn.After(connection.Staged, connection.NoConnection, s.cfg.Now())
	return conn, true, err
}

// startStaged is the button that connects what was set up.
func (s *Service) startStaged(v visit, conn connection.Connection) {
	who := caller.Caller{Tenant: conn.Tenant, User: conn.User}
	var what purpose
	what.add(conn.Toolkit, conn.ID, nil)
	s.startLink(v, who, what, doConnect)
}
