// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
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
		return store.Lease{}, err
	}
	return store.Lease{Fence: fence, Release: func(ctx context.Context) error { return s.release(ctx, name, mark) }}, nil
}

func (s *Store) release(ctx context.Context, name, mark string) error {
	_, err := do(ctx, s, func(ctx context.Context, c redis.UniversalClient) (int, error) {
		return releaseScript.Run(ctx, c, []string{s.leaseKey(name)}, mark).Int()
	})
	return err
}
