// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// storms are how many users there are and for how long each part takes.
func storms() (users int, part time.Duration) {
	if os.Getenv("TOOLGATE_LONG") != "" {
		return 1000, time.Minute
	}
	return 60, 5 * time.Second
}

// Three gateways, each a process, over one Redis: one refresh for each token that ends,
// whoever asks where.
func TestThreeGatewaysRefreshOnce(t *testing.T) {
	users, part := storms()
	s := newStorm(t, users)
	s.during(part, nil)
	s.provider.mu.Lock()
	defer s.provider.mu.Unlock()
	t.Logf("%d calls, %d refreshes of %d connections in %v, the shortest time between two of one connection %v", s.calls.Load(), s.provider.count, users, part, s.provider.gap)
	if len(s.said) > 0 || s.unheard.Load() > 0 {
		t.Errorf("calls failed: %v, %d unheard", s.said, s.unheard.Load())
	}
	if len(s.provider.reused) > 0 {
		t.Errorf("spent tokens came again: %v", s.provider.reused)
	}
	// A token of two seconds is renewed in its last fifth at the earliest. Twice for
	// one end would be closer together than that.
	if s.provider.gap < strictLife*3/4 || s.provider.count < users {
		t.Errorf("%d refreshes, two of them for one token's end", s.provider.count)
	}
}

// One gateway after the other is killed and comes back. What is lost is what was under
// way between the provider's answer and our commit, and each loss has a name.
func TestThreeGatewaysAreKilledInTurns(t *testing.T) {
	users, part := storms()
	s := newStorm(t, users)
	kills := 0
	s.during(part, func(over <-chan struct{}) {
		for i := 0; ; i = (i + 1) % 3 {
			select {
			case <-over:
				return
			case <-time.After(700 * time.Millisecond):
			}
			s.kill(i)
			kills++
			s.start(i)
		}
	})
	s.lost(t, "%d kills", kills)
}

// Redis is cut off, and slowed down, again and again. Nobody is sent to connect anew for
// that, and nothing is lost.
func TestThreeGatewaysLoseRedisAndGetItBack(t *testing.T) {
	users, part := storms()
	s := newStorm(t, users)
	cuts := 0
	s.during(part, func(over <-chan struct{}) {
		for {
			for _, fault := range []func(){s.wire.Cut, s.wire.Drop, func() { s.wire.Slow(500 * time.Millisecond) }} {
				fault()
				cuts++
				time.Sleep(400 * time.Millisecond) // the fault is what lasts, not a wait for something
				s.wire.Slow(0)
				s.wire.Mend()
				select {
				case <-over:
					return
				case <-time.After(600 * time.Millisecond):
				}
			}
		}
	})
	if s.unheard.Load() > 0 {
		t.Errorf("%d calls were not heard", s.unheard.Load())
	}
	named := s.lost(t, "%d faults", cuts)
	if len(named) > 0 {
		t.Errorf("nobody was killed, and these are lost: %v", named)
	}
	// It goes on by itself.
	s.said = map[string]int{}
	s.during(2*time.Second, nil)
	if len(s.said) > 0 {
		t.Errorf("with Redis back: %v", s.said)
	}
}

// during has the storm rage while something is done to it.
func (s *storm) during(d time.Duration, meanwhile func(over <-chan struct{})) {
	over := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { s.rage(over) })
	if meanwhile != nil {
		all.Go(func() { meanwhile(over) })
	}
	time.Sleep(d) // so long is the storm
	close(over)
	all.Wait()
}

// lost checks that each loss is named, and gives those who lost something.
func (s *storm) lost(t *testing.T, what string, n int) map[string]bool {
	t.Helper()
	whole, named, unnamed := s.inStep()
	s.provider.mu.Lock()
	defer s.provider.mu.Unlock()
	t.Logf(what+": %d calls, %d unheard, %d refreshes, %d of %d connections in step, %d lost and named; answers %v",
		n, s.calls.Load(), s.unheard.Load(), s.provider.count, whole, s.users, named, s.said)
	if len(unnamed) > 0 {
		t.Errorf("lost, and nobody says why: %v", unnamed)
	}
	said := s.interrupted()
	for user := range s.provider.reused {
		if !said[user] {
			t.Errorf("%s's refresh token came twice, and nobody says why", user)
		}
	}
	for answer := range s.said {
		if strings.Contains(answer, "auth_required") && len(s.provider.reused) == 0 {
			t.Errorf("somebody was sent to connect, and nothing was lost: %v", s.said)
		}
	}
	return s.provider.reused
}
