// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

var writing = []promise{
	{"what was put is what is read", func(b *bench) {
		r := store.Record{Key: "k", Version: 1, Value: []byte("\x00sealed\xff"), Index: []string{"b", "a", "b"}, Expires: b.in(time.Hour + 1500*time.Microsecond)}
		b.put(r)
		b.wantRecord(r)
		r = store.Record{Key: "k", Version: 2}
		b.put(r)
		b.wantRecord(r)
	}},
	{"an absent record is not found", func(b *bench) {
		b.wantAbsent("k")
		b.wantError(b.Delete(b.Context(), "k", 1), store.ErrNotFound)
	}},
	{"create never overwrites", func(b *bench) {
		first := store.Record{Key: "k", Version: 1, Value: []byte("first")}
		b.put(first)
		b.wantError(b.Put(b.Context(), store.Record{Key: "k", Version: 1, Value: []byte("second")}), store.ErrConflict)
		b.wantRecord(first)
	}},
	{"a write at another version changes nothing", func(b *bench) {
		b.wantError(b.Put(b.Context(), store.Record{Key: "k", Version: 2}), store.ErrConflict)
		b.wantAbsent("k")
		b.put(store.Record{Key: "k", Version: 1})
		second := store.Record{Key: "k", Version: 2, Value: []byte("2"), Index: []string{"term"}}
		b.put(second)
		for _, version := range []uint64{1, 2, 4, 1 << 63, 1<<64 - 1} {
			r := store.Record{Key: "k", Version: version, Value: []byte("x"), Index: []string{"other"}}
			b.wantError(b.Put(b.Context(), r), store.ErrConflict)
		}
		b.wantRecord(second)
		b.wantList("term", "k")
		b.wantList("other")
	}},
	{"of many writers of one version exactly one wins", func(b *bench) {
		for version := uint64(1); version <= 5; version++ {
			b.wantRecord(race(b, version))
		}
	}},
	{"delete at another version changes nothing", func(b *bench) {
		r := store.Record{Key: "k", Version: 1, Value: []byte("v"), Index: []string{"term"}}
		b.put(r)
		for _, version := range []uint64{0, 2, 1<<64 - 1} {
			b.wantError(b.Delete(b.Context(), "k", version), store.ErrConflict)
		}
		b.wantRecord(r)
		b.wantList("term", "k")
	}},
	{"a deleted record starts at version 1 again", func(b *bench) {
		b.put(store.Record{Key: "k", Version: 1, Value: []byte("old")})
		b.put(store.Record{Key: "k", Version: 2, Value: []byte("old")})
		if err := b.Delete(b.Context(), "k", 2); err != nil {
			b.Fatal(err)
		}
		b.wantAbsent("k")
		b.wantError(b.Put(b.Context(), store.Record{Key: "k", Version: 3}), store.ErrConflict)
		again := store.Record{Key: "k", Version: 1, Value: []byte("new")}
		b.put(again)
		b.wantRecord(again)
	}},
	{"slices are not shared", func(b *bench) {
		r := store.Record{Key: "k", Version: 1, Value: []byte("value"), Index: []string{"term"}}
		want := r.Clone()
		b.put(r)
		r.Value[0], r.Index[0] = 'X', "X"
		b.wantRecord(want)
		got, _ := b.Get(b.Context(), "k")
		listed := b.list("term", "", 1)[0]
		got.Value[0], got.Index[0], listed.Value[0], listed.Index[0] = 'X', "X", 'X', "X"
		b.wantRecord(want)
	}},
	{"the largest value is kept whole", func(b *bench) {
		r := store.Record{Key: "k", Version: 1, Value: bytes.Repeat([]byte{0, 1, 0xfe, 0xff}, store.MaxValue/4), Index: []string{"term"}}
		b.put(r)
		b.wantRecord(r)
		if got := b.list("term", "", 1); len(got) != 1 || !same(got[0], r) {
			b.Fatal("List returns another value")
		}
	}},
}

// race has many writers write one version at once and returns what the one who
// won wrote.
func race(b *bench, version uint64) (won store.Record) {
	const writers = 32
	var (
		start, done sync.WaitGroup
		errs        [writers]error
	)
	record := func(i int) store.Record {
		return store.Record{Key: "k", Version: version, Value: fmt.Appendf(nil, "writer %d", i), Index: []string{fmt.Sprint(i)}}
	}
	start.Add(1)
	for i := range writers {
		done.Go(func() {
			start.Wait()
			errs[i] = b.Put(b.Context(), record(i))
		})
	}
	start.Done()
	done.Wait()
	winners := 0
	for i, err := range errs {
		if err == nil {
			won = record(i)
			winners++
		} else if !errors.Is(err, store.ErrConflict) {
			b.Errorf("writer %d of version %d: %v, want ErrConflict", i, version, err)
		}
	}
	if winners != 1 {
		b.Fatalf("%d writers of version %d won, want one", winners, version)
	}
	return won
}

var expiring = []promise{
	{"a record whose time has passed reads as absent, to the millisecond", func(b *bench) {
		r := store.Record{Key: "k", Version: 1, Value: []byte("v"), Index: []string{"term"}, Expires: b.in(time.Minute)}
		b.put(r)
		b.clock.advance(time.Minute - time.Millisecond)
		b.wantRecord(r)
		b.wantList("term", "k")
		b.clock.advance(time.Millisecond)
		b.wantAbsent("k")
		b.wantList("term")
		b.wantError(b.Delete(b.Context(), "k", 1), store.ErrNotFound)
		b.wantError(b.Put(b.Context(), store.Record{Key: "k", Version: 2}), store.ErrConflict)
	}},
	{"a record whose time has passed can be created again", func(b *bench) {
		b.put(store.Record{Key: "k", Version: 1, Index: []string{"old", "both"}, Expires: b.in(time.Minute)})
		b.put(store.Record{Key: "k", Version: 2, Index: []string{"old", "both"}, Expires: b.in(time.Minute)})
		b.clock.advance(time.Hour)
		again := store.Record{Key: "k", Version: 1, Value: []byte("again"), Index: []string{"both", "new"}}
		b.put(again)
		b.wantRecord(again)
		b.wantList("old")
		b.wantList("both", "k")
		if n, err := b.Sweep(b.Context(), 10); n != 0 || err != nil {
			b.Fatalf("Sweep = %d, %v; the old time must be forgotten", n, err)
		}
		b.wantRecord(again)
	}},
	{"each write sets the time anew", func(b *bench) {
		b.put(store.Record{Key: "longer", Version: 1, Expires: b.in(time.Minute)})
		b.put(store.Record{Key: "longer", Version: 2, Expires: b.in(3 * time.Minute)})
		b.put(store.Record{Key: "ever", Version: 1, Expires: b.in(time.Minute)})
		b.put(store.Record{Key: "ever", Version: 2})
		b.put(store.Record{Key: "shorter", Version: 1})
		b.put(store.Record{Key: "shorter", Version: 2, Expires: b.in(time.Minute)})
		b.clock.advance(2 * time.Minute)
		sweepAll(b)
		b.wantRecord(store.Record{Key: "longer", Version: 2, Expires: b.in(time.Minute)})
		b.wantRecord(store.Record{Key: "ever", Version: 2})
		b.wantAbsent("shorter")
	}},
	{"a record may be written with a time that has passed", func(b *bench) {
		b.put(store.Record{Key: "k", Version: 1, Value: []byte("v"), Index: []string{"term"}})
		b.put(store.Record{Key: "k", Version: 2, Index: []string{"term"}, Expires: time.Unix(0, 0)})
		b.wantAbsent("k")
		b.wantList("term")
		b.put(store.Record{Key: "k", Version: 1})
	}},
	{"sweep is bounded and thorough", func(b *bench) {
		const past = 25
		for i := range past {
			b.put(store.Record{Key: fmt.Sprintf("past/%02d", i), Version: 1, Index: []string{"term"}, Expires: b.in(time.Minute)})
		}
		b.put(store.Record{Key: "later", Version: 1, Index: []string{"term"}, Expires: b.in(time.Hour)})
		b.put(store.Record{Key: "never", Version: 1, Index: []string{"term"}})
		b.clock.advance(time.Minute)
		if n := sweepAll(b); n != past && n != 0 {
			b.Fatalf("all sweeps together removed %d, want %d (or 0 where the store forgets by itself)", n, past)
		}
		b.wantList("term", "later", "never")
		if n, err := b.Sweep(b.Context(), 0); n != 0 || err != nil {
			b.Fatalf("Sweep with limit 0 = %d, %v", n, err)
		}
	}},
}

// sweepAll sweeps in small steps until nothing is left and returns how many
// records it removed.
func sweepAll(b *bench) (all int) {
	b.Helper()
	const limit = 10
	for {
		n, err := b.Sweep(b.Context(), limit)
		if err != nil || n > limit {
			b.Fatalf("Sweep(%d) = %d, %v", limit, n, err)
		}
		all += n
		if n < limit {
			return all
		}
		if all > 1000 {
			b.Fatal("Sweep finds more and more to remove")
		}
	}
}

// oddKeys look alike to whoever cleans, folds, cuts, joins or matches them.
var oddKeys = []string{
	"a", "A", "a/", "/a", "//a", "a/b", "a/../b", "..", "../a", ".", "a\\b", "a b", " a", "a ", "a\n", "a\x00", "\x00", "a\x00b", "\x00\x00",
	"alice", "Alice", "ALICE", "alice@example.com", "Alice@Example.com", "é", "e\u0301", "ß", "ss", "\xff", "\xff\xfe", "日本", "💧",
	"*", "a*", "?", "%", "%2F", "{a}", "a}", ":", "a:b", "\u202e", "\ufeff", "-1", "0", "nil", "con", "k" + strings.Repeat("x", 300),
	strings.Repeat("k", store.MaxKey-1), strings.Repeat("k", store.MaxKey), strings.Repeat("\x00", store.MaxKey), strings.Repeat("\xff", store.MaxKey),
}

var keying = []promise{
	{"odd keys stay distinct", func(b *bench) {
		for i, key := range oddKeys {
			b.put(store.Record{Key: key, Version: 1, Value: fmt.Append(nil, i)})
		}
		for i, key := range oddKeys {
			b.wantRecord(store.Record{Key: key, Version: 1, Value: fmt.Append(nil, i)})
		}
		for i, key := range oddKeys {
			if err := b.Delete(b.Context(), key, 1); err != nil {
				b.Fatalf("Delete(%.40q): %v", key, err)
			}
			b.wantAbsent(key)
			for _, other := range oddKeys[i+1:] {
				if _, err := b.Get(b.Context(), other); err != nil {
					b.Fatalf("after Delete(%.40q), Get(%.40q): %v", key, other, err)
				}
			}
		}
	}},
	{"odd terms stay distinct", func(b *bench) {
		for i, term := range oddKeys {
			b.put(store.Record{Key: fmt.Sprint("key ", i), Version: 1, Index: []string{term}})
		}
		for i, term := range oddKeys {
			b.wantList(term, fmt.Sprint("key ", i))
		}
	}},
	{"what cannot be stored is refused and changes nothing", func(b *bench) {
		old := store.Record{Key: "k", Version: 1, Value: []byte("v"), Index: []string{"term"}}
		b.put(old)
		tooLong := strings.Repeat("k", store.MaxKey+1)
		for _, r := range []store.Record{
			{Version: 1},
			{Key: tooLong, Version: 1},
			{Key: "k", Version: 0},
			{Key: "k", Version: 2, Value: make([]byte, store.MaxValue+1)},
			{Key: "k", Version: 2, Index: []string{"other", ""}},
			{Key: "k", Version: 2, Index: []string{"other", tooLong}},
		} {
			b.wantError(b.Put(b.Context(), r), store.ErrInvalid)
		}
		for _, key := range []string{"", tooLong} {
			_, err := b.Get(b.Context(), key)
			b.wantError(err, store.ErrInvalid)
			b.wantError(b.Delete(b.Context(), key, 1), store.ErrInvalid)
			_, err = b.List(b.Context(), key, "", 1)
			b.wantError(err, store.ErrInvalid)
			_, err = b.Lease(b.Context(), key, time.Minute)
			b.wantError(err, store.ErrInvalid)
		}
		b.wantRecord(old)
		b.wantList("term", "k")
		b.wantList("other")
	}},
}
