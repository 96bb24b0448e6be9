// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
)

// The index of a term is a sorted set of keys, all with the score 0, which Redis
// keeps in byte order. It lives in another slot than the records, so that it cannot
// change in one step with them. Therefore:
//
//   - A writer enters the key into the index first and writes the record then. The
//     record says itself which terms it has; List believes the record.
//   - An entry whose record is gone, or does not have the term, is a leftover. It
//     costs a read and is taken out by whoever meets it.
//   - Taking out is the danger: the record that was missing a moment ago may be
//     there now. So each entry comes with a note that lives for the grace, and nobody
//     takes out what has one. A writer that needs longer than the grace between
//     index and record (its call ends after seconds) would have to be stopped for
//     ten minutes and go on.
//   - Each write enters all of its terms again, so that an index that was lost in
//     a failover comes back with the next refresh.
//
// What may become a leftover while nobody lists that term is put on a list of things
// to look at, which Sweep works off. Nothing walks through all keys.
const grace = 10 * time.Minute

type pair struct{ term, key string }

func pairs(terms []string, key string) []pair {
	all := make([]pair, len(terms))
	for i, term := range terms {
		all[i] = pair{term, key}
	}
	return all
}

// indexKeys are the index of the pair's term and the pair's note, in one slot.
func (s *Store) indexKeys(p pair) []string {
	slot := sha256.Sum256([]byte(p.term))
	both := sha256.Sum256([]byte(packTerms([]string{p.term, p.key})))
	tag := "{" + hex.EncodeToString(slot[:8]) + "}:"
	return []string{s.prefix + "i:" + tag + p.term, s.prefix + "n:" + tag + hex.EncodeToString(both[:16])}
}

func (s *Store) leftoversKey() string { return s.prefix + "leftovers" }

// announce enters a record that is about to be written into the index.
func (s *Store) announce(ctx context.Context, c redis.UniversalClient, r store.Record) error {
	if len(r.Index) == 0 {
		return nil
	}
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, pair := range pairs(r.Index, r.Key) {
			p.Eval(ctx, announceScript, s.indexKeys(pair), pair.key, s.grace.Milliseconds())
			if !r.Expires.IsZero() {
				s.lookAt(ctx, p, pair, r.Expires)
			}
		}
		return nil
	})
	return err
}

// lookAt puts an entry on the list of those that Sweep looks at, not before `at`.
func (s *Store) lookAt(ctx context.Context, c redis.Cmdable, p pair, at time.Time) {
	c.ZAdd(ctx, s.leftoversKey(), redis.Z{Score: float64(at.UnixMilli()), Member: packTerms([]string{p.term, p.key})})
}

// leftover has entries looked at once their notes are gone. Best effort, as all of
// the tidying is: what stays is skipped by List.
func (s *Store) leftover(ctx context.Context, c redis.UniversalClient, key string, terms []string) {
	if len(terms) == 0 {
		return
	}
	_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, pair := range pairs(terms, key) {
			s.lookAt(ctx, p, pair, s.wall().Add(s.grace))
		}
		return nil
	})
}

// wall is the clock for what has no need to be exact.
func (s *Store) wall() time.Time {
	if s.now != nil {
		return s.now()
	}
	return time.Now()
}

// tidy takes leftovers out of the index, and has those looked at later that were
// announced recently.
func (s *Store) tidy(ctx context.Context, c redis.UniversalClient, leftovers []pair) {
	if len(leftovers) == 0 {
		return
	}
	answers, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, pair := range leftovers {
			p.Eval(ctx, forgetScript, s.indexKeys(pair), pair.key)
		}
		return nil
	})
	if err != nil {
		return
	}
	for i, pair := range leftovers {
		if n, err := answers[i].(*redis.Cmd).Int(); err == nil && n == 0 {
			s.leftover(ctx, c, pair.key, []string{pair.term})
		}
	}
}

// listStep and sweepStep are how many records are read at a time at most.
const listStep, sweepStep = 100, 500

// List implements store.Store.
func (s *Store) List(ctx context.Context, term, after string, limit int) ([]store.Record, error) {
	if err := store.CheckKey(term); err != nil {
		return nil, err
	}
	return do(ctx, s, func(ctx context.Context, c redis.UniversalClient) ([]store.Record, error) {
		return s.list(ctx, c, term, after, limit)
	})
}

func (s *Store) list(ctx context.Context, c redis.UniversalClient, term, after string, limit int) (page []store.Record, err error) {
	var leftovers []pair
	for len(page) < limit {
		step := min(limit-len(page), listStep)
		keys, err := s.keysOf(ctx, c, term, after, step)
		if err != nil {
			return nil, err
		}
		records, err := s.records(ctx, c, keys)
		if err != nil {
			return nil, err
		}
		for i, key := range keys {
			switch {
			case records[i].damaged != nil: // its entry stays, for the day on which it is mended
			case slices.Contains(records[i].Index, term):
				page = append(page, records[i].Record)
			default:
				leftovers = append(leftovers, pair{term, key})
			}
		}
		if len(keys) < step {
			break
		}
		after = keys[len(keys)-1]
	}
	s.tidy(ctx, c, leftovers)
	return page, nil
}

func (s *Store) keysOf(ctx context.Context, c redis.UniversalClient, term, after string, limit int) ([]string, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	return c.ZRangeByLex(ctx, s.indexKeys(pair{term: term})[0], &redis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)}).Result()
}

// Sweep implements store.Store. Redis forgets records by itself; this looks at up to
// limit entries of the index that may be left over.
func (s *Store) Sweep(ctx context.Context, limit int) (int, error) {
	s.scan.forgetOld()
	return do(ctx, s, func(ctx context.Context, c redis.UniversalClient) (int, error) {
		if limit <= 0 {
			return 0, nil
		}
		due, err := c.ZRangeByScore(ctx, s.leftoversKey(), &redis.ZRangeBy{
			Min: "-inf", Max: strconv.FormatInt(s.wall().UnixMilli(), 10), Count: int64(min(limit, sweepStep)),
		}).Result()
		if err != nil || len(due) == 0 {
			return 0, err
		}
		return 0, s.lookThrough(ctx, c, due)
	})
}

// lookThrough takes those out of the index whose record does not have the term.
func (s *Store) lookThrough(ctx context.Context, c redis.UniversalClient, due []string) error {
	var entries []pair
	for _, packed := range due {
		if parts, ok := unpackTerms(packed); ok && len(parts) == 2 {
			entries = append(entries, pair{parts[0], parts[1]})
		}
	}
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	records, err := s.records(ctx, c, keys)
	if err != nil {
		return err
	}
	var leftovers, later []pair
	for i, e := range entries {
		switch {
		case records[i].damaged != nil:
			later = append(later, e) // at the front of the list, it would be in the way
		case !slices.Contains(records[i].Index, e.term):
			leftovers = append(leftovers, e)
		case !records[i].Expires.IsZero():
			later = append(later, e)
		}
	}
	// Off the list first: tidy puts back what is too recent.
	if err := c.ZRem(ctx, s.leftoversKey(), anys(due)...).Err(); err != nil {
		return err
	}
	for _, e := range later {
		s.lookAt(ctx, c, e, s.wall().Add(s.grace))
	}
	s.tidy(ctx, c, leftovers)
	return nil
}

func anys(texts []string) []any {
	all := make([]any, len(texts))
	for i, t := range texts {
		all[i] = t
	}
	return all
}

// without gives the terms that the others do not have.
func without(terms, others []string) (left []string) {
	for _, term := range terms {
		if !slices.Contains(others, term) {
			left = append(left, term)
		}
	}
	return left
}
