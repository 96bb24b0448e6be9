// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"github.com/toolgate/toolgate/connection"
)

// Put tells the cache of a connection that was just saved or read.
func (c *Cache) Put(conn connection.Connection) {
	c.dropRoster(conn.Key)
	c.put(conn)
}

// put is Put, and gives the latest version that is known.
func (c *Cache) put(conn connection.Connection) connection.Connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.putLocked(conn).conn
}

// forget drops a connection that is not in the store any more, unless it has been
// made anew since it was known as conn. One made anew begins at version 1, and the
// old one would win over it.
func (c *Cache) forget(conn connection.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[conn.Key]; e != nil && e.conn.Version == conn.Version {
		delete(c.entries, conn.Key)
	}
}

// keep is Put for what a refresh gave: it ends the faults, but a new token by itself
// does not prove that the provider takes it.
func (c *Cache) keep(conn connection.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var before rejections
	if e := c.entries[conn.Key]; e != nil {
		before = e.rejections
	}
	if e := c.putLocked(conn); e.conn.Version == conn.Version {
		*e = entry{conn: conn, rejections: before, trust: e.trust, used: e.used}
	}
}

// Forget drops a connection that has been taken out of the store, so that the next call
// does not use it. Other gateways hear of it from the store.
func (c *Cache) Forget(key connection.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
	c.dropRosterLocked(key)
}

// putLocked keeps conn unless a later version is known already: a slow read must
// not bring back what was replaced while it was under way.
func (c *Cache) putLocked(conn connection.Connection) *entry {
	delete(c.absent, conn.Key)
	e := c.entries[conn.Key]
	if e == nil {
		c.makeRoomLocked()
		e = &entry{trust: trust{doubtful: true}, used: new(usage)}
		e.used.at.Store(c.now().Unix())
		c.entries[conn.Key] = e
	} else if e.conn.Version > conn.Version && !c.remade(e.conn, conn) {
		return e
	}
	if !e.conn.AccessToken.Equal(conn.AccessToken) {
		*e = entry{trust: trust{doubtful: true}, held: e.held, used: e.used}
	}
	if e.held != nil && !e.held.succeeds(conn) {
		e.held = nil
	}
	e.conn, e.trust.asOf = conn, c.now()
	return e
}

// makeRoomLocked pushes out some entry when the cache is full; Go's map order
// makes it a random one. Tokens that are not saved yet stay, and faults that rest,
// or a full cache would send the token endpoint a request per call.
func (c *Cache) makeRoomLocked() {
	if len(c.entries) < c.max {
		return
	}
	now, tries := c.now(), 0
	for key, e := range c.entries {
		if e.held != nil || tries < roomTries && now.Before(e.calm) {
			tries++
			continue
		}
		delete(c.entries, key)
		return
	}
}

// roomTries bounds the search for an entry that does not rest: in an outage all may.
const roomTries = 20
