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

// indexed is a store, and the client to look behind it.
func indexed(t *testing.T) (*Store, redis.UniversalClient) {
	t.Helper()
	s := opened(t, Config{Addresses: []string{redistest.Start(t).Addr}})
	client, _, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	return s, client
}

// age makes everything older than the grace.
func age(t *testing.T, s *Store, c redis.UniversalClient) {
	t.Helper()
	notes, err := c.Keys(t.Context(), s.prefix+"n:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, note := range notes {
		c.Del(t.Context(), note)
	}
	for _, entry := range c.ZRange(t.Context(), s.leftoversKey(), 0, -1).Val() {
		c.ZAdd(t.Context(), s.leftoversKey(), redis.Z{Member: entry})
	}
}

func sweep(t *testing.T, s *Store) {
	t.Helper()
	if n, err := s.Sweep(t.Context(), 100); n != 0 || err != nil {
		t.Fatalf("Sweep: %d, %v", n, err)
	}
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
	dead := store.Record{Key: "dead", Version: 1, Index: []string{"term"}}
	if err := s.announce(t.Context(), c, dead); err != nil {
		t.Fatal(err)
	}
	if len(list(t, s)) != 0 || !slices.Equal(entries(t, s, c), []string{"dead"}) {
		t.Error("an entry that may belong to a writer at work is gone")
	}
	age(t, s, c)
	list(t, s)
	if n := len(entries(t, s, c)); n != 0 {
		t.Errorf("%d entries stay", n)
	}
}

// A writer between index and record, while somebody else looks and tidies up.
func TestAWriterAtWorkIsNotTidiedAway(t *testing.T) {
	s, c := indexed(t)
	r := store.Record{Key: "k", Version: 1, Index: []string{"term"}}
	if err := s.announce(t.Context(), c, r); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		list(t, s)
		s.tidy(t.Context(), c, pairs(r.Index, r.Key))
		sweep(t, s)
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
	for _, key := range []string{"a", "b"} {
		mustPut(t, s, store.Record{Key: key, Version: 1, Index: []string{"term"}})
		if err := s.Delete(t.Context(), key, 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(entries(t, s, c)); n != 2 {
		t.Errorf("%d entries right after: they are too recent to be taken out", n)
	}
	sweep(t, s)
	if n := len(entries(t, s, c)); n != 2 {
		t.Errorf("%d entries after a sweep: they are still too recent", n)
	}
	age(t, s, c)
	sweep(t, s)
	if n := len(entries(t, s, c)); n != 0 {
		t.Errorf("%d entries stay", n)
	}
	if n, err := c.Exists(t.Context(), s.leftoversKey()).Result(); err != nil || n != 0 {
		t.Errorf("the list of leftovers stays: %d, %v", n, err)
	}
}

func TestAnExpiredRecordLeavesNoEntryForLong(t *testing.T) {
	s, c := indexed(t)
	mustPut(t, s, store.Record{Key: "k", Version: 1, Index: []string{"term"}, Expires: time.Now().Add(time.Hour)})
	if len(list(t, s)) != 1 {
		t.Error("it is not found while it lives")
	}
	c.Del(t.Context(), s.recordKey("k")) // its time has passed
	age(t, s, c)
	sweep(t, s)
	if n := len(entries(t, s, c)); n != 0 {
		t.Errorf("%d entries stay", n)
	}
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
