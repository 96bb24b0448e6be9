// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

const (
	// absentLife is for how long a connection that is not there is not looked for
	// again: an agent without one may ask in a loop. No longer, since a connect at
	// another gateway has to be felt within a second, told or not.
	absentLife = time.Second
	// idleLife is for how long a connection that nobody asks for stays in memory:
	// tokens are in the clear there.
	idleLife = 15 * time.Minute
)

// isAbsent reports whether a connection was not there a moment ago.
func (c *Cache) isAbsent(key connection.Key) bool {
	c.mu.RLock()
	until, known := c.absent[key]
	c.mu.RUnlock()
	return known && c.now().Before(until)
}

// noteAbsent is for a connection that is not in the store. There are no more of them
// than of those that are there: an agent can invent users for ever.
func (c *Cache) noteAbsent(key connection.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.absent) >= c.max {
		clear(c.absent)
	}
	c.absent[key] = c.now().Add(absentLife)
}

// usage is when an entry was last asked for, or made, in Unix seconds, and whether any
// call has asked for it.
type usage struct {
	at     atomic.Int64
	called atomic.Bool
}

// touch notes that an entry was asked for.
func (e entry) touch(now time.Time) {
	if e.used == nil { // it was pushed out in this very moment
		return
	}
	if at := now.Unix(); e.used.at.Load() != at { // else each call would write to memory that all cores share
		e.used.at.Store(at)
	}
	if !e.used.called.Load() {
		e.used.called.Store(true)
	}
}

const (
	// useEvery is how often it is written down that a connection is in use.
	useEvery = time.Hour
	// usesAtOnce bounds how many are written down in one go.
	usesAtOnce = 200
)

// NoteUse writes down which connections were used, for their users to see. It is for a
// job in the background: no call waits for it, and it gives way to whoever else writes.
// It returns how many it wrote down.
func (c *Cache) NoteUse(ctx context.Context) (noted int, err error) {
	for _, conn := range c.unnoted() {
		saved, err := c.vault.Save(ctx, conn)
		switch {
		case err == nil:
			c.put(saved)
			noted++
		case vault.OfOneRecord(err), errors.Is(err, store.ErrConflict): // a refresh, a disconnect: another time
		default:
			return noted, err
		}
	}
	return noted, nil
}

// unnoted are connections with a use that is not written down.
func (c *Cache) unnoted() (due []connection.Connection) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, e := range c.entries {
		at := time.Unix(e.used.at.Load(), 0).UTC()
		if !e.used.called.Load() || at.Sub(e.conn.LastUsed) < useEvery || e.held != nil || e.conn.Intent != nil {
			continue
		}
		conn := e.conn
		conn.LastUsed = at
		if due = append(due, conn); len(due) == usesAtOnce {
			break
		}
	}
	return due
}

// Unsaved reports whether a connection's newest token could not be saved yet.
func (c *Cache) Unsaved(key connection.Key) bool {
	e, _ := c.peek(key)
	return e.held != nil
}

// Tidy forgets what nobody has asked for in a while. What is not saved yet stays, and
// what is known of faults for as long as they count.
func (c *Cache) Tidy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for key, e := range c.entries {
		if e.held == nil && !now.Before(e.calm) && now.Unix()-e.used.at.Load() > int64(idleLife/time.Second) {
			delete(c.entries, key)
		}
	}
	for key, r := range c.rosters.known {
		if now.Sub(r.asOf) >= idleLife {
			delete(c.rosters.known, key)
		}
	}
	for key, until := range c.absent {
		if !now.Before(until) {
			delete(c.absent, key)
		}
	}
}
