// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"

	"github.com/toolgate/toolgate/connection"
)

// Rejected notes that the provider refused a token although it was as new as can
// be. One endpoint's whim must not cost the grant: the connection stays active and
// is only not refreshed for such a reason for a minute. Several in a row, on
// different paths, make it an error.
func (c *Source) Rejected(ctx context.Context, conn connection.Connection, path string) {
	c.mu.Lock()
	e := c.entries[conn.Key]
	if e == nil || !e.shown().conn.AccessToken.Equal(conn.AccessToken) {
		c.mu.Unlock()
		return // it is another token by now
	}
	e.rejections = e.rejections.and(path, c.now())
	broken := len(e.rejections.paths) >= rejectionLimit
	c.mu.Unlock()
	c.tell(Event{Kind: Rejected, Key: conn.Key})
	if broken {
		c.giveUp(ctx, conn)
	}
}

// Worked notes that the provider took the token.
func (c *Cache) Worked(key connection.Key) {
	if e, known := c.peek(key); !known || len(e.rejections.paths) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		// The calm stays: the path that was refused is still refused.
		e.rejections.paths = nil
	}
}

// giveUp marks a connection as an error; if somebody else changed it, they know better.
func (c *Source) giveUp(ctx context.Context, conn connection.Connection) {
	ctx, cancel := within(ctx, prepareLimit) // the agent may have hung up on all those refusals
	defer cancel()
	now, err := c.vault.Load(ctx, conn.Key)
	if err != nil || !now.AccessToken.Equal(conn.AccessToken) {
		return
	}
	if now, err = now.After(connection.TokenRefused, connection.ProviderRejected, c.now()); err != nil {
		return // it is not used any more as it is
	}
	if saved, err := c.vault.Save(ctx, now); err == nil {
		c.Put(saved)
		c.tell(Event{Kind: Ended, Key: conn.Key})
	}
}
