// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package tokencache gives credentials that work now: from memory, from the
// store, or from the provider, refreshed once however many ask.
package tokencache

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
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
	OfToolkit(ctx context.Context, toolkit, next string, limit int) (found []connection.Connection, after string, err error)
	Accounts(ctx context.Context, key connection.Key) (connection.Accounts, error)
}

// Refresher calls a provider's token endpoint; *oauth.Client is one.
type Refresher interface {
	Refresh(ctx context.Context, o *toolkit.OAuth2, refreshToken secret.String) (oauth.Grant, error)
}

// Config makes a Cache.
type Config struct {
	Vault Vault
	// Changed is told of connections that another gateway may have changed, when the cache
	// knows of it. It must not block. Nil: nobody.
	Changed func(connection.Key)
	// MaxEntries bounds the connections in memory. Zero: 10,000.
	MaxEntries int
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Cache holds the connections that are in use. It outlives a change of
// configuration, so that overlapping ones share one refresh; what belongs to a
// configuration stands in a [Source].
type Cache struct {
	vault   Vault
	now     func() time.Time
	changed func(connection.Key)
	max     int

	mu      sync.RWMutex
	entries map[connection.Key]*entry
	absent  map[connection.Key]time.Time // until when nobody looks again
	saving  bool                         // somebody is at work on what is held
	stopped map[string]string            // by toolkit: at which connection RenewUnused did
	rosters rosters

	mark  string        // begins the intents of this process
	back  chan struct{} // the store may take what is held
	saver sync.WaitGroup
	life  context.Context // until Close
	end   context.CancelFunc
	news  news

	loads     flight[connection.Key, connection.Connection]
	refreshes flight[connection.Key, connection.Connection]
}

// entry is what is known of one connection. Its fields belong to Cache.mu.
type entry struct {
	conn connection.Connection
	// held is a grant that the store has not taken yet; conn is without it but in
	// peek's copies.
	held *purchase
	// saveAt is before when it is not tried to save that, and refusals how often in a
	// row the store did not take it though it was there.
	saveAt   time.Time
	refusals int
	// calm is until when the token endpoint is left alone after a fault, and
	// faults how many came in a row.
	calm   time.Time
	fault  *problem.Problem
	faults int
	// slow is until when nobody waits for an early refresh: one takes long.
	slow time.Time
	// rejections are what the provider refused although the token was new.
	rejections rejections
	trust      trust
	used       *usage
}

// Source gives credentials from a cache, with one configuration's way to the
// token endpoints.
type Source struct {
	*Cache
	refresher Refresher
	observe   func(Event)

	// MaxStale is for how long after it was last read a connection is still used
	// while a shared store is away. Zero: for as long as its access token lives;
	// less: not at all.
	MaxStale time.Duration
}

// Source makes a source over c. observe is told of events; nil: nobody.
func (c *Cache) Source(refresher Refresher, observe func(Event)) *Source {
	return &Source{Cache: c, refresher: refresher, observe: observe}
}

// New makes a cache. It does nothing until it is asked.
func New(cfg Config) *Cache {
	c := &Cache{vault: cfg.Vault, now: cfg.Now, changed: cfg.Changed, max: cfg.MaxEntries, entries: map[connection.Key]*entry{}, absent: map[connection.Key]time.Time{}}
	if c.now == nil {
		c.now = time.Now
	}
	if c.max <= 0 {
		c.max = 10_000
	}
	c.stopped = map[string]string{}
	c.rosters.known, c.rosters.reading = map[connection.Key]roster{}, map[connection.Key]*bool{}
	c.mark, c.back = rand.Text()[:8]+"-", make(chan struct{}, 1)
	c.news.readings = map[connection.Key]*reading{}
	c.life, c.end = context.WithCancel(context.Background())
	if w, watches := cfg.Vault.(watcher); watches && w.Shared() {
		c.news.from = w
	}
	return c
}

// Close begins no refresh any more and returns when none is under way: a rotated
// token is saved by then. Calls that need the store or the provider get a 503.
func (c *Cache) Close() {
	c.refreshes.end()
	c.loads.end()
	c.rosters.loads.end()
	c.end()
	c.saver.Wait()
	// What the store would not take is tried once more, all of it within one time: it
	// is the last chance, and who ends this process waits.
	ctx, cancel := context.WithTimeout(context.Background(), prepareLimit)
	defer cancel()
	c.saveAll(ctx, c.heldKeys(c.now().Add(longestRest)))
}

// Token gives a connection whose access token works now, as far as we know. The key's
// account is as the agent names it: an id, a label, or "" for the user's default. Errors:
// *connection.Unusable where the user has to connect, *connection.Ambiguous where the
// agent has to choose, and a *problem.Problem for everything that passes.
func (c *Source) Token(ctx context.Context, tk *toolkit.Toolkit, key connection.Key) (connection.Connection, error) {
	return c.TokenFor(ctx, tk, key, func(connection.Connection) error { return nil })
}

// TokenFor is [Source.Token] for a caller that may not use every connection: admit is
// asked before a token is renewed, and its errors are given as they are.
func (c *Source) TokenFor(ctx context.Context, tk *toolkit.Toolkit, key connection.Key, admit func(connection.Connection) error) (connection.Connection, error) {
	var e entry
	var err error
	if key.Account == "" {
		e, err = c.entry(ctx, tk, key)
	}
	if key.Account != "" || err != nil || e.conn.NotDefault {
		e, err = c.meant(ctx, tk, key, e, err)
	}
	if err == nil {
		e, err = c.admitted(ctx, tk, e, admit)
	}
	if err != nil {
		return connection.Connection{}, err
	}
	now := c.now()
	e.touch(now)
	switch {
	case tk.OAuth == nil:
		return e.conn, nil
	case e.conn.Stale(now), e.conn.AccessToken.IsZero(): // brought in with a refresh token alone, by a clock that is ahead
		return c.refresh(ctx, tk, e.conn)
	case renewalDue(tk.OAuth, e.conn, now) && !now.Before(e.calm):
		return c.renewEarly(ctx, tk, e, now)
	}
	return e.conn, nil
}

// earlyWait bounds how long a call waits for a refresh that it could do without.
const earlyWait = 2 * time.Second

// renewEarly refreshes ahead of time. It waits for the result, because some
// providers end the old token the moment they give a new one, but not for long, and
// once it took long, no more calls wait: the token at hand is still good.
func (c *Source) renewEarly(ctx context.Context, tk *toolkit.Toolkit, e entry, now time.Time) (connection.Connection, error) {
	wait := min(earlyWait, e.conn.ExpiresAt.Sub(now)/2)
	if now.Before(e.slow) {
		wait = 0
	}
	patience, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fresh, err := c.refresh(patience, tk, e.conn)
	if err == nil {
		return fresh, nil
	}
	if _, gone := errors.AsType[*connection.Unusable](err); gone {
		return connection.Connection{}, err
	}
	if wait > 0 && patience.Err() != nil {
		c.noteSlow(e.conn.Key, now.Add(requestLimit))
	}
	return e.conn, ctx.Err()
}

func (c *Cache) noteSlow(key connection.Key, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		e.slow = until
	}
}

// Renew gives a connection with another access token than stale's, which the
// provider has just refused. Errors are as Token's.
func (c *Source) Renew(ctx context.Context, tk *toolkit.Toolkit, stale connection.Connection) (connection.Connection, error) {
	e, err := c.entry(ctx, tk, stale.Key)
	if err != nil {
		return connection.Connection{}, err
	}
	now := c.now()
	// A latecomer: somebody has renewed it meanwhile. Another refresh would
	// throw away a good token and, where tokens rotate at once, break the
	// calls that are using it.
	if newer(e.conn, stale, now) {
		return e.conn, nil
	}
	if tk.OAuth == nil || tk.OAuth.RenewWith(e.conn.AccessToken, e.conn.RefreshToken, true).IsZero() || e.rejections.recent(now) && !e.conn.Stale(now) {
		return connection.Connection{}, &connection.Unusable{Status: connection.Active, Reason: connection.ProviderRejected}
	}
	return c.refresh(ctx, tk, stale)
}

// newer reports whether fresh was renewed since stale, and can be used. Some
// providers renew a token by giving the same one a longer life.
func newer(fresh, stale connection.Connection, now time.Time) bool {
	return fresh.Usable(now) && (!fresh.AccessToken.Equal(stale.AccessToken) || !fresh.ExpiresAt.Equal(stale.ExpiresAt))
}

// usable reports why a connection cannot be used with this toolkit, if it cannot.
func usable(conn connection.Connection, tk *toolkit.Toolkit) error {
	if conn.Status != connection.Active {
		return &connection.Unusable{Status: conn.Status, Reason: conn.Reason}
	}
	if issuer, client := tk.GranteeOf(conn.Variables); conn.Granted.ClientID != client || conn.Granted.Issuer != issuer {
		// Another client or another authorization server, and its refresh token
		// must not be sent there; or a key in another form.
		return &connection.Unusable{Status: connection.Active, Reason: connection.GrantMoved}
	}
	if tk.Allows(conn.Variables) != nil {
		// The toolkit has got a variable since, or does not allow its value any more.
		return &connection.Unusable{Status: connection.Active, Reason: connection.GrantMoved}
	}
	return nil
}

// entry gives what is known of a connection that can be used, reading it if need be.
// It is read again where it cannot be used as far as we know: before a user is sent
// to connect, let us see whether that has been done at another gateway.
func (c *Source) entry(ctx context.Context, tk *toolkit.Toolkit, key connection.Key) (entry, error) {
	e, known := c.peek(key)
	if !known && c.isAbsent(key) {
		return entry{}, trouble(connection.ErrNotConnected)
	}
	known = known && usable(e.conn, tk) == nil
	if known && c.current(e) {
		return e, nil
	}
	var conn connection.Connection
	var err error
	if known && c.mayServe(e) {
		conn, err = c.reread(ctx, e)
	} else {
		conn, err = c.load(ctx, key)
	}
	if err != nil {
		return entry{}, err
	}
	if err := usable(conn, tk); err != nil {
		return entry{}, err
	}
	if e, known := c.peek(key); known && e.conn.Version == conn.Version {
		return e, nil
	}
	return entry{conn: conn}, nil // changed or pushed out in the same moment
}

// load reads a connection from the store, once for all who ask at the same time.
func (c *Cache) load(ctx context.Context, key connection.Key) (connection.Connection, error) {
	conn, err := c.loads.do(ctx, key, loadLimit, func(ctx context.Context) (connection.Connection, error) {
		known, _ := c.peek(key)
		r := c.beginReading(key)
		defer c.endReading(key)
		conn, err := c.vault.Load(ctx, key)
		if errors.Is(err, connection.ErrNotConnected) {
			c.forget(known.conn)
			c.noteAbsent(key)
		}
		if err != nil {
			return connection.Connection{}, err
		}
		return c.learn(conn, known.conn, r), nil
	})
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return connection.Connection{}, ctx.Err() // the caller hung up; nothing is wrong with the store
	default:
		return connection.Connection{}, trouble(err)
	}
}

const loadLimit = 15 * time.Second

func (c *Cache) peek(key connection.Key) (entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.entries[key]; e != nil {
		return e.shown(), true
	}
	return entry{}, false
}

// trouble turns an error of the vault into what callers of the cache get.
func trouble(err error) error {
	if errors.Is(err, connection.ErrNotConnected) {
		return &connection.Unusable{Status: connection.NotConnected, Reason: connection.NoConnection}
	}
	return vault.Problem(err)
}
