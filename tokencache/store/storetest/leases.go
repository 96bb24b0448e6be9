// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

var leasing = []promise{
	{"a lease that is held is given to nobody else", func(b *bench) {
		b.lease("l")
		b.wantHeld("l")
		b.lease("L")
		b.lease("l\x00")
	}},
	{"a lease that was released can be taken at once", func(b *bench) {
		b.release(b.lease("l"))
		b.lease("l")
		b.wantHeld("l")
	}},
	{"a lease ends by the clock", func(b *bench) {
		b.lease("l")
		b.clock.advance(time.Minute - time.Millisecond)
		b.wantHeld("l")
		b.clock.advance(time.Millisecond)
		b.lease("l")
		b.wantHeld("l")
	}},
	{"the fence grows with every lease of a name", func(b *bench) {
		last := uint64(0)
		for i := range 6 {
			l := b.lease("l")
			if l.Fence <= last {
				b.Fatalf("fence %d follows %d", l.Fence, last)
			}
			last = l.Fence
			b.lease(fmt.Sprint("other ", i))
			if i%2 == 0 {
				b.release(l)
			}
			b.clock.advance(time.Minute)
			b.Sweep(b.Context(), 10)
		}
	}},
	{"a late release does nothing to the next holder", func(b *bench) {
		late := b.lease("l")
		b.clock.advance(time.Minute)
		next := b.lease("l")
		b.release(late)
		b.release(late)
		b.wantHeld("l")
		b.release(next)
		b.lease("l")
	}},
	{"a lease outlives a sweep", func(b *bench) {
		b.lease("l")
		if _, err := b.Sweep(b.Context(), 10); err != nil {
			b.Fatal(err)
		}
		b.wantHeld("l")
	}},
	{"leases and records of one name do not meet", func(b *bench) {
		l := b.lease("k")
		r := store.Record{Key: "k", Version: 1, Value: []byte("v")}
		b.wantAbsent("k")
		b.put(r)
		b.wantHeld("k")
		b.release(l)
		b.wantRecord(r)
	}},
	{"of many who want a lease exactly one gets it", func(b *bench) {
		var all sync.WaitGroup
		var got atomic.Int32
		for range 32 {
			all.Go(func() {
				_, err := b.Lease(b.Context(), "l", time.Minute)
				if err == nil {
					got.Add(1)
				} else if !errors.Is(err, store.ErrHeld) {
					b.Errorf("Lease: %v", err)
				}
			})
		}
		all.Wait()
		if got.Load() != 1 {
			b.Fatalf("%d got the lease", got.Load())
		}
	}},
	{"a lease without a time to live is refused", func(b *bench) {
		for _, ttl := range []time.Duration{0, -time.Minute} {
			_, err := b.Lease(b.Context(), "l", ttl)
			b.wantError(err, store.ErrInvalid)
		}
	}},
}

// lease takes the lease for a minute.
func (b *bench) lease(name string) store.Lease {
	b.Helper()
	l, err := b.Lease(b.Context(), name, time.Minute)
	if err != nil {
		b.Fatalf("Lease(%q): %v", name, err)
	}
	return l
}

func (b *bench) release(l store.Lease) {
	b.Helper()
	if err := l.Release(b.Context()); err != nil {
		b.Fatalf("Release: %v", err)
	}
}

func (b *bench) wantHeld(name string) {
	b.Helper()
	if _, err := b.Lease(b.Context(), name, time.Minute); !errors.Is(err, store.ErrHeld) {
		b.Fatalf("Lease(%q): %v, want ErrHeld", name, err)
	}
}

var ending = []promise{
	{"a context that has ended changes nothing", func(b *bench) {
		r := store.Record{Key: "k", Version: 1, Value: []byte("v")}
		b.put(r)
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		for method, err := range eachMethod(ctx, b.Store) {
			if !errors.Is(err, context.Canceled) {
				b.Errorf("%s: %v, want context.Canceled", method, err)
			}
		}
		b.wantRecord(r)
		b.lease("lease")
	}},
	{"after Close everything is unavailable", func(b *bench) {
		b.put(store.Record{Key: "k", Version: 1})
		l := b.lease("lease")
		if err := b.Close(); err != nil {
			b.Fatal(err)
		}
		for method, err := range eachMethod(b.Context(), b.Store) {
			if !errors.Is(err, store.ErrUnavailable) {
				b.Errorf("%s: %v, want ErrUnavailable", method, err)
			}
		}
		l.Release(b.Context()) // must not panic
		b.Close()              // must not panic
	}},
}
