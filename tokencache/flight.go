// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// flight does one piece of work per key at a time, and the work belongs to
// nobody's request: the caller who happened to start it may hang up, and the
// others still get their answer. With the first caller's context instead, a
// refresh dies half-way with the rotated token in hand.
type flight[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[V]
	over  bool // nothing new is begun
	all   sync.WaitGroup
}

var (
	// errOver: the work was not begun, because the cache is closing.
	errOver = errors.New("tokencache: closing")
	// errAborted: the work ended without returning (runtime.Goexit). Without
	// it, waiters would take an empty value for a good one.
	errAborted = errors.New("tokencache: the work was aborted")
)

type call[V any] struct {
	done  chan struct{} // closed when value and err are set
	value V
	err   error
}

// do gives the result of work for key, joining work that is under way. It returns
// early when ctx ends; the work goes on, for at most limit.
func (f *flight[K, V]) do(ctx context.Context, key K, limit time.Duration, work func(context.Context) (V, error)) (V, error) {
	c := f.join(ctx, key, limit, work)
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

func (f *flight[K, V]) join(ctx context.Context, key K, limit time.Duration, work func(context.Context) (V, error)) *call[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, flying := f.calls[key]; flying {
		return c
	}
	c := &call[V]{done: make(chan struct{}), err: errAborted}
	if f.over {
		c.err = errOver
		close(c.done)
		return c
	}
	if f.calls == nil {
		f.calls = map[K]*call[V]{}
	}
	f.calls[key] = c
	f.all.Go(func() { f.run(context.WithoutCancel(ctx), key, limit, c, work) })
	return c
}

func (f *flight[K, V]) run(ctx context.Context, key K, limit time.Duration, c *call[V], work func(context.Context) (V, error)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer func() {
		// net/http does not catch a panic here; it would end the process.
		if p := recover(); p != nil {
			c.err = fmt.Errorf("tokencache: panic: %v\n%s", p, debug.Stack())
		}
		f.mu.Lock()
		delete(f.calls, key)
		f.mu.Unlock()
		close(c.done)
	}()
	c.value, c.err = work(ctx)
}

// ending reports whether work that has not begun in earnest had better not.
func (f *flight[K, V]) ending() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over
}

// end begins nothing new and returns when no work is under way.
func (f *flight[K, V]) end() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	f.all.Wait()
}
