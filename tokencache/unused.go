// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	// unusedPage is how many connections are read at once.
	unusedPage = 100
	// unusedFaults in a row are taken for the provider's.
	unusedFaults = 5
)

// RenewUnused renews the connections to a toolkit that nobody has used for so long
// that their refresh token would go stale: providers forget one that is not used for
// some weeks or months. Due is one whose last renewal was longer ago than after, or up
// to a fifth less, so that those that were granted together do not come together. One
// is renewed each pace, and none that another gateway has just renewed; where several
// in a row fail, the provider is left alone until the next time. That goes on behind
// them: some always fail, such as those of who has left, and must not keep the others
// from their turn. It returns how many it renewed, and an error where the store cannot
// be read or ctx ends.
func (c *Source) RenewUnused(ctx context.Context, tk *toolkit.Toolkit, after, pace time.Duration) (renewed int, err error) {
	next := c.unusedBehind(tk.ID)
	defer func() { c.stopUnused(tk.ID, next) }()
	for failed := 0; ; {
		page, behind, err := c.vault.OfToolkit(ctx, tk.ID, next, unusedPage)
		if err != nil {
			return renewed, err
		}
		for _, conn := range page {
			if !c.unused(conn, tk, after) {
				continue
			}
			next = vault.Name("connection", conn.Tenant, conn.User, conn.Toolkit, conn.Account) // as OfToolkit sorts them
			switch _, err := c.refresh(ctx, tk, conn); {
			case err == nil:
				renewed, failed = renewed+1, 0
			default:
				if failed++; failed == unusedFaults {
					return renewed, err
				}
			}
			if !pause(ctx, pace) {
				return renewed, ctx.Err()
			}
		}
		if next = behind; next == "" {
			return renewed, nil
		}
	}
}

// unusedBehind is where RenewUnused goes on: behind the connection at which it stopped
// the last time, and at the start where it came to the end.
func (c *Cache) unusedBehind(toolkit string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.stopped[toolkit]
}

func (c *Cache) stopUnused(toolkit, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped[toolkit] = name
}

// unused reports whether a connection is to be renewed although nobody asks for it.
func (c *Source) unused(conn connection.Connection, tk *toolkit.Toolkit, after time.Duration) bool {
	if tk.OAuth == nil || c.payment(tk, conn).IsZero() || usable(conn, tk) != nil {
		return false
	}
	return c.now().Sub(conn.IssuedAt) >= after-after/5*time.Duration(spread(conn.Key))/spreadSteps
}

const spreadSteps = 1000

// spread is a number below spreadSteps that belongs to a connection.
func spread(k connection.Key) uint32 {
	h := fnv.New32a()
	for _, part := range []string{k.Tenant, k.User, k.Toolkit, k.Account} {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum32() % spreadSteps
}
