// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
)

// A record is a hash under one key:
//
//	v  the version, in digits: Lua's numbers would round it
//	d  the value
//	e  when it expires in milliseconds, or nothing
//	x  the index terms, see packTerms
//	t  what marks the writes that made it, the newest first; see Put
//
// Without a version it is what is left of a record that was deleted.
const (
	fieldVersion = "v"
	fieldValue   = "d"
	fieldExpires = "e"
	fieldTerms   = "x"
	fieldMarks   = "t"
)

func (s *Store) recordKey(key string) string { return s.prefix + "r:" + key }

// found is a record, and the mark of the write that made it.
type found struct {
	store.Record
	mark    string
	damaged error // among others: it is there, and cannot be read
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Record{}, err
	}
	f, err := do(ctx, s, func(ctx context.Context, c redis.UniversalClient) (found, error) {
		return s.record(key, s.fetch(ctx, c, key))
	})
	return f.Record, err
}

// fetch asks for a record, alone or within a pipeline.
func (s *Store) fetch(ctx context.Context, c redis.Cmdable, key string) *redis.SliceCmd {
	return c.HMGet(ctx, s.recordKey(key), fieldVersion, fieldValue, fieldExpires, fieldTerms, fieldMarks)
}

var (
	errDamaged = fmt.Errorf("%w: it is not Toolgate's, or not what was written", store.ErrDamaged)
	errForeign = fmt.Errorf("%w: redis answers WRONGTYPE: %s", store.ErrDamaged, hints["WRONGTYPE"])
)

// record reads what fetch brought.
func (s *Store) record(key string, answer *redis.SliceCmd) (found, error) {
	fields, err := answer.Result()
	if _, answered := errors.AsType[redis.Error](err); answered && strings.HasPrefix(err.Error(), "WRONGTYPE ") {
		return found{}, errForeign
	}
	if err != nil {
		return found{}, err
	}
	if fields[0] == nil {
		return found{}, store.ErrNotFound
	}
	var texts [5]string
	for i := range texts {
		text, ok := fields[i].(string)
		if !ok {
			return found{}, errDamaged
		}
		texts[i] = text
	}
	f := found{mark: texts[4][:min(markSize, len(texts[4]))]}
	f.Key, f.Value = key, []byte(texts[1])
	var bad error
	f.Version, bad = strconv.ParseUint(texts[0], 10, 64)
	if texts[2] != "" {
		at, err := strconv.ParseInt(texts[2], 10, 64)
		f.Expires, bad = time.UnixMilli(at).UTC(), errors.Join(bad, err)
	}
	terms, ok := unpackTerms(texts[3])
	if bad != nil || !ok || f.Version == 0 {
		return found{}, errDamaged
	}
	f.Index = terms
	// By the server's clock, what is past is gone already. Ours does not count: a
	// record that it took for absent could not be created, since the script of
	// Put goes by the server's.
	if s.now != nil && f.Past(s.now()) {
		return found{}, store.ErrNotFound
	}
	return f, nil
}

// records reads many at once. One that is absent is empty, and one that is damaged says
// so itself: it must not stand in the others' way.
func (s *Store) records(ctx context.Context, c redis.UniversalClient, keys []string) ([]found, error) {
	answers := make([]*redis.SliceCmd, len(keys))
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			answers[i] = s.fetch(ctx, p, key)
		}
		return nil
	})
	if _, answered := errors.AsType[redis.Error](err); err != nil && !answered {
		return nil, err
	}
	all := make([]found, len(keys))
	for i, key := range keys { // each has an answer of its own
		f, err := s.record(key, answers[i])
		switch {
		case errors.Is(err, store.ErrDamaged):
			f.damaged = err
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		all[i] = f
	}
	return all, nil
}

var errUnknown = fmt.Errorf("%w: redis: it is not known whether the write was done", store.ErrUnavailable)

// Put implements store.Store.
//
// The write carries a mark of its own. Where the answer to it was lost, it is sent
// again, and the script finds its mark: without it, our own success would read as
// somebody else's, and a token that was saved would be thrown away. The script knows
// the marks of the last writes. Where it does not find ours after an answer was lost,
// many others may have written since, and a conflict would be more than we know.
func (s *Store) Put(ctx context.Context, r store.Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	r, mark, lost := r.Clone(), newMark(), false // the write may outlive this call
	_, err := do(ctx, s, func(ctx context.Context, c redis.UniversalClient) (struct{}, error) {
		err := s.put(ctx, c, r, mark)
		if lost && errors.Is(err, store.ErrConflict) {
			err = errUnknown
		}
		lost = lost || unsure(err)
		return struct{}{}, err
	})
	return err
}

func (s *Store) put(ctx context.Context, c redis.UniversalClient, r store.Record, mark string) error {
	// The index first: what List finds without a record it skips, but a record
	// that the index does not know would never be found again.
	if err := s.announce(ctx, c, r); err != nil {
		return err
	}
	expires := ""
	if !r.Expires.IsZero() {
		expires = strconv.FormatInt(r.Expires.UnixMilli(), 10)
	}
	answer, err := putScript.Run(ctx, c, []string{s.recordKey(r.Key)}, s.clock(),
		mark, strconv.FormatUint(r.Version-1, 10), strconv.FormatUint(r.Version, 10),
		r.Value, expires, packTerms(r.Index), s.channel, r.Key).StringSlice()
	if err != nil {
		return err
	}
	if len(answer) != 2 {
		return errDamaged
	}
	others, _ := unpackTerms(answer[1])
	if answer[0] != "1" {
		// What we announced for nothing; where the winner has the same terms,
		// that is none.
		s.leftover(ctx, c, r.Key, without(r.Index, others))
		return store.ErrConflict
	}
	s.tidy(ctx, c, pairs(without(others, r.Index), r.Key))
	return nil
}

// Delete implements store.Store.
//
// It reads first and deletes what it read, by that write's mark. By the version
// alone, a command that is sent again could delete a record that somebody made anew
// in between: it has the same version, 1, as often as not.
func (s *Store) Delete(ctx context.Context, key string, version uint64) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	d := &deletion{key: key, version: version, mark: newMark()}
	_, err := do(ctx, s, func(ctx context.Context, c redis.UniversalClient) (struct{}, error) {
		return struct{}{}, s.remove(ctx, c, d)
	})
	return err
}

type deletion struct {
	key     string
	version uint64
	mark    string
	read    *found // once it is
}

func (s *Store) remove(ctx context.Context, c redis.UniversalClient, d *deletion) error {
	if d.read == nil {
		f, err := s.record(d.key, s.fetch(ctx, c, d.key))
		if err != nil {
			return err
		}
		d.read = &f
	}
	if d.read.Version != d.version {
		return store.ErrConflict
	}
	answer, err := deleteScript.Run(ctx, c, []string{s.recordKey(d.key)}, s.clock(), d.mark, d.read.mark, s.channel, d.key).Int()
	switch {
	case err != nil:
		return err
	case answer == deleteAbsent:
		return store.ErrNotFound
	case answer == deleteOther:
		return store.ErrConflict
	}
	s.tidy(ctx, c, pairs(d.read.Index, d.key))
	return nil
}

// packTerms writes terms one after the other, each behind its length: they may
// hold any byte.
func packTerms(terms []string) string {
	var packed []byte
	for _, term := range terms {
		packed = append(binary.AppendUvarint(packed, uint64(len(term))), term...)
	}
	return string(packed)
}

func unpackTerms(packed string) (terms []string, ok bool) {
	for len(packed) > 0 {
		n, width := binary.Uvarint([]byte(packed[:min(len(packed), binary.MaxVarintLen64)]))
		if width <= 0 || n > uint64(len(packed)-width) {
			return nil, false
		}
		terms = append(terms, packed[width:width+int(n)])
		packed = packed[width+int(n):]
	}
	return terms, true
}
