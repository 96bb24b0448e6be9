// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// An agent may name any account, and each that is not there gets a link of its own. One
// that goes round in a loop, or makes names up, would fill the store, and its user could
// not tell which of the links is meant. So there is a bound, and those that were given
// stay good: whoever has one in their chat shall not find it dead.

// maxInvented bounds the live links of a user and a toolkit for accounts that are not
// connected. The page's own, which a person makes, are counted apart from the agents'.
const maxInvented = 20

// invented is the record of those links: until when each lives, by the hash of its note.
type invented map[string]time.Time

func inventedName(who caller.Caller, toolkitID string) string {
	by := "agents"
	if who.Agent == "" {
		by = "page"
	}
	return vault.Name("invented", who.Tenant, who.User, toolkitID, by)
}

// reserve counts a link that is to be made. The error is a *problem.Problem where there
// are too many. One that is reserved and not made then is counted until its time is over.
func (s *Service) reserve(ctx context.Context, who caller.Caller, what purpose) error {
	for toolkitID, wanted := range what.Wanted {
		all, err := s.cfg.Vault.Accounts(ctx, connection.Key{Tenant: who.Tenant, User: who.User, Toolkit: toolkitID})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all.All, func(c connection.Choice) bool { return c.Account == wanted }) {
			continue
		}
		if err := s.count(ctx, who, toolkitID, hash(noteName(who, what))); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) count(ctx context.Context, who caller.Caller, toolkitID, note string) error {
	name := inventedName(who, toolkitID)
	for range linkTries {
		now, live, version := s.cfg.Now(), invented{}, uint64(0)
		d, err := s.cfg.Vault.Get(ctx, name)
		if err == nil {
			version = d.Version
			_ = json.Unmarshal(d.Plain, &live) // nothing can be read there: they are counted anew
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		maps.DeleteFunc(live, func(_ string, until time.Time) bool { return !now.Before(until) })
		if _, again := live[note]; !again && len(live) >= maxInvented {
			return tooManyInvented(live, now)
		}
		live[note] = now.Add(s.cfg.LinkLife)
		text, err := json.Marshal(live)
		if err != nil {
			return fmt.Errorf("counting links: %w", err)
		}
		err = s.cfg.Vault.Put(ctx, vault.Document{Name: name, Plain: text, Version: version + 1, Expires: now.Add(s.cfg.LinkLife)})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

func tooManyInvented(live invented, now time.Time) error {
	first := slices.MinFunc(slices.Collect(maps.Values(live)), time.Time.Compare)
	p := problem.New(problem.TooManyLinks, "accounts", fmt.Sprintf("There are %d links already for accounts of this toolkit that this user has not connected. Use one of the accounts that are connected, or have the user open one of the links.", len(live)))
	p.RetryAfter = first.Sub(now)
	return p
}
