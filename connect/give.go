// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// Link is an address that a user opens to connect one toolkit or several.
type Link struct {
	URL       string
	ExpiresAt time.Time
	StatusURL string // "" where it is for several
	Pending   bool   // somebody has gone on from it and can still come back
}

// Ask is what a link is for. The same ask gets the same link while that lives.
type Ask struct {
	// Toolkits by their ids, in the order in which the user is shown them.
	Toolkits []string
	// Account is as the agent names it: a connection's id, its label, or any other name
	// for one that is not connected yet. "" is the user's default. It is of one toolkit,
	// and so are Scopes.
	Account string
	// Scopes are all that the grant is to have; none: those of the configuration.
	Scopes []string
	// CallbackURL is where the browser goes at the end, an address of the operator's
	// application that the agent may name. "": it stays here.
	CallbackURL string
}

// maxTogether bounds the toolkits of one link.
const maxTogether = 20

const (
	// idBytes of randomness: more than 128 bits.
	idBytes = 18
	// minRest is how much time a link must have left to be given again.
	minRest = 2 * time.Minute
	// linkTries: of many calls at once, one may lose the race for the note, then
	// that for the link, and finds both the third time.
	linkTries = 5
)

// Link gives the link for this caller and toolkit. While one lives it is given
// again: an agent that retries must neither flood the store nor show its user two.
func (s *Service) Link(ctx context.Context, who caller.Caller, tk *toolkit.Toolkit) (Link, error) {
	return s.give(ctx, who, Ask{Toolkits: []string{tk.ID}})
}

// LinkFor is [Service.Link] for what is asked. It refuses toolkits that users do not
// connect to, and those that the agent may not use. The error is a *connection.Ambiguous
// where the account's name may mean several connections.
func (s *Service) LinkFor(ctx context.Context, who caller.Caller, ask Ask) (Link, error) {
	if ask.CallbackURL != "" && !s.cfg.MayCallBack(who, ask.CallbackURL) {
		return Link{}, problem.New(problem.BadRequest, "callback_urls", "The agent "+who.Agent+" may not have users sent to this address. The operator allows it, letter for letter, with callback_urls in the agent's block.")
	}
	switch n := len(ask.Toolkits); {
	case n == 0 || n > maxTogether:
		return Link{}, problem.New(problem.BadRequest, "toolkits", fmt.Sprintf("A link is for 1 to %d toolkits.", maxTogether))
	case n > 1 && (ask.Account != "" || len(ask.Scopes) > 0):
		return Link{}, problem.New(problem.BadRequest, "toolkits", "An account and scopes are of one toolkit. Ask for a link for that toolkit alone.")
	}
	for i, id := range ask.Toolkits {
		tk, err := s.askedFor(who, id)
		switch {
		case err != nil:
			return Link{}, err
		case !tk.Auth.PerUser:
			return Link{}, problem.New(problem.BadRequest, "toolkits", "Nobody has to connect "+tk.Name+": it works for everybody.")
		case slices.Contains(ask.Toolkits[:i], id):
			return Link{}, problem.New(problem.BadRequest, "toolkits", tk.Name+" is named twice.")
		}
	}
	return s.give(ctx, who, ask)
}

func (s *Service) give(ctx context.Context, who caller.Caller, ask Ask) (Link, error) {
	what, err := s.purposeOf(ctx, who, ask)
	var l *link
	if err == nil {
		l, err = s.linkFor(ctx, who, what)
	}
	if several, ok := errors.AsType[*connection.Ambiguous](err); ok {
		return Link{}, several
	}
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return Link{}, p
	}
	if err != nil {
		return Link{}, vault.Problem(err)
	}
	given := Link{URL: s.linkURL(l.ID), ExpiresAt: l.Expires, Pending: slices.ContainsFunc(l.parts, s.underWayNow)}
	if !l.several() {
		given.StatusURL = s.statusURL(l.parts[0].Toolkit, ask)
	}
	return given, nil
}

func (s *Service) underWayNow(p *part) bool { return p.underWay(s.cfg.Now()) }

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
	return l != nil && l.Ended.IsZero() && !l.done() && !s.cfg.Now().Add(rest).After(l.Expires)
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
	l, err = decodeLink(d.Plain)
	return l, d.Version, err
}

// makeLink makes a link and notes whom it was made for. The note comes first: of
// many calls at once, one writes it, and the others leave nothing behind.
func (s *Service) makeLink(ctx context.Context, who caller.Caller, what purpose, version uint64) (*link, error) {
	if err := s.reserve(ctx, who, what); err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	kind := plainLink
	if len(what.Wanted) > 0 {
		kind = accountLink
	}
	l := &link{head: head{
		ID: kind + random(idBytes), Tenant: who.Tenant, Agent: who.Agent, User: who.User,
		Created: now, Expires: now.Add(s.cfg.LinkLife), Callback: what.Callback,
	}}
	for _, id := range what.Toolkits {
		l.parts = append(l.parts, &part{link: l, Toolkit: id, Wanted: what.Wanted[id], Scopes: strings.Fields(what.Scopes[id])})
	}
	text, err := l.encode()
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
	l, err := s.links.find(ctx, made.ID)
	if !errors.Is(err, store.ErrNotFound) {
		return l, err
	}
	return made, s.links.save(ctx, made)
}
