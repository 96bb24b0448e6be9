// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package storetest holds every store to the contract of package store, one
// subtest for each promise. Stores by strangers may run it too.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

// Run runs the suite; a store that is a store.Scanner is held to that too. Open returns an empty store, a new one for every promise,
// that goes by the clock now; that clock stands still but where a test moves it.
// Run closes what open returned. What a store.Watcher promises is asked of those
// that are one.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) store.Store) {
	promises := slices.Concat(writing, expiring, listing, keying, leasing, ending)
	first := open(t, time.Now)
	defer first.Close()
	if watches(first) {
		promises = append(promises, watching...)
	}
	for _, p := range promises {
		t.Run(p.words, func(t *testing.T) {
			clock := newClock()
			s := open(t, clock.Now)
			t.Cleanup(func() { s.Close() })
			p.check(&bench{T: t, Store: s, clock: clock})
		})
	}
	for _, p := range scanning {
		t.Run(p.words, func(t *testing.T) {
			clock := newClock()
			s := open(t, clock.Now)
			t.Cleanup(func() { s.Close() })
			if _, scans := s.(store.Scanner); !scans {
				t.Skip("the store is no store.Scanner")
			}
			p.check(&bench{T: t, Store: s, clock: clock})
		})
	}
}

type promise struct {
	words string
	check func(*bench)
}

// bench is one test at work on one store.
type bench struct {
	*testing.T
	store.Store
	clock *clock
}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// The clock starts in the future: a store whose server also forgets by a clock
// of its own then keeps each record at least as long as this clock wants it.
func newClock() *clock {
	return &clock{now: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// in returns the time that lies d ahead.
func (b *bench) in(d time.Duration) time.Time { return b.clock.Now().Add(d) }

// put writes what the test needs to be there.
func (b *bench) put(r store.Record) {
	b.Helper()
	if err := b.Put(b.Context(), r); err != nil {
		b.Fatalf("Put(%.40q, version %d): %v", r.Key, r.Version, err)
	}
}

// wantRecord fails unless exactly this record is stored.
func (b *bench) wantRecord(want store.Record) {
	b.Helper()
	got, err := b.Get(b.Context(), want.Key)
	if err != nil {
		b.Fatalf("Get(%.40q): %v", want.Key, err)
	}
	if !same(got, want) {
		b.Fatalf("Get(%.40q) = %.200v, want %.200v", want.Key, got, want.Clone())
	}
}

func (b *bench) wantAbsent(key string) {
	b.Helper()
	if r, err := b.Get(b.Context(), key); !errors.Is(err, store.ErrNotFound) {
		b.Fatalf("Get(%.40q) = version %d, %v; want ErrNotFound", key, r.Version, err)
	}
}

func (b *bench) wantError(err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("the error is %v, want %v", err, want)
	}
}

// wantList fails unless the term finds exactly these keys, in this order.
func (b *bench) wantList(term string, want ...string) {
	b.Helper()
	if got := keys(b.list(term, "", 100)); !slices.Equal(got, want) {
		b.Fatalf("List(%.40q) finds %.40q, want %.40q", term, got, want)
	}
}

func (b *bench) list(term, after string, limit int) []store.Record {
	b.Helper()
	found, err := b.List(b.Context(), term, after, limit)
	if err != nil {
		b.Fatalf("List(%.40q): %v", term, err)
	}
	return found
}

func keys(records []store.Record) (all []string) {
	for _, r := range records {
		all = append(all, r.Key)
	}
	return all
}

// same compares got with the canonical form of want. Whether an empty slice is
// nil is nobody's business.
func same(got, want store.Record) bool {
	want = want.Clone()
	return got.Key == want.Key && got.Version == want.Version && got.Expires.Equal(want.Expires) &&
		bytes.Equal(got.Value, want.Value) && slices.Equal(got.Index, want.Index)
}

// eachMethod calls every method of the store once, with arguments that are valid.
func eachMethod(ctx context.Context, s store.Store) map[string]error {
	_, get := s.Get(ctx, "k")
	_, list := s.List(ctx, "term", "", 10)
	_, lease := s.Lease(ctx, "lease", time.Minute)
	_, sweep := s.Sweep(ctx, 10)
	return map[string]error{
		"Get": get, "List": list, "Lease": lease, "Sweep": sweep,
		"Put":    s.Put(ctx, store.Record{Key: "k", Version: 2, Value: []byte("other")}),
		"Delete": s.Delete(ctx, "k", 1),
	}
}
