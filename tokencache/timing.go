// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"slices"
	"time"

	"github.com/toolgate/toolgate/connection"
)

// maxBuffer is the longest time before its end that a token is renewed, unless the
// toolkit says otherwise.
const maxBuffer = 5 * time.Minute

// renewalDue reports whether a token is to be renewed ahead of its end: buffer
// before it or, if that is zero, the smaller of 5 minutes and 10 to 20 % of its
// life, so that tokens of 5 seconds and of 30 minutes both work. The spread keeps
// tokens that were granted together from being renewed together.
func renewalDue(conn connection.Connection, buffer time.Duration, now time.Time) bool {
	if conn.ExpiresAt.IsZero() || conn.RefreshToken.IsZero() {
		return false
	}
	life := conn.ExpiresAt.Sub(conn.IssuedAt)
	if buffer <= 0 {
		spread := time.Duration(conn.IssuedAt.UnixNano()/1000%1000) * life / 10_000
		buffer = min(maxBuffer, life/10+spread)
	}
	// Never more than half its life: a buffer beyond that renews all the time.
	return !now.Before(conn.ExpiresAt.Add(-min(buffer, life/2)))
}

// fault notes a passing fault and gives how long the token endpoint is left alone:
// 1 s, doubling to 60 s, or what the provider asked for.
func (c *Cache) fault(key connection.Key, asked time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return max(asked, time.Second)
	}
	wait := max(asked, min(time.Second<<min(e.faults, 6), time.Minute))
	e.faults++
	e.calm = c.now().Add(wait)
	return wait
}

func (c *Cache) calmFor(key connection.Key) time.Duration {
	e, _ := c.peek(key)
	return max(0, e.calm.Sub(c.now()))
}

// rejections count how often a provider refused a token that was just renewed.
type rejections struct {
	last  time.Time
	paths []string // different ones, since the last call that worked
}

const (
	// rejectionCalm: for so long no refresh is tried because of such a refusal.
	rejectionCalm = time.Minute
	// rejectionLimit different paths in a row, and the connection is an error.
	rejectionLimit = 3
)

func (r rejections) recent(now time.Time) bool {
	return !r.last.IsZero() && now.Sub(r.last) < rejectionCalm
}

func (r rejections) and(path string, now time.Time) rejections {
	paths := slices.Clone(r.paths) // copies of an entry may be out there
	if !slices.Contains(paths, path) && len(paths) < rejectionLimit {
		paths = append(paths, path)
	}
	return rejections{last: now, paths: paths}
}
