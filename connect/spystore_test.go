// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
)

// spyStore is a store that can be looked into and that fails on demand.
type spyStore struct {
	*memstore.Store
	mu     sync.Mutex
	keys   map[string]bool // of everything that was ever written
	writes int
	fail   func(op, key string) error
}

func newSpyStore(now func() time.Time) *spyStore {
	return &spyStore{Store: memstore.New(now), keys: map[string]bool{}}
}

func (s *spyStore) Get(ctx context.Context, key string) (store.Record, error) {
	if err := s.fault("get", key); err != nil {
		return store.Record{}, err
	}
	return s.Store.Get(ctx, key)
}

func (s *spyStore) Put(ctx context.Context, r store.Record) error {
	if err := s.fault("put", r.Key); err != nil {
		return err
	}
	s.mu.Lock()
	s.keys[r.Key] = true
	s.writes++
	s.mu.Unlock()
	return s.Store.Put(ctx, r)
}

func (s *spyStore) Delete(ctx context.Context, key string, version uint64) error {
	if err := s.fault("delete", key); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key, version)
}

func (s *spyStore) fault(op, key string) error {
	s.mu.Lock()
	fail := s.fail
	s.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(op, key)
}

// failing makes an operation fail for records of a kind, until it is called again.
func (s *spyStore) failing(op, kind string) {
	s.failWith(func(o, key string) error {
		if o == op && strings.HasPrefix(key, kind+"/") {
			return fmt.Errorf("%w: the disk is on fire", store.ErrUnavailable)
		}
		return nil
	})
}

func (s *spyStore) failWith(fail func(op, key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// before lets something happen right before the next such operation.
func (s *spyStore) before(op, kind string, happen func()) {
	s.failWith(func(o, key string) error {
		if o == op && strings.HasPrefix(key, kind+"/") {
			s.works()
			happen()
		}
		return nil
	})
}

func (s *spyStore) works() { s.failWith(nil) }

// dump is every record as the store has it, sealed.
func (s *spyStore) dump() string {
	s.mu.Lock()
	keys := slices.Sorted(maps.Keys(s.keys))
	s.mu.Unlock()
	var all strings.Builder
	for _, key := range keys {
		if r, err := s.Store.Get(context.Background(), key); err == nil {
			fmt.Fprintf(&all, "%s %d %s %v\n%s\n", r.Key, r.Version, r.Expires, r.Index, r.Value)
		}
	}
	return all.String()
}

// count is how many records of a kind there are.
func (s *spyStore) count(kind string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.keys {
		if _, err := s.Store.Get(context.Background(), key); err == nil && strings.HasPrefix(key, kind+"/") {
			n++
		}
	}
	return n
}

// bump is what a refresh in another process does to a record: the next version.
func (s *spyStore) bump(key string) {
	r, err := s.Store.Get(context.Background(), key)
	if err == nil {
		r.Version++
		_ = s.Store.Put(context.Background(), r)
	}
}
