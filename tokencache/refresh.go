// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// Each part of a refresh has a limit of its own: with one for all, a long wait for
// the lease would cut short the token request, and a slow token request the saving,
// each with a refresh token spent.
const (
	// leaseLife is longer than the three that follow, so that a lease ends
	// before its holder is done only where the holder died.
	leaseLife    = 90 * time.Second
	prepareLimit = 15 * time.Second // from the lease to the token request
	requestLimit = 40 * time.Second // the token request
	saveLimit    = 30 * time.Second // the saving of what it gave

	// leaseWait outlasts a holder that died.
	leaseWait = leaseLife + 10*time.Second
	// leasePoll is how often somebody else's refresh is looked at.
	leasePoll = 100 * time.Millisecond
	// refreshLimit bounds one refresh with all its waiting and saving.
	refreshLimit = prepareLimit + leaseWait + leaseLife

	// changeTries is how often a record that somebody else changes in between,
	// such as its label, is read again.
	changeTries = 5

	// holderWait gives another gateway time to save what it holds: it tries every
	// saveAgain, and an attempt that was begun while the store was away takes a while.
	holderWait = 5 * saveAgain
)

// within gives ctx's values a time of their own.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// Refresh gives a connection with another token than seen's, though that may be good
// still. Errors are as Token's.
func (c *Source) Refresh(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (connection.Connection, error) {
	if tk.OAuth == nil || tk.OAuth.RenewWith(seen.AccessToken, seen.RefreshToken, seen.Stale(c.now())).IsZero() {
		return connection.Connection{}, noMeans
	}
	return c.refresh(ctx, tk, seen)
}

// refresh gives a connection with another token than seen's. However many ask,
// there is one refresh per connection.
func (c *Source) refresh(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (connection.Connection, error) {
	if fault := c.resting(seen.Key); fault != nil {
		// The token endpoint is left alone, but another gateway may have had
		// more luck, or the user may have connected again there.
		if conn, err := c.load(ctx, seen.Key); err == nil && usable(conn, tk) == nil && newer(conn, seen, c.now()) {
			return conn, nil
		}
		return connection.Connection{}, fault
	}
	conn, err := c.refreshes.do(ctx, seen.Key, refreshLimit, func(ctx context.Context) (connection.Connection, error) {
		return c.renew(ctx, tk, seen)
	})
	switch {
	case errors.Is(err, errOver):
		err = passing(tk, time.Second, err)
	case err == nil:
		err = usable(conn, tk) // the work may be that of another configuration
	}
	if err == nil && conn.AccessToken.IsZero() {
		err = passing(tk, time.Second, errEmpty)
	}
	if err != nil {
		return connection.Connection{}, err
	}
	return conn, nil
}

// errEmpty: while a token was renewed, somebody put a refresh token alone in its place.
// The next call renews with that.
var errEmpty = errors.New("tokencache: there is no access token yet")

// renew is the refresh itself. It runs once per connection in this process; the
// lease keeps other gateways from doing it at the same time, and the store's
// compare-and-swap decides if that fails.
func (c *Source) renew(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (connection.Connection, error) {
	brief, cancel := within(ctx, prepareLimit)
	defer cancel()
	if err := c.saveHeld(brief, seen.Key); err != nil {
		return connection.Connection{}, trouble(err)
	}
	if conn, settled, err := c.look(ctx, tk, seen); settled || err != nil {
		return conn, err
	}
	release, conn, err := c.lease(ctx, tk, seen)
	if release == nil {
		return conn, err
	}
	defer func() {
		if e, _ := c.peek(seen.Key); e.held == nil {
			release()
		} // else others would spend the old token once more: it is the one in the store
	}()
	noted, settled, err := c.note(ctx, tk, seen)
	if settled || err != nil {
		return noted, err
	}
	return c.spend(ctx, tk, noted)
}

// lease takes the connection's lease. Without a release function, there is an error
// or what the lease's holder made.
func (c *Source) lease(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (release func(), made connection.Connection, err error) {
	patience, cancel := within(ctx, leaseWait)
	defer cancel()
	for {
		lease, err := c.vault.Lease(ctx, leaseName(seen.Key), leaseLife)
		if err == nil {
			return func() { c.release(ctx, lease) }, connection.Connection{}, nil
		}
		if !errors.Is(err, store.ErrHeld) {
			return nil, connection.Connection{}, trouble(err)
		}
		if c.refreshes.ending() || !pause(patience, leasePoll) {
			return nil, connection.Connection{}, passing(tk, time.Second, err)
		}
		if conn, settled, err := c.look(ctx, tk, seen); settled || err != nil {
			return nil, conn, err
		}
	}
}

// release is no matter of life and death: a lease ends by itself.
func (c *Source) release(ctx context.Context, lease store.Lease) {
	ctx, cancel := within(ctx, prepareLimit)
	defer cancel()
	_ = lease.Release(ctx)
}

// look reads the connection and reports whether there is nothing left to do:
// somebody renewed the token. It is an error if the connection cannot be used any
// more.
func (c *Source) look(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (conn connection.Connection, settled bool, err error) {
	conn, err = c.read(ctx, seen.Key)
	if err != nil {
		return connection.Connection{}, false, trouble(err)
	}
	if err := usable(conn, tk); err != nil {
		return connection.Connection{}, false, err
	}
	if newer(conn, seen, c.now()) {
		return conn, true, nil
	}
	if c.payment(tk, conn).IsZero() {
		return connection.Connection{}, false, noMeans
	}
	return conn, false, nil
}

// read reads a connection that is about to be renewed. Where the store has lost its
// newest token, that is saved again first.
func (c *Cache) read(ctx context.Context, key connection.Key) (connection.Connection, error) {
	for {
		known, _ := c.peek(key)
		conn, err := c.vault.Load(ctx, key)
		if err != nil {
			return connection.Connection{}, err
		}
		c.goBack(conn, known.conn)
		c.Put(conn)
		if e, _ := c.peek(key); e.held == nil {
			return conn, nil
		}
		if err := c.saveHeld(ctx, key); err != nil {
			return connection.Connection{}, err
		}
	}
}

// payment is the token that is sent for a new one. Zero: there is none that could be.
func (c *Cache) payment(tk *toolkit.Toolkit, conn connection.Connection) secret.String {
	return tk.OAuth.RenewWith(conn.AccessToken, conn.RefreshToken, conn.Stale(c.now()))
}

// note looks again, since another gateway may have renewed the token while we
// waited, and writes down that the refresh token is about to be spent.
func (c *Source) note(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (noted connection.Connection, settled bool, err error) {
	ctx, cancel := within(ctx, prepareLimit)
	defer cancel()
	waited := false
	for range changeTries {
		if c.refreshes.ending() {
			// The store will not wait for the provider's answer.
			return connection.Connection{}, false, passing(tk, time.Second, errOver)
		}
		conn, settled, err := c.look(ctx, tk, seen)
		if settled || err != nil {
			return conn, settled, err
		}
		left := conn.Intent
		if left != nil && !c.wrote(*left) && !waited {
			// We have the lease, and yet whoever wrote this may be alive, with the new
			// token in hand: after an outage longer than the lease, we may be here
			// before they have saved it.
			waited = pause(ctx, holderWait)
			continue
		}
		conn.Intent = &connection.Intent{ID: c.mark + rand.Text(), Since: c.now().Round(0).UTC()}
		noted, err := c.vault.Save(ctx, conn)
		switch {
		case err == nil:
			c.Put(noted)
			if left != nil {
				// Whoever wrote this did not come to an end.
				c.tell(Event{Kind: Interrupted, Key: conn.Key, IntentID: left.ID})
			}
			return noted, false, nil
		case !errors.Is(err, store.ErrConflict):
			return connection.Connection{}, false, trouble(err) // nothing was spent
		}
	}
	return connection.Connection{}, false, passing(tk, time.Second, store.ErrConflict)
}

// wrote reports whether an intent is this process's own. It holds nothing then, or
// would have saved that first.
func (c *Cache) wrote(i connection.Intent) bool { return strings.HasPrefix(i.ID, c.mark) }

// spend sends the refresh token to the provider. From the answer on, the old one
// may be worthless and the new one exists in this process alone.
func (c *Source) spend(ctx context.Context, tk *toolkit.Toolkit, conn connection.Connection) (connection.Connection, error) {
	start := c.now()
	request, cancel := within(ctx, requestLimit)
	defer cancel()
	payment := c.payment(tk, conn)
	if payment.IsZero() { // its time has passed since we looked
		c.unnote(ctx, conn)
		return connection.Connection{}, noMeans
	}
	own, err := tk.At(conn.Variables) // the token goes to the server that has given it
	if err != nil {
		c.unnote(ctx, conn)
		return connection.Connection{}, &connection.Unusable{Status: connection.Active, Reason: connection.GrantMoved}
	}
	grant, err := c.refresher.Refresh(request, own.OAuth.Within(conn.Scopes), payment)
	if err != nil {
		return c.refused(ctx, tk, conn, err)
	}
	fresh, err := c.commit(ctx, conn, purchase{spent: payment, grant: grant})
	if len(grant.Strays) > 0 {
		c.tell(Event{Kind: Strayed, Key: conn.Key, Variables: grant.Strays})
	}
	if e, _ := c.peek(conn.Key); err == nil && e.held == nil && fresh.AccessToken.Equal(grant.AccessToken) {
		c.tell(Event{Kind: Refreshed, Key: conn.Key, Took: c.now().Sub(start), ExpiresAt: fresh.ExpiresAt})
		if lost := toolkit.LostScopes(conn.Scopes, grant.Scopes); len(lost) > 0 {
			c.tell(Event{Kind: Narrowed, Key: conn.Key, Scopes: lost})
		}
	}
	return fresh, err
}

// noMeans: there is nothing to renew the token with.
var noMeans = &connection.Unusable{Status: connection.Expired, Reason: connection.NoRefreshToken}

// renewed is conn with what the provider gave.
func renewed(conn connection.Connection, g oauth.Grant, now time.Time) connection.Connection {
	conn.AccessToken, conn.IssuedAt, conn.ExpiresAt = g.AccessToken, g.IssuedAt, g.ExpiresAt
	if !g.RefreshToken.IsZero() {
		conn.RefreshToken = g.RefreshToken // otherwise the old one stays good (RFC 6749 §6)
	}
	if g.Scopes != nil {
		conn.Scopes = g.Scopes
	}
	if len(g.Variables) > 0 { // they are inside of what the toolkit allows, or would not be here
		all := make(map[string]string, len(conn.Variables)+len(g.Variables))
		maps.Copy(all, conn.Variables)
		maps.Copy(all, g.Variables)
		conn.Variables = all
	}
	if takenForDead(conn) {
		conn, _ = conn.After(connection.Renewed, "", now) // both may be renewed
	}
	conn.Intent, conn.UpdatedAt = nil, now
	return conn
}

// takenForDead reports whether a connection has its status from what the provider said
// of a token: of the refresh token, which a gateway that came second has sent once more,
// or of the access token, which was refused on several paths while a new one was on its
// way. A newer token, which nobody has tried yet, proves it wrong.
func takenForDead(conn connection.Connection) bool {
	return conn.Status == connection.Expired || conn.Status == connection.Error && conn.Reason == connection.ProviderRejected
}

func leaseName(k connection.Key) string {
	return vault.Name("refresh", k.Tenant, k.User, k.Toolkit, k.Account)
}
