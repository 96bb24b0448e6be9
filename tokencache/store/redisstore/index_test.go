// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
)

// indexed is a store whose index entries are settled after a moment.
func indexed(t *testing.T) (*Store, redis.UniversalClient) {
	t.Helper()
	s := opened(t, Config{Addresses: []string{redistest.Start(t).Addr}})
	s.grace = 30 * time.Millisecond
	client, _, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	return s, client
}

// entries are what the index of the term holds.
func entries(t *testing.T, s *Store, c redis.UniversalClient) []string {
	t.Helper()
	keys, err := s.keysOf(t.Context(), c, "term", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func list(t *testing.T, s *Store) []store.Record {
	t.Helper()
	found, err := s.List(t.Context(), "term", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A writer that died between index and record.
func TestAnEntryWithoutARecordIsSkippedAndTakenOutWhenItIsOld(t *testing.T) {
	s, c := indexed(t)
	s.grace = 300 * time.Millisecond
	dead := store.Record{Key: "dead", Version: 1, Index: []string{"term"}}
	if err := s.announce(t.Context(), c, dead); err != nil {
		t.Fatal(err)
	}
	if len(list(t, s)) != 0 || !slices.Equal(entries(t, s, c), []string{"dead"}) {
		t.Error("an entry that may belong to a writer at work is gone")
	}
	redistest.Eventually(t, "List takes it out", func() bool {
		list(t, s)
		return len(entries(t, s, c)) == 0
	})
}

// A writer between index and record, while somebody else looks and tidies up.
func TestAWriterAtWorkIsNotTidiedAway(t *testing.T) {
	s, c := indexed(t)
	s.grace = time.Minute
	r := store.Record{Key: "k", Version: 1, Index: []string{"term"}}
	if err := s.announce(t.Context(), c, r); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		list(t, s)
		s.tidy(t.Context(), c, pairs(r.Index, r.Key))
		if _, err := s.Sweep(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	client := []string{s.recordKey("k")}
	if err := putScript.Run(t.Context(), c, client, s.clock(), newMark(), "0", "1", "v", "", packTerms(r.Index), s.channel, "k").Err(); err != nil {
		t.Fatal(err)
	}
	if len(list(t, s)) != 1 {
		t.Error("a record that the index does not know")
	}
}

func TestADeletedRecordLeavesNoEntryForLong(t *testing.T) {
	s, c := indexed(t)
	s.grace = 200 * time.Millisecond
	for _, key := range []string{"a", "b"} {
		mustPut(t, s, store.Record{Key: key, Version: 1, Index: []string{"term"}})
		if err := s.Delete(t.Context(), key, 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(entries(t, s, c)); n != 2 {
		t.Errorf("%d entries right after: they are too recent to be taken out", n)
	}
	redistest.Eventually(t, "Sweep takes them out", func() bool {
		if _, err := s.Sweep(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		return len(entries(t, s, c)) == 0
	})
	if n, err := c.Exists(t.Context(), s.leftoversKey()).Result(); err != nil || n != 0 {
		t.Errorf("the list of leftovers stays: %d, %v", n, err)
	}
}

func TestAnExpiredRecordLeavesNoEntryForLong(t *testing.T) {
	s, c := indexed(t)
	mustPut(t, s, store.Record{Key: "k", Version: 1, Index: []string{"term"}, Expires: time.Now().Add(100 * time.Millisecond)})
	if len(list(t, s)) != 1 {
		t.Error("it is not found while it lives")
	}
	redistest.Eventually(t, "Sweep takes it out", func() bool {
		if _, err := s.Sweep(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		return len(entries(t, s, c)) == 0
	})
	mustPut(t, s, store.Record{Key: "k", Version: 1, Index: []string{"term"}})
	if len(list(t, s)) != 1 {
		t.Error("made again, it is not found")
	}
}

func TestAnIndexThatWasLostComesBackWithTheNextWrite(t *testing.T) {
	s, c := indexed(t)
	mustPut(t, s, store.Record{Key: "k", Version: 1, Index: []string{"term"}})
	if err := c.Del(t.Context(), s.indexKeys(pair{term: "term"})[0]).Err(); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, store.Record{Key: "k", Version: 2, Index: []string{"term"}})
	if len(list(t, s)) != 1 {
		t.Error("it is not found")
	}
}

func TestRecordsExpireOnTheServerItself(t *testing.T) {
	s, c := indexed(t)
	mustPut(t, s, store.Record{Key: "k", Version: 1, Expires: time.Now().Add(50 * time.Millisecond)})
	redistest.Eventually(t, "it is gone", func() bool {
		n, err := c.Exists(t.Context(), s.recordKey("k")).Result()
		return err == nil && n == 0
	})
	mustPut(t, s, store.Record{Key: "k", Version: 1})
}
