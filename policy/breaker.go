// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
)

// Breaker leaves a host alone that keeps failing.
type Breaker struct{ Off bool }

// When it opens: of the calls of the last 30 seconds at least 5 and at least half failed,
// for at least 3 users; or 5 dials in a row.
const (
	breakerWindow = 30 * time.Second
	breakerStep   = 3 * time.Second
	minFailures   = 5
	minFailing    = 3
	minDials      = 5
	openFor       = 10 * time.Second // until the first probe
	probeAgain    = 3 * openFor      // for who has probed in vain, so that others may
	maxBreakers   = 10_000           // hosts that variables name; beyond, none is made
	breakerIdle   = 10 * time.Minute // after which one that is closed is forgotten
	probesAtOnce  = 1
	probeUnderWay = time.Second // what who comes meanwhile is told to wait
)

// host is what a breaker is for.
type host struct{ toolkit, host string }

// who is a user. The accounts of one are not more than one.
type who struct{ tenant, user string }

// breakers are those of all hosts.
type breakers struct {
	mu  sync.RWMutex
	all map[host]*breaker

	report func(toolkit, host, state string) // nil: nobody is told
}

// breaker is a host's. It is gobreaker's, which counts, and besides knows whose calls
// failed: one user, whose calls fail for a reason of theirs, must neither shut the host
// for all nor keep it shut by being the one who probes.
type breaker struct {
	two     *gobreaker.TwoStepCircuitBreaker[any]
	ajar    atomic.Bool  // it is not closed
	used    atomic.Int64 // when it was, in nanoseconds since 1970
	failing atomic.Int32 // users whose calls failed of late, for gobreaker's callback
	dials   atomic.Int32 // that failed in a row

	mu     sync.Mutex
	failed map[who]time.Time // when a call of theirs last failed
	probed map[who]time.Time // when a probe of theirs did
	opened time.Time
}

// errors are what gobreaker gets to know of a call.
var (
	errFailed   = errors.New("failed")
	errNotTheir = errors.New("says nothing about the provider")
)

func newBreaker(now func() time.Time, report func(state string)) *breaker {
	b := &breaker{failed: map[who]time.Time{}, probed: map[who]time.Time{}}
	b.two = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		MaxRequests: probesAtOnce, Interval: breakerWindow, BucketPeriod: breakerStep, Timeout: openFor,
		IsExcluded: func(err error) bool { return err == errNotTheir },
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return b.dials.Load() >= minDials ||
				c.TotalFailures >= minFailures && c.TotalFailures >= c.TotalSuccesses && b.failing.Load() >= minFailing
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			b.ajar.Store(to != gobreaker.StateClosed)
			report(to.String())
			b.mu.Lock()
			defer b.mu.Unlock()
			switch to {
			case gobreaker.StateOpen:
				b.opened = now()
			case gobreaker.StateClosed:
				clear(b.failed)
				clear(b.probed)
				b.failing.Store(0)
			}
		},
	})
	return b
}

// of gives a host's breaker; nil where there is none.
func (s *breakers) of(h host) *breaker {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[h]
}

// forHost makes one where there is none yet.
func (s *breakers) forHost(h host, now func() time.Time) *breaker {
	if b := s.of(h); b != nil {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.all[h]
	if b == nil && len(s.all) < maxBreakers {
		h = host{strings.Clone(h.toolkit), strings.Clone(h.host)}
		b = newBreaker(now, func(state string) {
			if s.report != nil {
				s.report(h.toolkit, h.host, state)
			}
		})
		s.all[h] = b
	}
	return b
}

func (s *breakers) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.all, func(_ host, b *breaker) bool {
		return !b.ajar.Load() && now.UnixNano()-b.used.Load() > int64(breakerIdle)
	})
}

// ask lets a call of a user's pass, whose end is then reported with done. Where it may
// not, it says for how long.
func (b *breaker) ask(w who, now time.Time) (done func(error), probe bool, wait time.Duration) {
	if b.ajar.Load() {
		if wait := b.closedTo(w, now); wait > 0 {
			return nil, false, wait
		}
	}
	done, err := b.two.Allow()
	switch {
	case errors.Is(err, gobreaker.ErrOpenState):
		return nil, false, max(b.closedTo(w, now), time.Millisecond)
	case err != nil:
		return nil, false, probeUnderWay
	}
	b.used.Store(now.UnixNano())
	return done, b.ajar.Load(), 0
}

// closedTo is for how long no call of this user's has a chance.
func (b *breaker) closedTo(w who, now time.Time) (wait time.Duration) {
	state := b.two.State() // not under our lock, which its callback takes
	b.mu.Lock()
	defer b.mu.Unlock()
	if state == gobreaker.StateOpen {
		wait = b.opened.Add(openFor).Sub(now)
	}
	if at, vain := b.probed[w]; vain {
		wait = max(wait, at.Add(probeAgain).Sub(now))
	}
	return wait
}

// reported notes whose call failed, before gobreaker counts it.
func (b *breaker) reported(w who, failure bool, dial, probe bool, now time.Time) {
	if !failure {
		b.dials.Store(0)
		return
	}
	if dial {
		b.dials.Add(1)
	} else {
		b.dials.Store(0)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		note(b.probed, w, now, probeAgain)
	}
	note(b.failed, w, now, breakerWindow)
	b.failing.Store(int32(len(b.failed)))
}

// note keeps who in mind, and few others: more than a handful change nothing.
func note(in map[who]time.Time, w who, now time.Time, life time.Duration) {
	maps.DeleteFunc(in, func(_ who, at time.Time) bool { return now.Sub(at) > life })
	if _, there := in[w]; there || len(in) < 64 {
		in[who{strings.Clone(w.tenant), strings.Clone(w.user)}] = now
	}
}

// where is the host that a call goes to.
func where(c *gateway.Call) host { return host{c.Toolkit.ID, c.Target.Host} }

func whose(c *gateway.Call) who { return who{c.Caller.Tenant, c.Caller.User} }

func circuitOpen(d *desk, host string, wait time.Duration) *problem.Problem {
	p := problem.New(problem.CircuitOpen, "breaker "+host, d.Name+" keeps failing, so it is left alone for a moment. The call was not sent. Wait before you call again.")
	p.RetryAfter = wait
	return p
}

// BreakerInfo is how a host's breaker stands.
type BreakerInfo struct {
	Toolkit string `json:"toolkit"`
	Host    string `json:"host"`
	// State is closed, open or half-open.
	State string `json:"state"`
	// Failures and Calls are those of the last 30 seconds; Users had failures.
	Failures int `json:"failures"`
	Calls    int `json:"calls"`
	Users    int `json:"users"`
	// OpenFor is until a call is let through to see.
	OpenFor time.Duration `json:"open_for,omitempty"`
}

// Breakers lists them by toolkit and host.
func (s *State) Breakers(now time.Time) []BreakerInfo {
	s.breakers.mu.RLock()
	defer s.breakers.mu.RUnlock()
	list := make([]BreakerInfo, 0, len(s.breakers.all))
	for h, b := range s.breakers.all {
		list = append(list, b.info(h, now))
	}
	slices.SortFunc(list, func(a, b BreakerInfo) int {
		return strings.Compare(a.Toolkit+" "+a.Host, b.Toolkit+" "+b.Host)
	})
	return list
}

func (b *breaker) info(h host, now time.Time) BreakerInfo {
	state, counts := b.two.State(), b.two.Counts()
	b.mu.Lock()
	defer b.mu.Unlock()
	i := BreakerInfo{Toolkit: h.toolkit, Host: h.host, State: state.String(), Failures: int(counts.TotalFailures), Calls: int(counts.Requests), Users: len(b.failed)}
	if state == gobreaker.StateOpen {
		i.OpenFor = max(0, b.opened.Add(openFor).Sub(now))
	}
	return i
}

// ResetBreakers closes those of a toolkit, or of all where toolkit is "", and says how
// many were not closed. What they knew is forgotten.
func (s *State) ResetBreakers(toolkit string) (n int) {
	s.breakers.mu.Lock()
	defer s.breakers.mu.Unlock()
	maps.DeleteFunc(s.breakers.all, func(h host, b *breaker) bool {
		if toolkit != "" && h.toolkit != toolkit {
			return false
		}
		if b.ajar.Load() {
			n++
		}
		return true
	})
	return n
}
