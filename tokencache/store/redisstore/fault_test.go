// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
)

// wired is a store whose server is behind a wire that the test can spoil.
func wired(t *testing.T) (*Store, *redistest.Proxy) {
	t.Helper()
	wire := redistest.NewProxy(t, redistest.Start(t).Addr)
	return opened(t, Config{Addresses: []string{wire.Addr}, Timeout: 2 * time.Second}), wire
}

func opened(t testing.TB, cfg Config) *Store {
	s := New(cfg)
	t.Cleanup(func() { s.Close() })
	return s
}

func mustPut(t testing.TB, s *Store, r store.Record) {
	t.Helper()
	if err := s.Put(context.Background(), r); err != nil {
		t.Fatalf("Put version %d: %v", r.Version, err)
	}
}

func TestAPutWhoseAnswerWasLostIsNotTakenForSomebodyElses(t *testing.T) {
	s, wire := wired(t)
	mustPut(t, s, store.Record{Key: "warm", Version: 1}) // the script is known
	for version := uint64(1); version <= 5; version++ {
		wire.LoseAnswers("evalsha", 1)
		mustPut(t, s, store.Record{Key: "k", Version: version, Value: []byte(strconv.FormatUint(version, 10))})
	}
	if r, err := s.Get(t.Context(), "k"); err != nil || r.Version != 5 || string(r.Value) != "5" {
		t.Errorf("version %d, %v", r.Version, err)
	}
	if err := s.Put(t.Context(), store.Record{Key: "k", Version: 5}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("another write of that version: %v", err)
	}
}

func TestALeaseWhoseAnswerWasLostIsItsHolders(t *testing.T) {
	s, wire := wired(t)
	first, err := s.Lease(t.Context(), "warm", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	wire.LoseAnswers("evalsha", 1)
	l, err := s.Lease(t.Context(), "l", time.Minute)
	if err != nil || l.Fence < first.Fence {
		t.Fatalf("fence %d, %v", l.Fence, err)
	}
	wire.LoseAnswers("evalsha", 1)
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lease(t.Context(), "l", time.Minute); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

func TestADeleteThatIsSentAgainSparesWhatWasMadeAnew(t *testing.T) {
	s, _ := wired(t)
	mustPut(t, s, store.Record{Key: "k", Version: 1, Value: []byte("old")})
	client, _, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.record("k", s.fetch(t.Context(), client, "k"))
	if err != nil {
		t.Fatal(err)
	}
	send := func(mark string) int {
		n, err := deleteScript.Run(t.Context(), client, []string{s.recordKey("k")}, s.clock(), mark, old.mark, s.channel, "k").Int()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := newMark()
	if n := send(first); n != 1 {
		t.Fatalf("the first time: %d", n)
	}
	if n := send(first); n != 1 {
		t.Fatalf("again: %d", n)
	}
	mustPut(t, s, store.Record{Key: "k", Version: 1, Value: []byte("new")})
	if n := send(first); n != 1 {
		t.Errorf("after it was made anew: %d", n)
	}
	if n := send(newMark()); n != deleteOther {
		t.Errorf("another one's deletion of the old record: %d", n)
	}
	if r, err := s.Get(t.Context(), "k"); err != nil || string(r.Value) != "new" {
		t.Errorf("%q, %v", r.Value, err)
	}
}

func TestADeleteWhoseAnswerWasLostHasDeleted(t *testing.T) {
	s, wire := wired(t)
	for _, key := range []string{"warm", "k"} {
		mustPut(t, s, store.Record{Key: key, Version: 1})
	}
	if err := s.Delete(t.Context(), "warm", 1); err != nil {
		t.Fatal(err)
	}
	wire.LoseAnswers("evalsha", 1)
	if err := s.Delete(t.Context(), "k", 1); err != nil {
		t.Errorf("%v", err)
	}
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// A command that is sent again comes late: somebody has written since, or deleted.
func TestAPutThatIsSentAgainNeitherConflictsNorBringsBackWhatWasDeleted(t *testing.T) {
	s, _ := wired(t)
	client, _, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	mark := newMark()
	send := func() {
		t.Helper()
		answer, err := putScript.Run(t.Context(), client, []string{s.recordKey("k")}, s.clock(), mark, "0", "1", "first", "", "", s.channel, "k").StringSlice()
		if err != nil || answer[0] != "1" {
			t.Errorf("%v, %v", answer, err)
		}
	}
	send()
	mustPut(t, s, store.Record{Key: "k", Version: 2, Value: []byte("second")})
	send()
	if r, err := s.Get(t.Context(), "k"); err != nil || string(r.Value) != "second" {
		t.Errorf("%q, %v", r.Value, err)
	}
	if err := s.Delete(t.Context(), "k", 2); err != nil {
		t.Fatal(err)
	}
	send()
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestNoCountIsLostOnABadWire has many writers count in one record while connections
// end at any moment. A writer whose Put is done has counted, exactly once.
func TestNoCountIsLostOnABadWire(t *testing.T) {
	s, wire := wired(t)
	stop := make(chan struct{})
	var spoiler, writers sync.WaitGroup
	spoiler.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond): // long enough for some to get through
			}
			if i%2 == 0 {
				wire.Drop()
			} else {
				wire.LoseAnswers("evalsha", 2)
			}
		}
	})
	var mu sync.Mutex
	done, unknown := 0, 0
	for range 8 {
		writers.Go(func() {
			for range 60 {
				certain := s.count(t)
				mu.Lock()
				if certain {
					done++
				} else {
					unknown++
				}
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	close(stop)
	spoiler.Wait()
	wire.Mend()
	r, err := s.Get(t.Context(), "counter")
	if err != nil {
		t.Fatal(err)
	}
	value, _ := strconv.Atoi(string(r.Value))
	if value < done || value > done+unknown || uint64(value) != r.Version {
		t.Errorf("the count is %d at version %d; %d are certain, %d unknown", value, r.Version, done, unknown)
	}
	t.Logf("count %d: %d certain, %d unknown", value, done, unknown)
	if found, err := s.List(t.Context(), "counters", "", 10); err != nil || len(found) != 1 {
		t.Errorf("the index finds %d, %v", len(found), err)
	}
}

// count adds one to the counter, and reports whether that is certain.
func (s *Store) count(t *testing.T) bool {
	ctx := context.Background()
	for {
		r, err := s.Get(ctx, "counter")
		if errors.Is(err, store.ErrUnavailable) {
			continue
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
			return false
		}
		value, _ := strconv.Atoi(string(r.Value))
		err = s.Put(ctx, store.Record{Key: "counter", Version: r.Version + 1, Value: fmt.Append(nil, value+1), Index: []string{"counters"}})
		switch {
		case err == nil:
			return true
		case errors.Is(err, store.ErrUnavailable):
			return false
		case !errors.Is(err, store.ErrConflict):
			t.Error(err)
			return false
		}
	}
}

func TestWithRedisAwayEverythingIsUnavailableAtOnceAndComesBack(t *testing.T) {
	s, wire := wired(t)
	mustPut(t, s, store.Record{Key: "k", Version: 1})
	wire.Cut()
	start := time.Now()
	_, get := s.Get(t.Context(), "k")
	_, list := s.List(t.Context(), "term", "", 10)
	_, lease := s.Lease(t.Context(), "l", time.Minute)
	_, sweep := s.Sweep(t.Context(), 10)
	for what, err := range map[string]error{
		"Get": get, "List": list, "Lease": lease, "Sweep": sweep,
		"Put":    s.Put(t.Context(), store.Record{Key: "k", Version: 2, Index: []string{"term"}}),
		"Delete": s.Delete(t.Context(), "k", 1),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("it took %v to find out", took)
	}
	wire.Mend()
	mustPut(t, s, store.Record{Key: "k", Version: 2})
}

func TestARedisThatDoesNotAnswerCostsNoMoreThanTheTimeout(t *testing.T) {
	s, wire := wired(t)
	mustPut(t, s, store.Record{Key: "k", Version: 1})
	s.Use(Config{Addresses: []string{wire.Addr}, Timeout: 300 * time.Millisecond})
	wire.Slow(time.Minute)
	start := time.Now()
	_, err := s.Get(t.Context(), "k")
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "300ms") {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestACallerWhoHangsUpDoesNotWait(t *testing.T) {
	s, wire := wired(t)
	mustPut(t, s, store.Record{Key: "k", Version: 1})
	wire.Slow(1500 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := s.Put(ctx, store.Record{Key: "k", Version: 2})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	wire.Mend()
	redistest.Eventually(t, "the write comes to its end without its caller", func() bool {
		r, err := s.Get(t.Context(), "k")
		return err == nil && r.Version == 2
	})
}

// A wire that was cut without a word looks like a quiet one.
func TestASubscriptionThatFallsSilentIsNoticed(t *testing.T) {
	s, wire := wired(t)
	s.beat = 100 * time.Millisecond
	news := make(chan store.News, 1000)
	go func() { _ = s.Watch(context.Background(), func(n store.News) { news <- n }) }()
	if n := <-news; n.Kind != store.Listening {
		t.Fatalf("%v", n)
	}
	wire.Slow(time.Hour)
	if n := <-news; n.Kind != store.Deaf || !errors.Is(n.Err, store.ErrUnavailable) {
		t.Fatalf("%v", n)
	}
	wire.Mend()
	wire.Drop()
	for n := range news {
		if n.Kind == store.Listening {
			return
		}
	}
}
