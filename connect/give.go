// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// Link is an address that a user opens to connect one toolkit.
type Link struct {
	URL       string
	ExpiresAt time.Time
	StatusURL string
	Pending   bool // somebody has gone on from it and can still come back
}

const (
	// idBytes of randomness: more than 128 bits.
	idBytes = 18
	// minRest is how much time a link must have left to be given again.
	minRest = 2 * time.Minute
	// linkTries: of many calls at once, one may lose the race for the note, then
	// that for the link, and finds both the third time.
	linkTries = 5
)

// Ask is what a link is for beside a user and a toolkit.
type Ask struct {
	// Account is as the agent names it: a connection's id, its label, or any other name
	// for one that is not connected yet. "" is the user's default.
	Account string
	// Scopes are all that the grant is to have; none: those of the configuration.
	Scopes []string
}

// Link gives the link for this caller and toolkit. While one lives it is given
// again: an agent that retries must neither flood the store nor show its user two.
func (s *Service) Link(ctx context.Context, who caller.Caller, tk *toolkit.Toolkit) (Link, error) {
	return s.LinkFor(ctx, who, tk, Ask{})
}

// LinkFor is Link for what is asked. The error is a *connection.Ambiguous where it may
// mean several connections.
func (s *Service) LinkFor(ctx context.Context, who caller.Caller, tk *toolkit.Toolkit, ask Ask) (Link, error) {
	wanted, err := s.wanted(ctx, who, tk.ID, ask.Account)
	var l *link
	if err == nil {
		l, err = s.linkFor(ctx, who, purpose{tk.ID, wanted, joined(ask.Scopes)})
	}
	if several, ok := errors.AsType[*connection.Ambiguous](err); ok {
		return Link{}, several
	}
	if err != nil {
		return Link{}, vault.Problem(err)
	}
	return Link{s.linkURL(l.ID), l.Expires, s.statusURL(tk.ID, ask), l.underWay(s.cfg.Now())}, nil
}

// purpose is what a link connects.
type purpose struct{ toolkit, wanted, scopes string }

func (l *link) purpose() purpose { return purpose{l.Toolkit, l.Wanted, joined(l.Scopes)} }

// joined is the same for the same scopes, in whatever order.
func joined(scopes []string) string {
	all := slices.Sorted(slices.Values(scopes))
	return strings.Join(slices.Compact(all), " ")
}

func (s *Service) linkFor(ctx context.Context, who caller.Caller, what purpose) (*link, error) {
	for range linkTries {
		l, version, err := s.lastMade(ctx, who, what)
		if err == nil && l != nil {
			l, err = s.ensure(ctx, l)
		}
		if err == nil && !s.givable(l) {
			l, err = s.makeLink(ctx, who, what, version+1)
		}
		if !errors.Is(err, store.ErrConflict) { // another call has just made it
			return l, err
		}
	}
	return nil, store.ErrConflict
}

// givable: a user who opens it now gets to the end.
func (s *Service) givable(l *link) bool {
	rest := min(minRest, s.cfg.LinkLife/2)
	return l != nil && l.Used.IsZero() && !s.cfg.Now().Add(rest).After(l.Expires)
}

// lastMade gives the link that was last made for a caller and a purpose, as it was
// made, with the version of the note that says so. nil: none.
func (s *Service) lastMade(ctx context.Context, who caller.Caller, what purpose) (l *link, version uint64, err error) {
	d, err := s.cfg.Vault.Get(ctx, noteName(who, what))
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	l = new(link)
	if err := json.Unmarshal(d.Plain, l); err != nil {
		return nil, 0, fmt.Errorf("reading a link: %w", err)
	}
	return l, d.Version, nil
}

// makeLink makes a link and notes whom it was made for. The note comes first: of
// many calls at once, one writes it, and the others leave nothing behind.
func (s *Service) makeLink(ctx context.Context, who caller.Caller, what purpose, version uint64) (*link, error) {
	now := s.cfg.Now()
	kind := plainLink
	if what.wanted != "" {
		kind = accountLink
	}
	l := &link{
		ID: kind + random(idBytes), Tenant: who.Tenant, Agent: who.Agent, User: who.User, Toolkit: what.toolkit, Wanted: what.wanted, Scopes: strings.Fields(what.scopes),
		Created: now, Expires: now.Add(s.cfg.LinkLife),
	}
	text, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("noting a link: %w", err)
	}
	err = s.cfg.Vault.Put(ctx, vault.Document{
		// For as long as somebody who started in time can be under way.
		Name: noteName(who, what), Plain: text, Version: version, Expires: l.Expires.Add(flowLife),
	})
	if err != nil {
		return nil, fmt.Errorf("noting a link: %w", err)
	}
	return s.ensure(ctx, l)
}

// ensure gives a link as it is now. Where only the note is there, the call that made
// it is not there yet or died, and whoever comes first writes the link from the note.
func (s *Service) ensure(ctx context.Context, made *link) (*link, error) {
	l, err := s.find(ctx, made.ID)
	if !errors.Is(err, store.ErrNotFound) {
		return l, err
	}
	return made, s.save(ctx, made)
}

func noteName(who caller.Caller, what purpose) string {
	switch {
	case what.scopes != "":
		return vault.Name("link-for", who.Tenant, who.Agent, who.User, what.toolkit, what.wanted, hash(what.scopes))
	case what.wanted != "":
		return vault.Name("link-for", who.Tenant, who.Agent, who.User, what.toolkit, what.wanted)
	}
	return vault.Name("link-for", who.Tenant, who.Agent, who.User, what.toolkit)
}
