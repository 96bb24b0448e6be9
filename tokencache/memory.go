// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"time"

	"github.com/toolgate/toolgate/connection"
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

// touch notes that an entry was asked for.
func (e entry) touch(now time.Time) {
	if e.used == nil { // it was pushed out in this very moment
		return
	}
	if at := now.Unix(); e.used.Load() != at { // else each call would write to memory that all cores share
		e.used.Store(at)
	}
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
		if e.held == nil && !now.Before(e.calm) && now.Unix()-e.used.Load() > int64(idleLife/time.Second) {
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
