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
				c.Put(current)
				return current, nil
			case loadErr == nil:
				base = current // something else changed, such as a label: keep both
			}
		}
		if attempt == len(waits) || !pause(ctx, waits[attempt]) {
			return connection.Connection{}, err
		}
	}
}

// saveHeld saves what an earlier refresh could not, before anything else is done.
func (c *Cache) saveHeld(ctx context.Context, key connection.Key) error {
	e, known := c.peek(key)
	if !known || e.held == nil {
		return nil
	}
	ctx, cancel := within(ctx, prepareLimit)
	defer cancel()
	base, err := c.vault.Load(ctx, key)
	if err == nil && e.held.succeeds(base) {
		// Few attempts: callers wait, and the next one tries again.
		_, err = c.save(ctx, base, *e.held, saveWaits[:1])
	}
	if err != nil && !errors.Is(err, connection.ErrNotConnected) {
		return err
	}
	c.letGo(key, e.held)
	switch {
	case err != nil:
		c.forget(e.conn)
	case !e.held.succeeds(base):
		c.Put(base) // the user connected again, or took the grant back
	}
	return err
}

// hold keeps a purchase in memory, also where the connection was pushed out of the
// cache while it was refreshed, and sees to it that it is saved.
func (c *Cache) hold(base connection.Connection, bought *purchase) entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.putLocked(base)
	e.held = bought
	if !c.saving {
		c.saving = true
		c.saver.Go(c.keepSaving)
	}
	return e.shown()
}

// shown is the entry as it is used: with what is held, as if that were saved.
func (e entry) shown() entry {
	if e.held != nil && e.held.succeeds(e.conn) {
		e.conn = renewed(e.conn, e.held.grant, e.held.since)
	}
	return e
}

const (
	// saveAgain is the time between attempts to save what is held.
	saveAgain = time.Second
	// saveForDays is for how long that goes on while nobody uses the connection.
	saveForDays = 7 * 24 * time.Hour
)

// keepSaving tries to save what is held, until nothing is.
func (c *Cache) keepSaving() {
	for pause(c.life, saveAgain) && !c.saved() { // Close tries once more
		for _, key := range c.heldKeys() {
			_ = c.saveHeld(c.life, key)
		}
	}
}

// saved reports whether keepSaving has nothing left to do, and if so, that it ends.
func (c *Cache) saved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if e.held != nil && c.now().Sub(e.held.since) < saveForDays {
			return false
		}
	}
	c.saving = false
	return true
}

func (c *Cache) letGo(key connection.Key, bought *purchase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil && e.held == bought {
		e.held = nil
	}
}

// heldKeys are the connections whose new token is not saved yet.
func (c *Cache) heldKeys() []connection.Key {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var keys []connection.Key
	for key, e := range c.entries {
		if e.held != nil {
			keys = append(keys, key)
		}
	}
	return keys
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
