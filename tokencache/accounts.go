// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/toolkit"
)

// rosters are who has which accounts, for calls that name one and for users who have
// several. Who has one connection and names none never comes here: what such a call
// costs is what it cost when there could be one alone.
type rosters struct {
	known   map[connection.Key]roster
	reading map[connection.Key]*bool // under way; true: overtaken, see the readings of news
	loads   flight[connection.Key, roster]
}

type roster struct {
	connection.Accounts
	asOf time.Time
}

// meant gives what is known of the connection that a key means, if it can be used. For
// a key without an account, first and err are what there is of the first connection,
// which cannot be used or is not the default.
func (c *Source) meant(ctx context.Context, tk *toolkit.Toolkit, key connection.Key, first entry, err error) (entry, error) {
	if key.Account != "" {
		return c.named(ctx, tk, key)
	}
	if _, unusable := errors.AsType[*connection.Unusable](err); err != nil && !unusable {
		return entry{}, err
	}
	// Before a user is sent to connect, let us see whether there is another account.
	account, pickErr := c.pick(ctx, key)
	switch gone, isGone := errors.AsType[*connection.Unusable](pickErr); {
	case isGone && gone.Status == connection.NotConnected && err != nil:
		return entry{}, err
	case pickErr != nil:
		return entry{}, pickErr
	case account == "":
		return first, err
	}
	key.Account = account
	return c.further(ctx, tk, key)
}

// further is entry for a connection that the caller did not name by its key.
func (c *Source) further(ctx context.Context, tk *toolkit.Toolkit, key connection.Key) (entry, error) {
	e, err := c.entry(ctx, tk, key)
	if u, ok := errors.AsType[*connection.Unusable](err); ok && key.Account != "" {
		err = &connection.Unusable{Status: u.Status, Reason: u.Reason, Account: key.Account}
	}
	return e, err
}

// named gives the connection that the agent names. What the roster says may be of a
// moment ago, so the connection itself has to bear the name too: with a label that has
// moved on, nobody gets the token of the account that had it.
func (c *Source) named(ctx context.Context, tk *toolkit.Toolkit, key connection.Key) (entry, error) {
	name := key.Account
	if e, known := c.peek(key); known && e.conn.ID == name {
		return c.further(ctx, tk, key) // by its id
	}
	for range 2 {
		account, err := c.pick(ctx, key)
		if err != nil {
			return entry{}, err
		}
		key.Account = account
		e, err := c.further(ctx, tk, key)
		if err != nil || e.conn.Choice().Means(name) {
			return e, err
		}
		c.dropRoster(key)
		key.Account = name
	}
	return entry{}, trouble(connection.ErrNotConnected)
}

// admitted asks whether the caller may use an entry. Before it is sent to its user, let us
// see whether they have said yes at another gateway.
func (c *Source) admitted(ctx context.Context, tk *toolkit.Toolkit, e entry, admit func(connection.Connection) error) (entry, error) {
	err := admit(e.conn)
	if err == nil || c.news.from == nil {
		return e, err
	}
	if _, err := c.load(ctx, e.conn.Key); err != nil {
		return entry{}, err
	}
	if e, err = c.further(ctx, tk, e.conn.Key); err != nil {
		return entry{}, err
	}
	return e, admit(e.conn)
}

// pick gives the account that a key means. Where it would refuse, it looks again: a
// connect at another gateway has to be felt within a second.
func (c *Cache) pick(ctx context.Context, key connection.Key) (account string, err error) {
	name := key.Account
	r, err := c.roster(ctx, key, c.rosterTrust())
	if err != nil {
		return "", err
	}
	if account, err = r.Pick(name); err == nil || c.now().Sub(r.asOf) < absentLife {
		return account, err
	}
	if r, err = c.roster(ctx, key, absentLife); err != nil {
		return "", err
	}
	return r.Pick(name)
}

// rosterTrust is for how long a roster counts that nobody has said a word against.
func (c *Cache) rosterTrust() time.Duration {
	if c.news.from == nil {
		return hearingTrust
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.news.listening {
		return hearingTrust
	}
	return DeafTrust
}

func (c *Cache) roster(ctx context.Context, key connection.Key, trust time.Duration) (roster, error) {
	key.Account = ""
	c.mu.RLock()
	r, known := c.rosters.known[key]
	c.mu.RUnlock()
	if known && c.now().Sub(r.asOf) < trust {
		return r, nil
	}
	r, err := c.rosters.loads.do(ctx, key, loadLimit, func(ctx context.Context) (roster, error) { return c.readRoster(ctx, key) })
	switch {
	case err != nil && ctx.Err() != nil:
		return roster{}, ctx.Err()
	case err != nil:
		return roster{}, trouble(err)
	}
	return r, nil
}

func (c *Cache) readRoster(ctx context.Context, key connection.Key) (roster, error) {
	overtaken := false
	r := roster{asOf: c.now()}
	c.mu.Lock()
	c.rosters.reading[key] = &overtaken
	c.mu.Unlock()
	var err error
	r.Accounts, err = c.vault.Accounts(ctx, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.rosters.reading, key)
	if err != nil {
		return roster{}, err
	}
	if !overtaken {
		if len(c.rosters.known) >= c.max { // an agent can invent users for ever
			clear(c.rosters.known)
		}
		c.rosters.known[key] = r
	}
	return r, nil
}

// dropRoster is for a change of one of a user's connections.
func (c *Cache) dropRoster(key connection.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropRosterLocked(key)
}

func (c *Cache) dropRosterLocked(key connection.Key) {
	key.Account = ""
	delete(c.rosters.known, key)
	if overtaken := c.rosters.reading[key]; overtaken != nil {
		*overtaken = true
	}
}

func (c *Cache) dropRostersLocked() {
	clear(c.rosters.known)
	for _, overtaken := range c.rosters.reading {
		*overtaken = true
	}
}
