// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
)

// purchase is a new grant and the token that paid for it: the refresh token or, where
// there is none, the access token before. Until it is in
// the store, it exists in this process alone.
type purchase struct {
	spent secret.String
	grant oauth.Grant
	since time.Time // when it was held, if it is
}

// succeeds reports whether the purchase still counts: not if the user connected
// again, took the grant back, or somebody else was later. Where the grant replaces what
// paid for it, a record that still holds that is older, whatever the clocks of two
// gateways say: theirs would have a rotated token dropped without a word. They are
// asked only where the same token pays again and again.
func (p purchase) succeeds(conn connection.Connection) bool {
	if !p.paidFrom(conn) {
		return false
	}
	return !p.paidFrom(renewed(conn, p.grant, time.Time{})) || !conn.IssuedAt.After(p.grant.IssuedAt)
}

// paidFrom reports whether a connection holds the token that was spent.
func (p purchase) paidFrom(conn connection.Connection) bool {
	return conn.RefreshToken.Equal(p.spent) || conn.AccessToken.Equal(p.spent)
}

// saveWaits are the pauses between attempts to save a new token.
var saveWaits = []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, time.Second, 3 * time.Second, 6 * time.Second}

// commit saves a new grant before anybody uses it. Where the store will not take it,
// however often it is asked, the token is held in memory and used from there: the old
// one is spent, and a user who is kept waiting as well has gained nothing.
func (c *Source) commit(ctx context.Context, base connection.Connection, bought purchase) (connection.Connection, error) {
	ctx, cancel := within(ctx, saveLimit)
	defer cancel()
	saved, err := c.save(ctx, base, bought, saveWaits)
	switch {
	case err == nil:
		return saved, nil
	case errors.Is(err, connection.ErrNotConnected):
		return connection.Connection{}, trouble(err)
	}
	bought.since = c.now()
	c.tell(Event{Kind: Unsaved, Key: base.Key, Err: err})
	return c.hold(base, &bought).conn, nil
}

// save writes a purchase, trying again after each of the waits. It gives what is in
// the store then: ours, or what made ours worthless.
func (c *Cache) save(ctx context.Context, base connection.Connection, bought purchase, waits []time.Duration) (connection.Connection, error) {
	for attempt := 0; ; attempt++ {
		saved, err := c.vault.Save(ctx, renewed(base, bought.grant, c.now()))
		if err == nil {
			c.keep(saved)
			return saved, nil
		}
		if errors.Is(err, store.ErrConflict) {
			current, loadErr := c.vault.Load(ctx, base.Key)
			switch {
			case errors.Is(loadErr, connection.ErrNotConnected):
				return connection.Connection{}, loadErr // nothing is left to renew
			case loadErr == nil && !bought.succeeds(current):
				again := lost(current, renewed(base, bought.grant, c.now()), c.now())
				if again == nil {
					c.Put(current)
					return current, nil
				}
				base, bought = current, *again // with it the store lost what paid for it
			case loadErr == nil:
				base = current // something else changed, such as a label: keep both
			}
		}
		if errors.Is(err, store.ErrInvalid) || attempt == len(waits) || !pause(ctx, waits[attempt]) {
			return connection.Connection{}, err
		}
	}
}

// pause waits, and reports whether there is time left.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
