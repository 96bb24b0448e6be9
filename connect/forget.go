// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Forgotten is what was removed of a user.
type Forgotten struct {
	Connections int `json:"connections"`
	Revoked     int `json:"revoked"` // of them, at the provider
	Pending     int `json:"pending"` // that the provider could not be told yet
	Records     int `json:"records"` // that say which account is the default, or cannot be read
}

// forgetRounds bounds how often a user's connections are listed, each time all of
// them: somebody may connect all the while.
const forgetRounds = 100

// Forget takes all of a user's connections away, and revokes them where that is possible.
// It may be repeated; what is connected meanwhile goes too.
func (s *Service) Forget(ctx context.Context, requestID, tenant, user string) (done Forgotten, err error) {
	if err := s.cfg.Audit.Record(audit.Record{Time: s.cfg.Now(), Event: audit.Forgotten, RequestID: requestID, Tenant: tenant, User: user}); err != nil {
		return done, err
	}
	for range forgetRounds {
		conns, err := s.cfg.Vault.OfUser(ctx, tenant, user)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return done, err
		}
		if len(conns) == 0 {
			if more, err := s.erase(ctx, tenant, user, &done); !more || err != nil {
				return done, err
			}
		}
		for _, c := range conns {
			// All of the user's go: who may live on a grant is told by its account alone.
			outcome, err := s.takeAway(ctx, requestID, "", c.Key, s.cfg.Vault.GrantShared)
			if errors.Is(err, connection.ErrNotConnected) {
				continue
			}
			if err != nil {
				return done, err
			}
			done.count(outcome)
		}
	}
	return done, errors.New("forgetting a user: somebody connects all the while")
}

// erase removes what is left without connections, and reports whether there are some again.
func (s *Service) erase(ctx context.Context, tenant, user string, done *Forgotten) (more bool, err error) {
	removed, err := s.cfg.Vault.EraseUser(ctx, tenant, user)
	if err != nil {
		return false, fmt.Errorf("forgetting a user: %w", err)
	}
	done.Records += removed
	conns, err := s.cfg.Vault.OfUser(ctx, tenant, user)
	return len(conns) > 0, err
}

func (f *Forgotten) count(outcome undoing) {
	f.Connections++
	switch outcome {
	case undone:
		f.Revoked++
	case undonePart:
		f.Pending++
	}
}

// TraceOf reports whether a record is a link for the user, or a note or a count of some, or was a
// connection of theirs and is set aside. Flows name nobody: without their link they lead
// nowhere, and end within minutes.
func TraceOf(tenant, user, name string, open func() []byte) bool {
	kind, rest, _ := strings.Cut(name, "/")
	switch kind {
	case "link-for": // tenant, agent, user, and what for
		parts := strings.Split(rest, "/")
		return len(parts) > 2 && parts[0] == vault.Name(tenant) && parts[2] == vault.Name(user)
	case "invented": // tenant, user, toolkit, and by whom
		parts := strings.Split(rest, "/")
		return len(parts) > 1 && parts[0] == vault.Name(tenant) && parts[1] == vault.Name(user)
	case "link", "account-link":
		var l link
		return json.Unmarshal(open(), &l) == nil && l.Tenant == tenant && l.User == user
	case "aside": // the lost key's id, maybe a number, and the name that it had
		parts := strings.Split(rest, "/")
		for i := 1; i < len(parts)-2 && i < 3; i++ {
			if parts[i] == "connection" { // the first one: a tenant may be called so
				return parts[i+1] == vault.Name(tenant) && parts[i+2] == vault.Name(user)
			}
		}
	}
	return false
}
