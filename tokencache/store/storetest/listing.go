// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

var listing = []promise{
	{"list returns whole records", func(b *bench) {
		r := store.Record{Key: "k", Version: 1, Value: []byte("v"), Index: []string{"y", "x"}, Expires: b.in(time.Hour)}
		b.put(r)
		for _, term := range r.Index {
			if got := b.list(term, "", 10); len(got) != 1 || !same(got[0], r) {
				b.Fatalf("List(%q) = %v, want %v", term, got, r.Clone())
			}
		}
	}},
	{"each write replaces the index terms", func(b *bench) {
		b.put(store.Record{Key: "k", Version: 1, Index: []string{"a", "b"}})
		b.put(store.Record{Key: "k", Version: 2, Index: []string{"b", "c"}})
		b.wantList("a")
		b.wantList("b", "k")
		b.wantList("c", "k")
		b.put(store.Record{Key: "k", Version: 3})
		b.wantList("b")
		b.wantList("c")
	}},
	{"a deleted record is found no more", func(b *bench) {
		b.put(store.Record{Key: "gone", Version: 1, Index: []string{"term"}})
		b.put(store.Record{Key: "kept", Version: 1, Index: []string{"term"}})
		if err := b.Delete(b.Context(), "gone", 1); err != nil {
			b.Fatal(err)
		}
		b.wantList("term", "kept")
		b.put(store.Record{Key: "gone", Version: 1})
		b.wantList("term", "kept")
	}},
	{"list goes in byte order of the keys", func(b *bench) {
		want := []string{"\x00", "A", "B", "a", "a\x00", "a\x00b", "a/", "a/1", "a/10", "a/2", "aa", "b", "é", "\xff", "\xff\xff"}
		for i := range want {
			// Written in another order than they are read: 7 has no divisor
			// in common with the number of keys.
			b.put(store.Record{Key: want[i*7%len(want)], Version: 1, Index: []string{"term"}})
		}
		b.wantList("term", want...)
	}},
	{"pages join without a gap and without a repeat", func(b *bench) {
		var want []string
		for i := range 23 {
			key := fmt.Sprintf("key/%02d", i)
			want = append(want, key)
			b.put(store.Record{Key: key, Version: 1, Index: []string{"term"}})
		}
		for _, limit := range []int{1, 5, 22, 23, 24} {
			if got := pages(b, "term", limit); !slices.Equal(got, want) {
				b.Fatalf("in pages of %d: %q, want %q", limit, got, want)
			}
		}
		if got := keys(b.list("term", "key/20x", 10)); !slices.Equal(got, want[21:]) {
			b.Fatalf("after a key that does not exist: %q, want %q", got, want[21:])
		}
		for _, limit := range []int{0, -1} {
			if got := b.list("term", "", limit); len(got) != 0 {
				b.Fatalf("with limit %d: %q", limit, keys(got))
			}
		}
	}},
	{"records whose time has passed do not shorten a page", func(b *bench) {
		for i := range 20 {
			r := store.Record{Key: fmt.Sprintf("key/%02d", i), Version: 1, Index: []string{"term"}}
			if i%2 == 0 {
				r.Expires = b.in(time.Minute)
			}
			b.put(r)
		}
		b.clock.advance(time.Minute)
		want := []string{"key/01", "key/03", "key/05", "key/07"}
		if got := keys(b.list("term", "", 4)); !slices.Equal(got, want) {
			b.Fatalf("List finds %q, want %q", got, want)
		}
		if got := pages(b, "term", 3); len(got) != 10 {
			b.Fatalf("all pages hold %q, want the ten that live", got)
		}
	}},
	{"terms that begin alike do not mix", func(b *bench) {
		terms := []string{
			"user/acme/al", "user/acme/alice", "user/acme/Alice", "user/acme/al/", "user/acme", "user/acme/", "user/acme/al\x00", "user/acme/al\x00ice",
			strings.Repeat("t", store.MaxKey), strings.Repeat("t", store.MaxKey-1),
		}
		for i, term := range terms {
			b.put(store.Record{Key: fmt.Sprint(i), Version: 1, Index: []string{term}})
		}
		for i, term := range terms {
			b.wantList(term, fmt.Sprint(i))
		}
		b.wantList("user")
	}},
	{"where a term ends and a key begins is never in doubt", func(b *bench) {
		b.put(store.Record{Key: "b/c", Version: 1, Index: []string{"a"}})
		b.put(store.Record{Key: "c", Version: 1, Index: []string{"a/b"}})
		b.put(store.Record{Key: "\x00x", Version: 1, Index: []string{"n"}})
		b.put(store.Record{Key: "x", Version: 1, Index: []string{"n\x00"}})
		b.wantList("a", "b/c")
		b.wantList("a/b", "c")
		b.wantList("n", "\x00x")
		b.wantList("n\x00", "x")
	}},
}

// pages reads everything under the term, page by page.
func pages(b *bench, term string, limit int) (all []string) {
	b.Helper()
	after := ""
	for {
		page := keys(b.list(term, after, limit))
		if len(page) > limit {
			b.Fatalf("a page of %d records, the limit is %d", len(page), limit)
		}
		if limit > 0 && len(page) == limit && page[0] <= after {
			b.Fatalf("the page after %q begins with %q", after, page[0])
		}
		all = append(all, page...)
		if len(page) < limit {
			return all
		}
		after = page[len(page)-1]
	}
}
