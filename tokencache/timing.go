// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"slices"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// maxBuffer is the longest time before its end that a token is renewed, unless the
// toolkit says otherwise.
const maxBuffer = 5 * time.Minute

// renewalDue reports whether a token is to be renewed ahead of its end: the toolkit's
// buffer before it or, if that is zero, the smaller of 5 minutes and 10 to 20 % of its
// life, so that tokens of 5 seconds and of 30 minutes both work. The spread keeps
// tokens that were granted together from being renewed together.
func renewalDue(o *toolkit.OAuth2, conn connection.Connection, now time.Time) bool {
	if conn.ExpiresAt.IsZero() || o.RenewWith(conn.AccessToken, conn.RefreshToken, conn.Stale(now)).IsZero() {
		return false
	}
	life, buffer := conn.ExpiresAt.Sub(conn.IssuedAt), o.RefreshBuffer
	switch {
	case buffer > 0:
	case o.RefreshWith == toolkit.WithAccessToken:
		buffer = life // after its end it buys nothing any more, and nobody may call shortly before
	default:
		spread := time.Duration(conn.IssuedAt.Nanosecond()/1000%1000) * (life / 10_000)
		buffer = min(maxBuffer, life/10+spread)
	}
	// Never more than half its life: a buffer beyond that renews all the time.
	return !now.Before(conn.ExpiresAt.Add(-min(buffer, life/2)))
}

// rest notes that a refresh failed with p. The token endpoint is left alone for 1 s,
// doubling to 60 s, or for as long as the provider asked; calls that need it get p
// meanwhile.
func (c *Cache) rest(conn connection.Connection, asked time.Duration, p *problem.Problem) *problem.Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.putLocked(conn)
	wait := max(asked, doubling(time.Second, e.faults))
	e.faults++
	e.calm = c.now().Add(wait)
	e.fault = p
	return in(p, wait)
}

// doubling is the rest after so many failures before: first, twice that, and so on.
func doubling(first time.Duration, failures int) time.Duration {
	return min(first<<min(failures, 6), longestRest)
}

const longestRest = time.Minute

// resting gives the fault for which the token endpoint is left alone, if it is.
func (c *Cache) resting(key connection.Key) error {
	e, _ := c.peek(key)
	if wait := e.calm.Sub(c.now()); wait > 0 {
		return in(e.fault, wait)
	}
	return nil
}

// in gives p with the time that is left, where it will pass by itself at all.
func in(p *problem.Problem, wait time.Duration) *problem.Problem {
	own := *p
	if own.RetryAfter > 0 {
		own.RetryAfter = wait
	}
	return &own
}

// rejections count how often a provider refused a token that was just renewed.
type rejections struct {
	since time.Time // of the first in this minute
	paths []string  // different ones, since the last call that worked
}

const (
	// rejectionCalm: for so long no refresh is tried because of such a refusal.
	rejectionCalm = time.Minute
	// rejectionLimit different paths in a row, and the connection is an error.
	rejectionLimit = 3
)

func (r rejections) recent(now time.Time) bool {
	return !r.since.IsZero() && now.Sub(r.since) < rejectionCalm
}

func (r rejections) and(path string, now time.Time) rejections {
	paths := slices.Clone(r.paths) // copies of an entry may be out there
	if !slices.Contains(paths, path) && len(paths) < rejectionLimit {
		paths = append(paths, path)
	}
	since := r.since
	if !r.recent(now) {
		since = now // not each time: an endpoint that is called all the time would put off the next refresh for ever
	}
	return rejections{since: since, paths: paths}
}
