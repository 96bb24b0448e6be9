// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package filestore keeps records in one file on a local disk (bbolt), the
// default where nothing else is configured. One process has the file open at a
// time; a write is on the disk when it returns.
package filestore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

// Config is how a Store is made.
type Config struct {
	// Path is the file. It and its folder are made on first use, readable for
	// their owner only.
	Path string
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// LockWait is how long to wait for another process to let go of the file.
	// Zero: one second.
	LockWait time.Duration
}

// Store is a store.Store in one file.
//
// The file is opened by the first call, not by New: a configuration is also
// loaded to be validated, beside a server that has the file open. Where opening
// fails, the next call tries again.
type Store struct {
	cfg    Config
	leases store.LocalLeases
	fences fences
	writes queue

	mu      sync.Mutex
	file    *file    // once it is open
	opening *opening // while it is being opened
	ended   error    // why there is no use in trying, once there is not
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Scanner = (*Store)(nil)
)

// New returns the store in cfg.Path and does not touch the disk.
func New(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.LockWait == 0 {
		cfg.LockWait = time.Second
	}
	return &Store{cfg: cfg}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (r store.Record, err error) {
	if err := store.CheckKey(key); err != nil {
		return store.Record{}, err
	}
	err = s.read(ctx, func(t tables) error {
		r, err = t.present(key, s.cfg.Now())
		return err
	})
	return r, err
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, r store.Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	r = r.Clone() // the write may outlive this call
	return s.write(ctx, func(t tables) error {
		old, err := t.present(r.Key, s.cfg.Now())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if old.Version != r.Version-1 {
			return store.ErrConflict
		}
		return t.put(r)
	})
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, version uint64) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	return s.write(ctx, func(t tables) error {
		old, err := t.present(key, s.cfg.Now())
		if err != nil {
			return err
		}
		if old.Version != version {
			return store.ErrConflict
		}
		return t.remove(old)
	})
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, term, after string, limit int) (found []store.Record, err error) {
	if err := store.CheckKey(term); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(t tables) error {
		found, err = t.list(term, after, limit, s.cfg.Now())
		return err
	})
	return found, err
}

// Scan implements store.Scanner.
func (s *Store) Scan(ctx context.Context, after string, limit int) (found []store.Record, err error) {
	var unreadable *store.UnreadableError
	err = s.read(ctx, func(t tables) error {
		found, unreadable = t.scan(after, limit, s.cfg.Now())
		return nil
	})
	if err == nil && unreadable != nil {
		err = unreadable
	}
	return found, err
}

// Lease implements store.Store. Leases are kept in memory, because one process
// has the file; only their numbers outlive it.
func (s *Store) Lease(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	if _, err := s.open(ctx); err != nil {
		return store.Lease{}, err
	}
	return s.leases.Take(name, ttl, s.cfg.Now(), func() (uint64, error) { return s.fences.next(ctx, s.write) })
}

// Sweep implements store.Store. Records of a newer Toolgate stay: only that one
// knows what hangs on them.
func (s *Store) Sweep(ctx context.Context, limit int) (int, error) {
	s.leases.Sweep(s.cfg.Now())
	var past []store.Record
	look := func(t tables) (err error) {
		past, err = t.past(s.cfg.Now(), limit)
		return err
	}
	if err := s.read(ctx, look); err != nil || len(past) == 0 {
		return 0, err
	}
	err := s.write(ctx, func(t tables) error {
		if err := look(t); err != nil {
			return err
		}
		for _, r := range past {
			if err := t.remove(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(past), nil
}

// read runs see over one consistent state of the file.
func (s *Store) read(ctx context.Context, see func(tables) error) error {
	f, err := s.open(ctx)
	if err != nil {
		return err
	}
	return s.told(f.view(see))
}

// write runs change and returns once what it did is on the disk. Where the
// context ends first, the change may still happen, but never in part.
func (s *Store) write(ctx context.Context, change func(tables) error) error {
	f, err := s.open(ctx)
	if err != nil {
		return err
	}
	return s.told(s.writes.do(ctx, f, change))
}
