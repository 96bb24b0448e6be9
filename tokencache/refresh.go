// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	// refreshLimit bounds one refresh with all its waiting and saving.
	refreshLimit = 2 * time.Minute
	// leaseLife is longer than a token request and the saving after it, so
	// that a lease ends early only where its holder died.
	leaseLife = 90 * time.Second
	// leasePoll is how often somebody else's refresh is looked at.
	leasePoll = 100 * time.Millisecond
	// intentOld is when a found intent must be from somebody who died.
	intentOld = leaseLife
)

// refresh gives a connection with another token than seen's. However many ask,
// there is one refresh per connection.
func (c *Source) refresh(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (connection.Connection, error) {
	if wait := c.calmFor(seen.Key); wait > 0 {
		return connection.Connection{}, passing(tk, wait, errors.New("a refresh failed a moment ago"))
	}
	conn, err := c.refreshes.do(ctx, seen.Key, refreshLimit, func(ctx context.Context) (connection.Connection, error) {
		return c.renew(ctx, tk, seen)
	})
	if err != nil {
		return connection.Connection{}, err
	}
	return conn, nil
}

// renew is the refresh itself. It runs once per connection in this process; the
// lease keeps other gateways from doing it at the same time, and the store's
// compare-and-swap decides if that fails.
func (c *Source) renew(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (connection.Connection, error) {
	if err := c.saveHeld(ctx, tk, seen.Key); err != nil {
		return connection.Connection{}, err
	}
	release, adopted, err := c.lease(ctx, tk, seen)
	if err != nil || adopted.Version != 0 {
		return adopted, err
	}
	defer release()

	// Look again: another gateway may have renewed it while we waited.
	conn, err := c.vault.Load(ctx, seen.Key)
	if err != nil {
		return connection.Connection{}, trouble(ctx, err)
	}
	if adopt, err := c.settled(conn, tk, seen); adopt || err != nil {
		return conn, err
	}
	return c.spend(ctx, tk, conn)
}

// lease takes the connection's lease, or adopts what its holder made.
func (c *Source) lease(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (release func(), adopted connection.Connection, err error) {
	name := leaseName(seen.Key)
	for {
		lease, err := c.vault.Lease(ctx, name, leaseLife)
		if err == nil {
			return func() { _ = lease.Release(context.WithoutCancel(ctx)) }, connection.Connection{}, nil
		}
		if !errors.Is(err, store.ErrHeld) {
			return nil, connection.Connection{}, trouble(ctx, err)
		}
		if !pause(ctx, leasePoll) {
			return nil, connection.Connection{}, passing(tk, time.Second, ctx.Err())
		}
		conn, err := c.vault.Load(ctx, seen.Key)
		if err != nil {
			return nil, connection.Connection{}, trouble(ctx, err)
		}
		if adopt, err := c.settled(conn, tk, seen); adopt || err != nil {
			return nil, conn, err
		}
	}
}

// settled reports whether there is nothing left to do: somebody renewed the
// token, or the connection cannot be used any more.
func (c *Source) settled(conn connection.Connection, tk *toolkit.Toolkit, seen connection.Connection) (adopt bool, err error) {
	c.Put(conn)
	if err := usable(conn, tk); err != nil {
		return false, err
	}
	if newer(conn, seen, c.now()) {
		return true, nil
	}
	if conn.RefreshToken.IsZero() {
		return false, &connection.Unusable{Status: connection.Expired, Reason: connection.NoRefreshToken}
	}
	return false, nil
}

// spend sends the refresh token to the provider. From the answer on, the old one
// may be worthless and the new one exists in this process alone.
func (c *Source) spend(ctx context.Context, tk *toolkit.Toolkit, conn connection.Connection) (connection.Connection, error) {
	start := c.now()
	if old := conn.Intent; old != nil && start.Sub(old.Since) > intentOld {
		c.tell(Event{Kind: Interrupted, Key: conn.Key, IntentID: old.ID})
	}
	conn.Intent = &connection.Intent{ID: rand.Text(), Since: start}
	noted, err := c.vault.Save(ctx, conn)
	if errors.Is(err, store.ErrConflict) {
		return c.adoptWinner(ctx, tk, conn)
	}
	if err != nil {
		return connection.Connection{}, trouble(ctx, err) // nothing was spent
	}
	c.keep(noted)
	grant, err := c.refresher.Refresh(ctx, tk.OAuth, conn.RefreshToken)
	if err != nil {
		return c.refused(ctx, tk, noted, err)
	}
	fresh, err := c.commit(ctx, tk, noted, purchase{conn.RefreshToken, grant})
	if err == nil {
		c.tell(Event{Kind: Refreshed, Key: conn.Key, Took: c.now().Sub(start), ExpiresAt: fresh.ExpiresAt})
	}
	return fresh, err
}

// renewed is conn with what the provider gave.
func renewed(conn connection.Connection, g oauth.Grant, now time.Time) connection.Connection {
	conn.AccessToken, conn.IssuedAt, conn.ExpiresAt = g.AccessToken, g.IssuedAt, g.ExpiresAt
	if !g.RefreshToken.IsZero() {
		conn.RefreshToken = g.RefreshToken // otherwise the old one stays good (RFC 6749 §6)
	}
	if g.Scopes != nil {
		conn.Scopes = g.Scopes
	}
	conn.Intent, conn.UpdatedAt = nil, now
	return conn
}

// adoptWinner is for who lost a compare-and-swap before anything was spent.
func (c *Source) adoptWinner(ctx context.Context, tk *toolkit.Toolkit, loser connection.Connection) (connection.Connection, error) {
	winner, err := c.vault.Load(ctx, loser.Key)
	if err != nil {
		return connection.Connection{}, trouble(ctx, err)
	}
	if adopt, err := c.settled(winner, tk, loser); adopt || err != nil {
		return winner, err
	}
	return connection.Connection{}, passing(tk, time.Second, store.ErrConflict)
}

// refused deals with a refresh that gave no token.
func (c *Source) refused(ctx context.Context, tk *toolkit.Toolkit, conn connection.Connection, cause error) (connection.Connection, error) {
	if no, definite := errors.AsType[*oauth.Refused](cause); definite {
		if !no.Grant() {
			return c.clientRefused(tk, conn, no)
		}
		return c.end(ctx, tk, conn, no)
	}
	wait := c.fault(conn.Key, retryAfterOf(cause))
	if away, ok := errors.AsType[*oauth.Unavailable](cause); ok && away.Answered {
		// The provider did answer, so the refresh token is not spent. Best
		// effort: an intent that stays only makes a later report too careful.
		conn.Intent = nil
		if saved, err := c.vault.Save(ctx, conn); err == nil {
			c.keep(saved)
		}
	}
	c.tell(Event{Kind: Failed, Key: conn.Key, Err: cause})
	return connection.Connection{}, passing(tk, wait, cause)
}

// end marks a connection whose grant the provider has refused, after reading once
// more: whoever else refreshed it meanwhile has a good token that must not be lost.
func (c *Source) end(ctx context.Context, tk *toolkit.Toolkit, conn connection.Connection, no *oauth.Refused) (connection.Connection, error) {
	now, err := c.vault.Load(ctx, conn.Key)
	if err != nil {
		return connection.Connection{}, trouble(ctx, err)
	}
	if !now.RefreshToken.Equal(conn.RefreshToken) {
		if adopt, err := c.settled(now, tk, conn); adopt || err != nil {
			return now, err
		}
		return connection.Connection{}, passing(tk, time.Second, no)
	}
	now.Status, now.Reason, now.Intent, now.UpdatedAt = connection.Expired, connection.RefreshRejected, nil, c.now()
	saved, err := c.vault.Save(ctx, now)
	if err != nil {
		return connection.Connection{}, trouble(ctx, err)
	}
	c.Put(saved)
	c.tell(Event{Kind: Ended, Key: conn.Key, Err: no})
	return connection.Connection{}, &connection.Unusable{Status: saved.Status, Reason: saved.Reason}
}

// clientRefused: the operator's client is wrong, disabled or forbidden. No user can
// mend that by connecting again.
func (c *Source) clientRefused(tk *toolkit.Toolkit, conn connection.Connection, no *oauth.Refused) (connection.Connection, error) {
	wait := c.fault(conn.Key, 0)
	c.tell(Event{Kind: Misplaced, Key: conn.Key, Err: no})
	p := problem.New(problem.CredentialRejected, "oauth_client", tk.Name+" does not accept the gateway's OAuth client. The operator has to check client_id and client_secret.")
	p.RetryAfter = wait
	return connection.Connection{}, p.Because(no)
}

// passing is the refusal for a fault that will pass. It never asks to connect.
func passing(tk *toolkit.Toolkit, wait time.Duration, cause error) *problem.Problem {
	p := problem.New(problem.RefreshUnavailable, "refresh", "The access token for "+tk.Name+" has to be renewed, and that does not work at the moment. The connection is not lost; try again later.")
	p.RetryAfter = max(wait, time.Second)
	return p.Because(cause)
}

func retryAfterOf(err error) time.Duration {
	if away, ok := errors.AsType[*oauth.Unavailable](err); ok {
		return away.RetryAfter
	}
	return 0
}
