// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
)

// takeable waits until somebody else gets the lease, long before its time has passed.
func takeable(t *testing.T, s *Store, name string) {
	t.Helper()
	redistest.Eventually(t, "the lease is free", func() bool {
		_, err := s.Lease(t.Context(), name, time.Hour)
		return err == nil
	})
}

func TestALeaseWhoseAnswerCameTooLateLocksNobodyOut(t *testing.T) {
	s, wire := wired(t)
	s.Use(Config{Addresses: []string{wire.Addr}, Timeout: 300 * time.Millisecond})
	other := opened(t, Config{Addresses: []string{wire.Addr}})
	if _, err := s.Lease(t.Context(), "warm", time.Minute); err != nil {
		t.Fatal(err)
	}
	wire.Slow(time.Minute)
	if _, err := s.Lease(t.Context(), "l", time.Hour); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("%v", err)
	}
	wire.Mend()
	wire.Drop()
	takeable(t, other, "l")
}

func TestALeaseThatCouldNotBeGivenBackLocksNobodyOut(t *testing.T) {
	s, wire := wired(t)
	s.Use(Config{Addresses: []string{wire.Addr}, Timeout: 300 * time.Millisecond})
	other := opened(t, Config{Addresses: []string{wire.Addr}})
	lease, err := s.Lease(t.Context(), "l", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	wire.Cut()
	if err := lease.Release(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("%v", err)
	}
	wire.Mend()
	takeable(t, other, "l")
}

func TestACallerWhoHangsUpLeavesNoLeaseBehind(t *testing.T) {
	s, wire := wired(t)
	if _, err := s.Lease(t.Context(), "warm", time.Minute); err != nil {
		t.Fatal(err)
	}
	wire.Slow(500 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Lease(ctx, "l", time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	wire.Mend()
	takeable(t, s, "l")
}

func TestALeaseOfAnotherHolderIsNotGivenBack(t *testing.T) {
	s, _ := wired(t)
	if _, err := s.Lease(t.Context(), "l", time.Hour); err != nil {
		t.Fatal(err)
	}
	s.disown(orphan{name: "l", mark: "another's", until: time.Now().Add(time.Hour)})
	redistest.Eventually(t, "nothing is left to give back", func() bool {
		s.lost.mu.Lock()
		defer s.lost.mu.Unlock()
		return !s.lost.busy
	})
	if _, err := s.Lease(t.Context(), "l", time.Hour); !errors.Is(err, store.ErrHeld) {
		t.Errorf("%v", err)
	}
}

func TestCloseDoesNotWaitForLeasesThatCannotBeGivenBack(t *testing.T) {
	s, wire := wired(t)
	if _, err := s.Lease(t.Context(), "warm", time.Minute); err != nil {
		t.Fatal(err)
	}
	wire.Slow(time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for i := range 20 {
		if _, err := s.Lease(ctx, fmt.Sprint("l", i), time.Hour); err == nil {
			t.Fatal("it was answered")
		}
	}
	redistest.Eventually(t, "one is being given back", func() bool { return s.client.PoolStats().TotalConns > 1 })
	closeAtOnce(t, s)
	if s.lost.busy || len(s.lost.all) > 0 {
		t.Errorf("it goes on with %d after the end", len(s.lost.all))
	}
	s.disown(orphan{name: "l", mark: "m", until: time.Now().Add(time.Hour)})
	if s.lost.busy {
		t.Error("it begins again after the end")
	}
}

func TestCloseDoesNotWaitForTheNextLook(t *testing.T) {
	s, _ := wired(t)
	s.disown(orphan{name: "l", mark: "m", until: time.Now().Add(time.Hour)})
	redistest.Eventually(t, "it was looked for once", func() bool {
		s.lost.mu.Lock()
		defer s.lost.mu.Unlock()
		return len(s.lost.all) == 1 && s.lost.all[0].looked
	})
	closeAtOnce(t, s)
}

// closeAtOnce fails where Close takes as long as a call may, which is two seconds, or as
// the pause between two looks.
func closeAtOnce(t *testing.T, s *Store) {
	t.Helper()
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
}
