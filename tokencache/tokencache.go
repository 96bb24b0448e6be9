// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package tokencache gives credentials that work now: from memory, from the
// store, or from the provider, refreshed once however many ask.
package tokencache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// Vault keeps connections; *vault.Vault is one.
type Vault interface {
	Load(ctx context.Context, key connection.Key) (connection.Connection, error)
	Save(ctx context.Context, c connection.Connection) (connection.Connection, error)
	Lease(ctx context.Context, name string, ttl time.Duration) (store.Lease, error)
}

// Refresher calls a provider's token endpoint; *oauth.Client is one.
type Refresher interface {
	Refresh(ctx context.Context, o *toolkit.OAuth2, refreshToken secret.String) (oauth.Grant, error)
}

// Config makes a Cache.
type Config struct {
	Vault Vault
	// MaxEntries bounds the connections in memory. Zero: 10,000.
	MaxEntries int
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Cache holds the connections that are in use. It outlives a change of
// configuration, so that overlapping ones share one refresh; what belongs to a
// configuration stands in a [Source].
type Cache struct {
	vault Vault
	now   func() time.Time
	max   int

	mu      sync.RWMutex
	entries map[connection.Key]*entry

	loads     flight[connection.Key, connection.Connection]
	refreshes flight[connection.Key, connection.Connection]
}

// entry is what is known of one connection. Its fields belong to Cache.mu.
type entry struct {
	conn connection.Connection
	// held is a grant that the store has not taken yet.
	held *purchase
	// calm is until when the token endpoint is left alone after a passing
	// fault, and faults how many came in a row.
	calm   time.Time
	faults int
	// rejections are what the provider refused although the token was new.
	rejections rejections
}

// Source gives credentials from a cache, with one configuration's way to the
// token endpoints.
type Source struct {
	*Cache
	refresher Refresher
	observe   func(Event)
}

// Source makes a source over c. observe is told of events; nil: nobody.
func (c *Cache) Source(refresher Refresher, observe func(Event)) *Source {
	return &Source{c, refresher, observe}
}

// New makes a cache. It does nothing until it is asked.
func New(cfg Config) *Cache {
	c := &Cache{vault: cfg.Vault, now: cfg.Now, max: cfg.MaxEntries, entries: map[connection.Key]*entry{}}
	if c.now == nil {
		c.now = time.Now
	}
	if c.max <= 0 {
		c.max = 10_000
	}
	return c
}

// Wait returns when no refresh is under way. A rotated token is saved by then.
func (c *Cache) Wait() {
	c.loads.wait()
	c.refreshes.wait()
}

// Token gives a connection whose access token works now, as far as we know. Errors:
// *connection.Unusable where the user has to connect, and a *problem.Problem for
// everything that passes.
func (c *Source) Token(ctx context.Context, tk *toolkit.Toolkit, key connection.Key) (connection.Connection, error) {
	e, err := c.entry(ctx, key)
	if err != nil {
		return connection.Connection{}, err
	}
	if err := usable(e.conn, tk); err != nil {
		return connection.Connection{}, err
	}
	now := c.now()
	switch {
	case tk.OAuth == nil:
		return e.conn, nil
	case e.conn.Stale(now):
		return c.refresh(ctx, tk, e.conn)
	case renewalDue(e.conn, tk.OAuth.RefreshBuffer, now) && !now.Before(e.calm):
		return c.renewEarly(ctx, tk, e.conn, now)
	}
	return e.conn, nil
}

// earlyWait bounds how long a call waits for a refresh that it could do without.
const earlyWait = 2 * time.Second

// renewEarly refreshes ahead of time. It waits for the result, because some
// providers end the old token the moment they give a new one, but not for long:
// the token at hand is still good.
func (c *Source) renewEarly(ctx context.Context, tk *toolkit.Toolkit, conn connection.Connection, now time.Time) (connection.Connection, error) {
	patience, cancel := context.WithTimeout(ctx, min(earlyWait, conn.ExpiresAt.Sub(now)/2))
	defer cancel()
	if fresh, err := c.refresh(patience, tk, conn); err == nil {
		return fresh, nil
	} else if _, gone := errors.AsType[*connection.Unusable](err); gone {
		return connection.Connection{}, err
	}
	return conn, ctx.Err()
}

// Renew gives a connection with another access token than stale's, which the
// provider has just refused. Errors are as Token's.
func (c *Source) Renew(ctx context.Context, tk *toolkit.Toolkit, stale connection.Connection) (connection.Connection, error) {
	e, err := c.entry(ctx, stale.Key)
	if err != nil {
		return connection.Connection{}, err
	}
	if err := usable(e.conn, tk); err != nil {
		return connection.Connection{}, err
	}
	// A latecomer: somebody has renewed it meanwhile. Another refresh would
	// throw away a good token and, where tokens rotate at once, break the
	// calls that are using it.
	if newer(e.conn, stale, c.now()) {
		return e.conn, nil
	}
	if tk.OAuth == nil || e.conn.RefreshToken.IsZero() || e.rejections.recent(c.now()) {
		return connection.Connection{}, &connection.Unusable{Status: connection.Active, Reason: connection.ProviderRejected}
	}
	return c.refresh(ctx, tk, stale)
}

// Put tells the cache of a connection that was just saved or read.
func (c *Cache) Put(conn connection.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putLocked(conn)
}

// keep is Put for what a refresh gave: a new token by itself does not prove that
// the provider takes it.
func (c *Cache) keep(conn connection.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var before rejections
	if e := c.entries[conn.Key]; e != nil {
		before = e.rejections
	}
	c.putLocked(conn).rejections = before
}

// newer reports whether fresh has another token than stale, and one that can be used.
func newer(fresh, stale connection.Connection, now time.Time) bool {
	return !fresh.AccessToken.Equal(stale.AccessToken) && fresh.Usable(now)
}

// usable reports why a connection cannot be used with this toolkit, if it cannot.
func usable(conn connection.Connection, tk *toolkit.Toolkit) error {
	if conn.Status != connection.Active {
		return &connection.Unusable{Status: conn.Status, Reason: conn.Reason}
	}
	if tk.OAuth != nil && (conn.Granted.ClientID != tk.OAuth.ClientID || conn.Granted.Issuer != tk.OAuth.Grantor()) {
		// Another client or another authorization server: its refresh token
		// must not be sent there.
		return &connection.Unusable{Status: connection.Active, Reason: connection.GrantMoved}
	}
	return nil
}

// entry gives what is known of a connection, loading it if need be.
func (c *Cache) entry(ctx context.Context, key connection.Key) (entry, error) {
	if e, known := c.peek(key); known {
		return e, nil
	}
	_, err := c.loads.do(ctx, key, loadLimit, func(ctx context.Context) (connection.Connection, error) {
		conn, err := c.vault.Load(ctx, key)
		if err == nil {
			c.Put(conn)
		}
		return conn, err
	})
	if err != nil {
		return entry{}, trouble(ctx, err)
	}
	if e, known := c.peek(key); known {
		return e, nil
	}
	// Pushed out of the full cache in the same moment.
	conn, err := c.vault.Load(ctx, key)
	if err != nil {
		return entry{}, trouble(ctx, err)
	}
	return entry{conn: conn}, nil
}

const loadLimit = 15 * time.Second

func (c *Cache) peek(key connection.Key) (entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.entries[key]; e != nil {
		return *e, true
	}
	return entry{}, false
}

// putLocked keeps conn unless a later version is known already: a slow read must
// not bring back what was replaced while it was under way. Records are never
// deleted and made anew, so versions only grow.
func (c *Cache) putLocked(conn connection.Connection) *entry {
	e := c.entries[conn.Key]
	if e == nil {
		c.makeRoomLocked()
		e = &entry{}
		c.entries[conn.Key] = e
	} else if e.conn.Version > conn.Version {
		return e
	}
	if !e.conn.AccessToken.Equal(conn.AccessToken) {
		*e = entry{}
	}
	e.conn = conn
	return e
}

// makeRoomLocked pushes out some entry when the cache is full; Go's map order
// makes it a random one. Tokens that are not saved yet stay.
func (c *Cache) makeRoomLocked() {
	if len(c.entries) < c.max {
		return
	}
	for key, e := range c.entries {
		if e.held == nil {
			delete(c.entries, key)
			return
		}
	}
}

// trouble turns an error of the vault into what callers of the cache get.
func trouble(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, connection.ErrNotConnected):
		return &connection.Unusable{Status: connection.NotConnected, Reason: connection.NoConnection}
	case ctx.Err() != nil:
		return ctx.Err() // the caller hung up; nothing is wrong with the store
	default:
		return vault.Problem(err)
	}
}
