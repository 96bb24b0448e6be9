// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// watcher is a Vault whose store other gateways may write to as well.
type watcher interface {
	Shared() bool
	Watch(ctx context.Context, tell func(vault.News)) error
}

const (
	// DeafTrust is for how long what was read is taken for true while changes
	// made by other gateways are not told: the bound within which they are felt.
	DeafTrust = 30 * time.Second
	// hearingTrust is the same while they are told. Not for ever: a node of a
	// cluster that is cut off from the others answers us and tells us nothing.
	hearingTrust = 5 * time.Minute
	// rereadWait is how long a call waits for a reading that it could do without,
	// and awayRest for how long no call waits after one that failed: a store that
	// does not answer must not hold up calls whose token is at hand.
	rereadWait = time.Second
	awayRest   = 5 * time.Second
)

// news is what is known of changes by other gateways. Its fields belong to Cache.mu.
type news struct {
	from      watcher // nil: the store is this process's alone
	listening bool
	away      time.Time // until when the store is taken to be away
	readings  map[connection.Key]*reading
}

// reading is one that is under way. There is no other of the same connection.
type reading struct {
	began time.Time
	// overtaken: it may bring what has changed meanwhile. Each reading has this for
	// itself: where a fleet is busy, something always changes, and with one sign for
	// all no reading would be trusted, and every call would be one.
	overtaken bool
}

// trust is what speaks for an entry.
type trust struct {
	asOf time.Time // when the reading of it began, or its writing ended
	// doubtful: it may have changed since. What did not come from a reading is
	// too, since a change elsewhere may have been told before it was put here.
	doubtful bool
}

// Watch keeps the cache in step with what other gateways do, until ctx ends. report
// is told when the store begins or ceases to tell. Where the store is this
// process's alone, it returns at once.
func (c *Cache) Watch(ctx context.Context, report func(vault.News)) error {
	if c.news.from == nil {
		return nil
	}
	defer c.hear(vault.News{Kind: store.Deaf})
	return c.news.from.Watch(ctx, func(n vault.News) {
		c.hear(n)
		if n.Kind == store.Changed && c.changed != nil {
			c.changed(n.Key)
		}
		if n.Kind != store.Changed && report != nil {
			report(n)
		}
	})
}

// hear marks what may have changed; it is read again when it is asked for. The entry
// stays: what is known of faults must not be forgotten with every write, or the
// token endpoint would have no rest, and a purchase that is held exists nowhere else.
func (c *Cache) hear(n vault.News) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n.Kind {
	case store.Changed:
		if r := c.news.readings[n.Key]; r != nil {
			r.overtaken = true
		}
		delete(c.absent, n.Key)
		c.dropRosterLocked(n.Key)
		if e := c.entries[n.Key]; e != nil {
			e.trust.doubtful = true
		}
	case store.Listening:
		c.news.listening, c.news.away = true, time.Time{}
		clear(c.absent)
		c.dropRostersLocked()
		for _, r := range c.news.readings {
			r.overtaken = true
		}
		for _, e := range c.entries {
			e.trust.doubtful = true
		}
		select {
		case c.back <- struct{}{}:
		default:
		}
	case store.Deaf:
		c.news.listening = false
	}
}

// current reports whether an entry may be used without reading it again.
func (c *Cache) current(e entry) bool {
	if c.news.from == nil || e.held != nil {
		return true
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	limit := DeafTrust
	if c.news.listening {
		limit = hearingTrust
	}
	return !e.trust.doubtful && c.now().Sub(e.trust.asOf) < limit
}

// mayServe reports whether an entry may be used although it is not current, while
// the store is away.
func (c *Source) mayServe(e entry) bool {
	now := c.now()
	return e.conn.Usable(now) && (c.MaxStale == 0 || now.Sub(e.trust.asOf) < c.MaxStale)
}

// reread reads an entry again and gives it as it is where the store is away.
func (c *Cache) reread(ctx context.Context, e entry) (connection.Connection, error) {
	c.mu.RLock()
	away := c.now().Before(c.news.away)
	c.mu.RUnlock()
	if away {
		return e.conn, nil
	}
	patience, cancel := context.WithTimeout(ctx, rereadWait)
	defer cancel()
	conn, err := c.load(patience, e.conn.Key)
	if err == nil || ctx.Err() != nil || patience.Err() == nil && !storeAway(err) {
		return conn, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news.away = c.now().Add(awayRest)
	return e.conn, nil
}

// storeAway reports whether an error is the store's and not that of one record in it,
// which is wrapped with ErrUnavailable too: while the store is taken to be away, no
// change of any other connection is felt.
func storeAway(err error) bool {
	return errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNewer)
}

func (c *Cache) beginReading(key connection.Key) *reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &reading{began: c.now()}
	c.news.readings[key] = r
	return r
}

func (c *Cache) endReading(key connection.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.news.readings, key)
}

// learn is put for what was read. known is what stood here when the reading began:
// where it still does, what was read replaces it, also where it was made anew
// elsewhere and its versions have begun again. News of it that came meanwhile may be of
// something later than what was read.
func (c *Cache) learn(conn, known connection.Connection, r *reading) connection.Connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[conn.Key]; e != nil && c.remade(e.conn, conn) && (e.conn.ID != known.ID || e.conn.Version != known.Version) {
		e.trust.doubtful = true
		return e.conn
	}
	c.goBackLocked(conn, known)
	e := c.putLocked(conn)
	e.trust = trust{asOf: r.began, doubtful: r.overtaken}
	return e.shown().conn
}

// remade reports whether one is another connection than the other, in the same
// place. In a store of our own, whoever deletes it tells the cache.
func (c *Cache) remade(one, other connection.Connection) bool {
	return c.news.from != nil && one.ID != other.ID
}
