// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/toolkit"
)

// refused deals with a refresh that gave no token.
func (c *Source) refused(ctx context.Context, tk *toolkit.Toolkit, conn connection.Connection, cause error) (connection.Connection, error) {
	if no, definite := errors.AsType[*oauth.Refused](cause); definite {
		if no.Grant() {
			return c.end(ctx, tk, conn, no)
		}
		c.unnote(ctx, conn)
		c.tell(Event{Kind: Misplaced, Key: conn.Key, Err: no})
		return connection.Connection{}, c.rest(conn, 0, clientRefused(tk, no))
	}
	var asked time.Duration
	if away, ok := errors.AsType[*oauth.Unavailable](cause); ok {
		asked = away.RetryAfter
		if away.Unspent {
			c.unnote(ctx, conn)
		}
	}
	c.tell(Event{Kind: Failed, Key: conn.Key, Err: cause})
	return connection.Connection{}, c.rest(conn, asked, passing(tk, time.Second, cause))
}

// unnote takes the intent back. Best effort: one that stays only makes a later
// report too careful.
func (c *Source) unnote(ctx context.Context, conn connection.Connection) {
	ctx, cancel := within(ctx, prepareLimit)
	defer cancel()
	conn.Intent = nil
	if saved, err := c.vault.Save(ctx, conn); err == nil {
		c.Put(saved)
	}
}

// end marks a connection whose grant the provider has refused, after reading once
// more: whoever else refreshed it meanwhile has a good token that must not be lost.
func (c *Source) end(ctx context.Context, tk *toolkit.Toolkit, conn connection.Connection, no *oauth.Refused) (connection.Connection, error) {
	ctx, cancel := within(ctx, saveLimit)
	defer cancel()
	for range changeTries {
		now, settled, err := c.look(ctx, tk, conn)
		if settled || err != nil {
			return now, err
		}
		if !now.RefreshToken.Equal(conn.RefreshToken) || now.RefreshToken.IsZero() && !now.AccessToken.Equal(conn.AccessToken) {
			break // renewed, and that has ended too: the next call sees to it
		}
		now.Intent = nil
		now, err = now.After(connection.RefreshEnded, connection.RefreshRejected, c.now())
		if err != nil {
			break // switched off meanwhile, say
		}
		saved, err := c.vault.Save(ctx, now)
		switch {
		case err == nil:
			c.Put(saved)
			c.tell(Event{Kind: Ended, Key: conn.Key, Err: no})
			return connection.Connection{}, usable(saved, tk)
		case !errors.Is(err, store.ErrConflict):
			return connection.Connection{}, trouble(err)
		}
	}
	return connection.Connection{}, passing(tk, time.Second, no)
}

// clientRefused: the operator's client is wrong, disabled or forbidden. No user can
// mend that by connecting again, and no agent by sending again.
func clientRefused(tk *toolkit.Toolkit, no *oauth.Refused) *problem.Problem {
	return problem.New(problem.CredentialRejected, "oauth_client", tk.Name+" does not accept the gateway's OAuth client. The operator has to check client_id and client_secret.").Because(no)
}

// passing is the refusal for a fault that will pass. It never asks to connect.
func passing(tk *toolkit.Toolkit, wait time.Duration, cause error) *problem.Problem {
	p := problem.New(problem.RefreshUnavailable, "refresh", "The access token for "+tk.Name+" has to be renewed, and that does not work at the moment. The connection is not lost; try again later.")
	p.RetryAfter = wait
	return p.Because(cause)
}
