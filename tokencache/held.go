// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
)

// saveHeld saves what an earlier refresh could not, before anything else is done. ctx
// says for how long.
func (c *Cache) saveHeld(ctx context.Context, key connection.Key) error {
	e, known := c.peek(key)
	if !known || e.held == nil {
		return nil
	}
	base, err := c.vault.Load(ctx, key)
	if err == nil {
		c.goBack(base, e.conn)
		if e, _ = c.peek(key); e.held == nil {
			return nil
		}
	}
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
	return c.holdLocked(base, bought)
}

func (c *Cache) holdLocked(base connection.Connection, bought *purchase) entry {
	e := c.putLocked(base)
	e.held, e.saveAt, e.refusals = bought, time.Time{}, 0
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
	for c.awaitStore(saveAgain) && !c.saved() { // Close tries once more
		ctx, cancel := context.WithTimeout(c.life, prepareLimit)
		c.saveAll(ctx, c.heldKeys(c.now()))
		cancel()
	}
}

// awaitStore waits for so long, or until a store that was away tells again: another
// gateway may be about to spend the token that is still in it. It reports whether there
// is time left.
func (c *Cache) awaitStore(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.back:
	case <-c.life.Done():
	}
	return c.life.Err() == nil
}

// saveAll tries to save what is held, all at once: what the store does not take, or
// does not answer to, keeps nothing else waiting.
func (c *Cache) saveAll(ctx context.Context, keys []connection.Key) {
	var all sync.WaitGroup
	for _, key := range keys {
		all.Go(func() {
			switch err := c.saveHeld(ctx, key); {
			case err == nil, ctx.Err() != nil, storeAway(err), errors.Is(err, store.ErrConflict):
			default:
				c.putOff(key)
			}
		})
	}
	all.Wait()
}

// putOff is for what the store refuses though it is there, such as a token too long to
// keep: it will most likely do so again, for days.
func (c *Cache) putOff(key connection.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		e.saveAt = c.now().Add(doubling(saveAgain, e.refusals))
		e.refusals++
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

// heldKeys are the connections whose new token is not saved yet, and is to be tried at
// that time.
func (c *Cache) heldKeys(at time.Time) []connection.Key {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var keys []connection.Key
	for key, e := range c.entries {
		if e.held != nil && !at.Before(e.saveAt) {
			keys = append(keys, key)
		}
	}
	return keys
}
