// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

// scanning is for stores that are a store.Scanner.
var scanning = []promise{
	{"a scan returns whole records, with terms or without", func(b *bench) {
		records := []store.Record{
			{Key: "a", Version: 1, Value: []byte("v"), Index: []string{"y", "x"}, Expires: b.in(time.Hour)},
			{Key: "b", Version: 1},
		}
		for _, r := range records {
			b.put(r)
		}
		got := b.scan("", 10)
		if len(got) != 2 || !same(got[0], records[0]) || !same(got[1], records[1]) {
			b.Fatalf("Scan = %v", got)
		}
		got[0].Value[0], got[0].Index[0] = 'X', "X"
		b.wantRecord(records[0])
	}},
	{"a scan goes in byte order of the keys, odd ones too, each once", func(b *bench) {
		want := slices.Sorted(slices.Values(oddKeys))
		for _, key := range oddKeys {
			b.put(store.Record{Key: key, Version: 1, Index: []string{"term", "other"}})
		}
		for _, limit := range []int{1, 7, len(want), len(want) + 1} {
			if got := scanAll(b, limit); !slices.Equal(got, want) {
				b.Fatalf("in pages of %d: %.40q, want %.40q", limit, got, want)
			}
		}
		if got := keys(b.scan("a", 2)); !slices.Equal(got, []string{"a\x00", "a\x00b"}) {
			b.Fatalf("after \"a\": %q", got)
		}
		for _, limit := range []int{0, -1} {
			if got := b.scan("", limit); len(got) != 0 {
				b.Fatalf("with limit %d: %q", limit, keys(got))
			}
		}
	}},
	{"a scan finds what is there now, and no lease", func(b *bench) {
		b.lease("lease")
		b.put(store.Record{Key: "deleted", Version: 1})
		b.put(store.Record{Key: "changed", Version: 1, Value: []byte("1")})
		b.put(store.Record{Key: "changed", Version: 2, Value: []byte("2")})
		if err := b.Delete(b.Context(), "deleted", 1); err != nil {
			b.Fatal(err)
		}
		got := b.scan("", 10)
		if len(got) != 1 || got[0].Version != 2 || string(got[0].Value) != "2" {
			b.Fatalf("Scan = %v", got)
		}
	}},
	{"records whose time has passed do not shorten a scan's page", func(b *bench) {
		for i := range 20 {
			r := store.Record{Key: fmt.Sprintf("key/%02d", i), Version: 1}
			if i%2 == 0 {
				r.Expires = b.in(time.Minute)
			}
			b.put(r)
		}
		b.clock.advance(time.Minute)
		if got := keys(b.scan("", 3)); !slices.Equal(got, []string{"key/01", "key/03", "key/05"}) {
			b.Fatalf("Scan finds %q", got)
		}
		if got := scanAll(b, 3); len(got) != 10 {
			b.Fatalf("all pages hold %q, want the ten that live", got)
		}
	}},
	{"a scan ends as other calls do", func(b *bench) {
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		if _, err := b.Store.(store.Scanner).Scan(ctx, "", 1); !errors.Is(err, context.Canceled) {
			b.Errorf("with a context that has ended: %v", err)
		}
		if err := b.Close(); err != nil {
			b.Fatal(err)
		}
		if _, err := b.Store.(store.Scanner).Scan(b.Context(), "", 1); !errors.Is(err, store.ErrUnavailable) {
			b.Errorf("after Close: %v", err)
		}
	}},
}

func (b *bench) scan(after string, limit int) []store.Record {
	b.Helper()
	found, err := b.Store.(store.Scanner).Scan(b.Context(), after, limit)
	if err != nil {
		b.Fatalf("Scan(%.40q): %v", after, err)
	}
	return found
}

// scanAll reads everything, page by page.
func scanAll(b *bench, limit int) (all []string) {
	b.Helper()
	for after := ""; ; after = all[len(all)-1] {
		page := keys(b.scan(after, limit))
		all = append(all, page...)
		if len(page) < limit {
			return all
		}
	}
}
