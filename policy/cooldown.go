// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// Cooldown is what is done where the provider says: not so fast.
type Cooldown struct {
	Off bool
	// WaitUpTo is how long a call is held rather than refused.
	WaitUpTo time.Duration
}

const (
	// longestPause is for one connection: providers count by the hour. A date in the
	// next year must not close it for good.
	longestPause = time.Hour
	// longestShared is where one answer stops the calls of many.
	longestShared = 15 * time.Minute
	// unsaidPause is where nothing says how long.
	unsaidPause = time.Second
	// maxPauses is how many cool-downs are kept. Beyond, none is learned.
	maxPauses = 100_000
)

// pauseKey is who has to wait: a connection, maybe for one path alone, or all calls of a
// toolkit.
type pauseKey struct {
	key
	path string
}

// pauses are the cool-downs under way.
type pauses struct {
	some  atomic.Bool // whether there are any; most of the time there are none
	mu    sync.Mutex
	until map[pauseKey]time.Time
	last  map[string]sight // by toolkit: who met its limit last
	swept time.Time
}

// sight is that one user's connection met a limit.
type sight struct {
	tenant, user string
	until        time.Time
}

func newPauses() *pauses {
	return &pauses{until: map[pauseKey]time.Time{}, last: map[string]sight{}}
}

// left is how long a call has to wait, and what for.
func (s *pauses) left(c *gateway.Call, now time.Time) (wait time.Duration, scope string) {
	own := Limit{By: ByConnection}.key(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range [...]struct {
		pauseKey
		scope string
	}{
		{pauseKey{key{toolkit: c.Toolkit.ID}, ""}, "toolkit"}, // the operator's key too
		{pauseKey{own, ""}, "connection"},
		{pauseKey{own, c.Path}, "path"},
	} {
		if d := s.until[one.pauseKey].Sub(now); d > wait {
			wait, scope = d, one.scope
		}
	}
	return wait, scope
}

// learn notes that a call met the provider's limit.
func (s *pauses) learn(c *gateway.Call, d time.Duration, now time.Time) {
	if d <= 0 {
		return
	}
	tk := c.Toolkit
	at := pauseKey{key: Limit{By: ByConnection}.key(c)}
	if tk.Throttling.PerPath {
		at.path = c.Path
	}
	d = min(d, longestPause)
	if !tk.Auth.PerUser {
		d = min(d, longestShared)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteLocked(at, now.Add(d), now)
	if tk.Throttling.Shared && tk.Auth.PerUser && !tk.Throttling.PerPath {
		s.shareLocked(c, sight{c.Caller.Tenant, c.Caller.User, now.Add(d)}, now)
	}
}

// shareLocked stops the whole toolkit where two users have met a limit: one alone may have
// met their own. It lasts as long as both say.
func (s *pauses) shareLocked(c *gateway.Call, seen sight, now time.Time) {
	before := s.last[c.Toolkit.ID]
	s.last[c.Toolkit.ID] = seen
	if before.until.Before(now) || before.tenant == seen.tenant && before.user == seen.user {
		return
	}
	until := earlier(earlier(before.until, seen.until), now.Add(longestShared))
	s.noteLocked(pauseKey{key: key{toolkit: c.Toolkit.ID}}, until, now)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (s *pauses) noteLocked(at pauseKey, until, now time.Time) {
	if len(s.until) >= maxPauses && now.Sub(s.swept) >= time.Second {
		s.sweepLocked(now)
	}
	if known, there := s.until[at]; !there && len(s.until) >= maxPauses || known.After(until) {
		return
	}
	at.key, at.path = at.clone(), strings.Clone(at.path)
	s.until[at] = until
	s.some.Store(true)
}

func (s *pauses) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepLocked(now)
}

func (s *pauses) sweepLocked(now time.Time) {
	for at, until := range s.until {
		if !until.After(now) {
			delete(s.until, at)
		}
	}
	for id, seen := range s.last {
		if !seen.until.After(now) {
			delete(s.last, id)
		}
	}
	s.some.Store(len(s.until) > 0)
	s.swept = now
}

// throttled reports whether an answer is the provider's word to slow down, and for how
// long.
func throttled(tk *toolkit.Toolkit, a gateway.Answer, now time.Time) (pause time.Duration, yes bool) {
	if a.Status < 400 {
		return 0, false
	}
	for i := range tk.Throttling.Signs {
		sign := &tk.Throttling.Signs[i]
		if !says(sign, a) {
			continue
		}
		if d, ok := announced(a.Header, sign, now); ok {
			return d, true
		}
		pause, yes = max(pause, time.Duration(sign.PauseSeconds)*time.Second, unsaidPause), true
	}
	if a.Status == http.StatusTooManyRequests && !yes {
		if d, ok := announced(a.Header, nil, now); ok {
			return d, true
		}
		return unsaidPause, true
	}
	return pause, yes
}

func says(sign *toolkit.Throttle, a gateway.Answer) bool {
	switch values := a.Header[sign.Header]; {
	case a.Status != sign.Status,
		sign.Header != "" && len(values) == 0,
		sign.Value != "" && strings.TrimSpace(values[0]) != sign.Value:
		return false
	}
	return sign.Body == "" || a.Peek != nil && strings.Contains(string(a.Peek()), sign.Body)
}

// announced is how long the answer says. Where it has a date of its own, that is what its
// times are compared with: clocks differ.
func announced(h http.Header, sign *toolkit.Throttle, now time.Time) (time.Duration, bool) {
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	if text := h.Get("Retry-After"); text != "" {
		if at, err := http.ParseTime(text); err == nil {
			return at.Sub(now), true
		}
		if n, ok := number(text); ok {
			return seconds(n), true
		}
	}
	if sign == nil || sign.Reset == "" {
		return 0, false
	}
	n, ok := number(h.Get(sign.Reset))
	switch {
	case !ok:
		return 0, false
	case sign.Unit == toolkit.ResetAfter:
		return seconds(n), true
	case sign.Unit == toolkit.ResetAtMillis:
		n /= 1000
	}
	return seconds(n - float64(now.UnixMilli())/1000), true
}

// number reads one that a clock could mean.
func number(text string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return n, err == nil && n >= 0 && !math.IsNaN(n) && n < 1e15
}

func seconds(n float64) time.Duration {
	return time.Duration(min(n, longestPause.Seconds()) * float64(time.Second))
}

func coolingDown(tk *toolkit.Toolkit, wait time.Duration, scope string) *problem.Problem {
	whom := "this connection"
	switch {
	case scope == "toolkit":
		whom = "all of its users"
	case scope == "path":
		whom = "this connection at this address"
	}
	p := problem.New(problem.CoolingDown, "cooldown "+scope, tk.Name+" has asked for a pause, for "+whom+". The call was not sent. Wait before you call again.")
	p.RetryAfter = wait
	return p
}
