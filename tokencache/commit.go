// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// purchase is a new grant and the refresh token that paid for it. Until it is in
// the store, it exists in this process alone.
type purchase struct {
	spent secret.String
	grant oauth.Grant
}

// saveWaits are the pauses between attempts to save a new token. Together with
// the token request they stay below leaseLife.
var saveWaits = []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, time.Second, 3 * time.Second, 6 * time.Second}

// commit saves a new grant before anybody uses it: a token that was used and then
// lost in a crash has ended the old one at many providers. Where the store will
// not take it, it is held in memory for the next attempt.
func (c *Source) commit(ctx context.Context, tk *toolkit.Toolkit, base connection.Connection, bought purchase) (connection.Connection, error) {
	for attempt := 0; ; attempt++ {
		saved, err := c.vault.Save(ctx, renewed(base, bought.grant, c.now()))
		if err == nil {
			c.keep(saved)
			return saved, usable(saved, tk)
		}
		if errors.Is(err, store.ErrConflict) {
			if current, loadErr := c.vault.Load(ctx, base.Key); loadErr == nil {
				if !current.RefreshToken.Equal(bought.spent) {
					// The user connected again, or took the grant back, while
					// we asked the provider: that counts, ours is let go.
					return c.adoptWinner(ctx, tk, base)
				}
				base = current // something else changed, such as a label: keep both
			}
		}
		if attempt == len(saveWaits) || !pause(ctx, saveWaits[attempt]) {
			c.hold(base.Key, &bought)
			c.tell(Event{Kind: Unsaved, Key: base.Key, Err: err})
			return connection.Connection{}, vault.Problem(err)
		}
	}
}

// saveHeld saves what an earlier refresh could not, before anything else is done.
func (c *Source) saveHeld(ctx context.Context, tk *toolkit.Toolkit, key connection.Key) error {
	e, known := c.peek(key)
	if !known || e.held == nil {
		return nil
	}
	bought := *e.held
	base, err := c.vault.Load(ctx, key)
	if err != nil {
		return trouble(ctx, err)
	}
	if base.RefreshToken.Equal(bought.spent) {
		if _, err := c.commit(ctx, tk, base, bought); err != nil {
			return err
		}
	}
	c.hold(key, nil)
	return nil
}

// hold keeps a purchase in memory, or forgets it.
func (c *Cache) hold(key connection.Key, bought *purchase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		e.held = bought
	}
}

// pause waits, and reports whether there is time left.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func leaseName(k connection.Key) string {
	return vault.Name("refresh", k.Tenant, k.User, k.Toolkit, k.Account)
}
