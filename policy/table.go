// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxKeys is how many buckets a limit has at most. About 300 bytes each.
const maxKeys = 100_000

// table holds a limit's buckets. One that is full again says nothing and is dropped, so
// there are as many as there were calls of late. At [maxKeys] the one that was not asked
// for the longest goes, and would be full when it comes back: users who come and go in
// such numbers could each have their burst again, and nobody is shut out.
type table struct {
	mu      sync.Mutex
	buckets map[key]*bucket
	oldest  *bucket // was used the longest ago; a ring, whose previous one is the latest
}

type bucket struct {
	key
	*rate.Limiter
	older, newer *bucket
}

func newTable() *table { return &table{buckets: map[key]*bucket{}} }

// wait is how long it takes until there is a call left. It changes nothing.
func (t *table) wait(m *meter, k key, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waitLocked(m, k, now)
}

func (t *table) waitLocked(m *meter, k key, now time.Time) time.Duration {
	b := t.buckets[k]
	if b == nil {
		return 0
	}
	b.follow(m, now)
	missing := 1 - b.TokensAt(now)
	// To the nanosecond, as the limiter itself has it, and up.
	if wait := missing / float64(m.rate()) * float64(time.Second); wait >= 1 {
		return time.Duration(math.Ceil(wait))
	}
	return 0
}

// follow takes over the figures of a configuration that has others.
func (b *bucket) follow(m *meter, now time.Time) {
	if r := m.rate(); b.Limit() != r {
		b.SetLimitAt(now, r)
	}
	if b.Burst() != m.burst() {
		b.SetBurstAt(now, m.burst())
	}
}

// takeLocked takes a call that is there.
func (t *table) takeLocked(m *meter, k key, now time.Time) {
	b := t.buckets[k]
	if b == nil {
		t.makeRoomLocked(now)
		b = &bucket{key: k.clone(), Limiter: rate.NewLimiter(m.rate(), m.burst())}
		t.buckets[b.key] = b
	} else {
		t.unlinkLocked(b)
	}
	t.linkLocked(b)
	b.AllowN(now, 1)
}

// clone keeps a key from holding on to a whole request's header.
func (k key) clone() key {
	return key{strings.Clone(k.tenant), strings.Clone(k.agent), strings.Clone(k.user), strings.Clone(k.toolkit), strings.Clone(k.account)}
}

// makeRoomLocked drops up to two that are full for each new one, so that what has come in
// a rush goes away again.
func (t *table) makeRoomLocked(now time.Time) {
	for range 2 {
		if t.oldest == nil || !t.oldest.full(now) {
			break
		}
		t.dropLocked(t.oldest)
	}
	if len(t.buckets) >= maxKeys {
		t.dropLocked(t.oldest)
	}
}

func (b *bucket) full(now time.Time) bool {
	return b.TokensAt(now) >= float64(b.Burst())-1e-9
}

func (t *table) dropLocked(b *bucket) {
	delete(t.buckets, b.key)
	t.unlinkLocked(b)
}

func (t *table) linkLocked(b *bucket) {
	if t.oldest == nil {
		b.older, b.newer = b, b
		t.oldest = b
		return
	}
	b.newer, b.older = t.oldest, t.oldest.older
	b.older.newer, b.newer.older = b, b
}

func (t *table) unlinkLocked(b *bucket) {
	if t.oldest == b {
		t.oldest = b.newer
	}
	if b.newer == b {
		t.oldest = nil
	}
	b.older.newer, b.newer.older = b.newer, b.older
	b.older, b.newer = nil, nil
}

// sweepStep is how many buckets are looked at in one go, so that no call waits long.
const sweepStep = 1000

// sweep drops what is full, from the longest unused on.
func (t *table) sweep(now time.Time) {
	for t.sweepSome(now) == sweepStep {
		continue
	}
}

func (t *table) sweepSome(now time.Time) (dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.oldest
	for range min(sweepStep, len(t.buckets)) {
		next := b.newer
		if b.full(now) {
			t.dropLocked(b)
			dropped++
		}
		b = next
	}
	return dropped
}
