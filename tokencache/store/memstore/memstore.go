// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package memstore keeps records in memory, for tests: nothing outlives the
// process, and List and Sweep look at every record.
package memstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

// Store is a store.Store in memory.
type Store struct {
	now    func() time.Time
	leases store.LocalLeases

	mu      sync.Mutex
	records map[string]store.Record
	fence   uint64
	closed  bool
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Scanner = (*Store)(nil)
)

// New returns an empty store that goes by the clock now; nil means time.Now.
func New(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{now: now, records: make(map[string]store.Record)}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Record{}, err
	}
	if err := s.lock(ctx); err != nil {
		return store.Record{}, err
	}
	defer s.mu.Unlock()
	r, found := s.presentLocked(key)
	if !found {
		return store.Record{}, store.ErrNotFound
	}
	return r.Clone(), nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, r store.Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	// Where there is no record, the zero Record's version is the one meant.
	if old, _ := s.presentLocked(r.Key); old.Version != r.Version-1 {
		return store.ErrConflict
	}
	s.records[r.Key] = r.Clone()
	return nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, version uint64) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	old, found := s.presentLocked(key)
	if !found {
		return store.ErrNotFound
	}
	if old.Version != version {
		return store.ErrConflict
	}
	delete(s.records, key)
	return nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, term, after string, limit int) ([]store.Record, error) {
	if err := store.CheckKey(term); err != nil {
		return nil, err
	}
	return s.find(ctx, after, limit, func(r store.Record) bool { return slices.Contains(r.Index, term) })
}

// Scan implements store.Scanner.
func (s *Store) Scan(ctx context.Context, after string, limit int) ([]store.Record, error) {
	return s.find(ctx, after, limit, func(store.Record) bool { return true })
}

func (s *Store) find(ctx context.Context, after string, limit int, wanted func(store.Record) bool) ([]store.Record, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var found []store.Record
	for key, r := range s.records {
		if key > after && wanted(r) && !r.Past(s.now()) {
			found = append(found, r.Clone())
		}
	}
	slices.SortFunc(found, func(a, b store.Record) int { return strings.Compare(a.Key, b.Key) })
	return found[:min(len(found), max(limit, 0))], nil
}

// Lease implements store.Store.
func (s *Store) Lease(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	if err := s.lock(ctx); err != nil {
		return store.Lease{}, err
	}
	defer s.mu.Unlock()
	return s.leases.Take(name, ttl, s.now(), func() (uint64, error) {
		s.fence++
		return s.fence, nil
	})
}

// Sweep implements store.Store.
func (s *Store) Sweep(ctx context.Context, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	s.leases.Sweep(s.now())
	removed := 0
	for key, r := range s.records {
		if removed < limit && r.Past(s.now()) {
			delete(s.records, key)
			removed++
		}
	}
	return removed, nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.records = true, nil
	return nil
}

// lock takes the lock, or says why the call cannot go on.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("using the store: %w", err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("%w: it was closed", store.ErrUnavailable)
	}
	return nil
}

// presentLocked returns the record unless its time has passed.
func (s *Store) presentLocked(key string) (store.Record, bool) {
	r, found := s.records[key]
	if !found || r.Past(s.now()) {
		return store.Record{}, false
	}
	return r, true
}
