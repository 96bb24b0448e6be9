// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
)

// An index of all records would be one more write for each, and in a cluster all of
// them would go to one node. So an operator's command, which is the only one to ask,
// walks through the server's keys instead (SCAN, which holds nobody up), and sorts
// what it found: some 100 bytes of memory each, for as long as the command is at it.
// Where it was cut off, Sweep forgets them.

// scanAge is how long the keys that were found are good for the next pages.
const scanAge = time.Minute

// scanCount is how many keys the server looks at in one step.
const scanCount = 1000

// listing are the keys that a scan found.
type listing struct {
	mu   sync.Mutex
	keys []string
	at   time.Time
}

// Scan implements store.Scanner. Records that are written while it goes on may be
// missing from the pages that follow; while a cluster moves slots, others too.
func (s *Store) Scan(ctx context.Context, after string, limit int) (page []store.Record, err error) {
	s.scan.mu.Lock()
	defer s.scan.mu.Unlock()
	if after == "" || time.Since(s.scan.at) > scanAge {
		if s.scan.keys, err = s.allKeys(ctx); err != nil {
			return nil, err
		}
		s.scan.at = time.Now()
	}
	at, found := slices.BinarySearch(s.scan.keys, after)
	if found {
		at++
	}
	keys := s.scan.keys[at:]
	for len(keys) > 0 && len(page) < limit {
		step := keys[:min(len(keys), limit-len(page), listStep)]
		keys = keys[len(step):]
		if page, err = s.readInto(ctx, page, step); err != nil {
			return page, err
		}
	}
	if len(page) < limit {
		s.scan.keys, s.scan.at = nil, time.Time{}
	}
	return page, nil
}

// forgetOld lets go of the keys of a scan that nobody has ended. Where one is at work,
// they are in use.
func (l *listing) forgetOld() {
	if l.mu.TryLock() {
		if time.Since(l.at) > scanAge {
			l.keys = nil
		}
		l.mu.Unlock()
	}
}

// readInto appends the records that are there, up to one that cannot be read.
func (s *Store) readInto(ctx context.Context, page []store.Record, keys []string) ([]store.Record, error) {
	all, err := do(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]found, error) {
		return s.records(ctx, c, keys)
	})
	if err != nil {
		return page, err
	}
	for i, f := range all {
		switch {
		case f.damaged != nil:
			return page, &store.UnreadableError{Key: keys[i], Err: fmt.Errorf("%w: redis: %w", store.ErrUnavailable, f.damaged)}
		case f.Version > 0:
			page = append(page, f.Record)
		}
	}
	return page, nil
}

// allKeys are the keys of all records, sorted.
func (s *Store) allKeys(ctx context.Context) ([]string, error) {
	nodes, err := do(ctx, s, masters)
	if err != nil {
		return nil, err
	}
	var all []string
	begin := s.prefix + "r:"
	for _, node := range nodes {
		for cursor := uint64(0); ; {
			type step struct {
				keys []string
				next uint64
			}
			got, err := do(ctx, s, func(ctx context.Context, _ redis.UniversalClient) (step, error) {
				keys, next, err := node.Scan(ctx, cursor, literal.Replace(begin)+"*", scanCount).Result()
				return step{keys, next}, err
			})
			if err != nil {
				return nil, err
			}
			for _, key := range got.keys {
				all = append(all, strings.TrimPrefix(key, begin))
			}
			if cursor = got.next; cursor == 0 {
				break
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil // SCAN may give a key twice
}

// literal takes the meaning from what would be a pattern.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// masters are the servers that hold the keys.
func masters(ctx context.Context, c redis.UniversalClient) ([]redis.Cmdable, error) {
	cluster, ok := c.(*redis.ClusterClient)
	if !ok {
		return []redis.Cmdable{c}, nil
	}
	var mu sync.Mutex
	var all []redis.Cmdable
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, node)
		return nil
	})
	return all, err
}
