// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
)

func (s *Store) leaseKey(name string) string { return s.prefix + "l:" + name }

// Lease implements store.Store. As with Put, the mark makes it safe to ask twice:
// without it, an answer that was lost would lock its own holder out.
func (s *Store) Lease(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	if err := store.CheckKey(name); err != nil {
		return store.Lease{}, err
	}
	if ttl <= 0 {
		return store.Lease{}, fmt.Errorf("%w: a lease needs a time to live", store.ErrInvalid)
	}
	mark := rand.Text()
	fence, err := do(ctx, s, func(ctx context.Context, c redis.UniversalClient) (uint64, error) {
		life := max(ttl.Milliseconds(), 1)
		text, err := leaseScript.Run(ctx, c, []string{s.leaseKey(name)}, s.clock(), mark, life).Text()
		if err != nil {
			return 0, err
		}
		if text == "" {
			return 0, store.ErrHeld
		}
		return strconv.ParseUint(text, 10, 64)
	})
	if err != nil {
		if !errors.Is(err, store.ErrHeld) {
			s.disown(orphan{name: name, mark: mark, until: time.Now().Add(ttl)})
		}
		return store.Lease{}, err
	}
	until := time.Now().Add(ttl)
	return store.Lease{Fence: fence, Release: func(ctx context.Context) error {
		_, err := s.release(ctx, name, mark)
		if err != nil { // and the holder has gone on
			s.disown(orphan{name: name, mark: mark, until: until, looked: true})
		}
		return err
	}}, nil
}

// release reports whether the lease was this one.
func (s *Store) release(ctx context.Context, name, mark string) (bool, error) {
	return do(ctx, s, func(ctx context.Context, c redis.UniversalClient) (bool, error) {
		n, err := releaseScript.Run(ctx, c, []string{s.leaseKey(name)}, mark).Int()
		return n == 1, err
	})
}

// orphan is a lease that nobody has any more: it was asked for and no answer came, or it
// could not be given back. Of the first, nobody knows whether it was given, or will be by
// a server that works off what has piled up. Everybody else would wait for it until it
// ends, for work that nobody does.
type orphan struct {
	name, mark string
	until      time.Time // by then it has ended by itself
	looked     bool      // it was not there once
}

// orphans are given back in the background, by one goroutine, as long as there are any.
type orphans struct {
	mu   sync.Mutex
	all  []orphan
	busy bool
	done sync.WaitGroup
}

// maxOrphans bounds the memory that a Redis which answers nobody costs. What is beyond
// it ends by itself.
const maxOrphans = 10_000

func (s *Store) disown(o orphan) {
	s.lost.mu.Lock()
	defer s.lost.mu.Unlock()
	if len(s.lost.all) >= maxOrphans || s.life.Err() != nil {
		return
	}
	s.lost.all = append(s.lost.all, o)
	if !s.lost.busy {
		s.lost.busy = true
		s.lost.done.Go(s.giveBackAll)
	}
}

// giveBackAll goes round until no orphan is left: at once, since most answers are just
// late, and then as often as a call may take, so that a call which its caller gave up
// has come to its end before the last look.
func (s *Store) giveBackAll() {
	for {
		s.lost.mu.Lock()
		round := s.lost.all
		s.lost.all = nil
		s.lost.mu.Unlock()
		left := s.giveBack(round)

		s.lost.mu.Lock()
		s.lost.all = append(left, s.lost.all...)
		if len(s.lost.all) == 0 || s.life.Err() != nil {
			s.lost.all, s.lost.busy = nil, false
			s.lost.mu.Unlock()
			return
		}
		s.lost.mu.Unlock()
		_, limit, _ := s.open()
		pause(s.life, max(limit, time.Second))
	}
}

// giveBack gives back what it can, and returns what is to be looked at again.
func (s *Store) giveBack(round []orphan) (left []orphan) {
	for i, o := range round {
		if time.Now().After(o.until) {
			continue
		}
		was, err := s.release(s.life, o.name, o.mark)
		switch {
		case err != nil: // the others will fare no better now, and come first next time
			return append(append(left, round[i+1:]...), o)
		case !was && !o.looked:
			o.looked = true
			left = append(left, o)
		}
	}
	return left
}
