// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"maps"
	"slices"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
)

// A store may lose what it had acknowledged: Redis does when it fails over to a replica
// that was behind, and any store does when an operator puts a copy back. The refresh
// token in it is then one that was spent, and the one that works is in the memory of
// some gateway alone, just as if it had never been saved. So it is held, used and saved
// again as such a one is. What tells is the version: those of a connection only grow,
// so a reading that is behind what was known when it began comes from a store that went
// back.

// clocksApart is how far the clocks of two gateways may be apart. What the store has is
// put aside only where it is older by more than that.
const clocksApart = time.Minute

// goBack settles what was read where the store went back behind known, which stood here
// when the reading began.
func (c *Cache) goBack(stored, known connection.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goBackLocked(stored, known)
}

func (c *Cache) goBackLocked(stored, known connection.Connection) {
	e := c.entries[stored.Key]
	if e == nil || e.conn.ID != known.ID || e.conn.Version != known.Version || !wentBack(stored, known) {
		return // what stands here came later than known
	}
	bought := e.held
	if bought == nil || !bought.succeeds(stored) {
		bought = lost(stored, e.shown().conn, c.now())
	}
	*e = entry{conn: stored, trust: trust{asOf: e.trust.asOf, doubtful: true}, used: e.used}
	if bought != nil {
		c.holdLocked(stored, bought)
	}
}

func wentBack(stored, known connection.Connection) bool {
	return stored.ID == known.ID && stored.Version < known.Version
}

// lost gives what the store has lost of known as a purchase over what it has now. Nil:
// that what it has counts.
//
// Since it went back, others may have written to it: a user may have connected again at
// another gateway, and who overwrites that has taken a grant away, and perhaps put one
// account's token into another's place. Nothing in a record says which tokens came
// before, so the time of the last change decides: what came after the loss is later
// than all that was lost, clocks aside. With one exception: that the provider refused
// what the store has is no grant of anybody's, though it was noted later. Most likely a
// gateway has sent the spent token, and ours proves that wrong.
func lost(stored, known connection.Connection, now time.Time) *purchase {
	spent, ours := stored.RefreshToken, known.RefreshToken
	if spent.IsZero() {
		spent, ours = stored.AccessToken, known.AccessToken
	}
	later := known.UpdatedAt.Sub(stored.UpdatedAt) > clocksApart
	switch {
	case !wentBack(stored, known), !sameGrant(stored, known):
		return nil
	case spent.IsZero(), ours.IsZero(), ours.Equal(spent):
		return nil // what the store has can be renewed
	case !later && !takenForDead(stored):
		return nil
	}
	return &purchase{spent: spent, since: now, grant: oauth.Grant{
		AccessToken: known.AccessToken, RefreshToken: known.RefreshToken, IssuedAt: known.IssuedAt, ExpiresAt: known.ExpiresAt, Scopes: known.Scopes,
	}}
}

// sameGrant reports whether one's tokens may stand in the other's place: they must not
// go to other hosts, or come under another account's name.
func sameGrant(one, other connection.Connection) bool {
	a, b := one.Granted, other.Granted
	return a.Issuer == b.Issuer && a.ClientID == b.ClientID && slices.Equal(a.Hosts, b.Hosts) && maps.Equal(one.Variables, other.Variables) && one.AccountLabel == other.AccountLabel
}
