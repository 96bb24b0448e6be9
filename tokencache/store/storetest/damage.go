// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

// RunDamaged holds a store to what it promises while one of its records cannot be read.
// Open is as in [Run]; damage spoils the record of that key behind the store's back.
func RunDamaged(t *testing.T, open func(t *testing.T, now func() time.Time) store.Store, damage func(t *testing.T, s store.Store, key string)) {
	for _, p := range damaged {
		t.Run(p.words, func(t *testing.T) {
			clock := newClock()
			s := open(t, clock.Now)
			t.Cleanup(func() { s.Close() })
			b := &bench{T: t, Store: s, clock: clock}
			for i := range 9 {
				b.put(store.Record{Key: fmt.Sprintf("k%d", i), Version: 1, Value: []byte("v"), Index: []string{"term"}, Expires: b.in(time.Hour)})
			}
			damage(t, s, bad)
			p.check(b)
		})
	}
}

// bad is the record that was spoilt, and good are the others.
const bad = "k4"

var good = []string{"k0", "k1", "k2", "k3", "k5", "k6", "k7", "k8"}

var damaged = []promise{
	{"a record that cannot be read is named and never absent", func(b *bench) {
		_, err := b.Get(b.Context(), bad)
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNewer) || errors.Is(err, store.ErrNotFound) {
			b.Errorf("Get: %v", err)
		}
		for _, key := range good {
			if _, err := b.Get(b.Context(), key); err != nil {
				b.Errorf("Get of %s, which is whole: %v", key, err)
			}
		}
	}},
	{"a list leaves out the record that cannot be read and no other", func(b *bench) {
		for _, limit := range []int{1, 4, 5, 8, 100} {
			for range 2 { // a look must not take anything away
				if got := pages(b, "term", limit); !slices.Equal(got, good) {
					b.Errorf("in pages of %d: %q", limit, got)
				}
			}
		}
	}},
	{"a scan names the record that cannot be read and goes on behind it", func(b *bench) {
		scanner, scans := b.Store.(store.Scanner)
		if !scans {
			b.Skip("the store is no store.Scanner")
		}
		for _, limit := range []int{1, 4, 5, 100} {
			var got, named []string
			for after, done := "", false; !done; {
				page, err := scanner.Scan(b.Context(), after, limit)
				got = append(got, keys(page)...)
				unreadable, ok := errors.AsType[*store.UnreadableError](err)
				switch {
				case ok:
					after, named = unreadable.Key, append(named, unreadable.Key)
					b.wantError(err, store.ErrUnavailable)
				case err != nil || len(named) > 1:
					b.Fatalf("in pages of %d, after %q: %v", limit, after, err)
				case len(page) < limit:
					done = true
				default:
					after = page[len(page)-1].Key
				}
			}
			if !slices.Equal(got, good) || !slices.Equal(named, []string{bad}) {
				b.Errorf("in pages of %d: %q, and %q named", limit, got, named)
			}
		}
	}},
	{"a sweep goes past the record that cannot be read", func(b *bench) {
		b.clock.advance(2 * time.Hour)
		sweepAll(b)
		b.put(store.Record{Key: "new", Version: 1, Index: []string{"term"}})
		b.wantList("term", "new")
	}},
}
