// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// LocalLeases are the leases of a store that only one process has open, so that
// its memory is where everybody looks. The zero value holds none.
type LocalLeases struct {
	mu   sync.Mutex
	held map[string]hold
}

type hold struct {
	fence uint64
	until time.Time
}

// Take takes the lease as of now, with the number that fence returns. Only one
// call of fence is under way at a time, and none where the lease is held.
func (l *LocalLeases) Take(name string, ttl time.Duration, now time.Time, fence func() (uint64, error)) (Lease, error) {
	if err := CheckKey(name); err != nil {
		return Lease{}, err
	}
	if ttl <= 0 {
		return Lease{}, fmt.Errorf("%w: a lease needs a time to live", ErrInvalid)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, held := l.held[name]; held && now.Before(h.until) {
		return Lease{}, ErrHeld
	}
	number, err := fence()
	if err != nil {
		return Lease{}, err
	}
	if l.held == nil {
		l.held = make(map[string]hold)
	}
	l.held[name] = hold{number, now.Add(ttl)}
	return Lease{Fence: number, Release: func(context.Context) error {
		l.release(name, number)
		return nil
	}}, nil
}

// release ends the lease only if it is still this one: after the ttl, somebody
// else may hold it.
func (l *LocalLeases) release(name string, fence uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[name].fence == fence {
		delete(l.held, name)
	}
}

// Sweep forgets leases that ended by the clock and that nobody asked for again.
func (l *LocalLeases) Sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.held, func(_ string, h hold) bool { return !now.Before(h.until) })
}
