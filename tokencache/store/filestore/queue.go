// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/bbolt"
)

// queue lets writes that arrive while the disk is busy share the next commit: it
// is the two fsyncs that cost. bbolt's own Batch does so too, but makes a lonely
// writer wait for company, and its panics end the process: they happen in a
// goroutine of its own.
type queue struct {
	mu      sync.Mutex
	waiting []*pending
	running bool
}

// pending is one write that waits for its commit.
type pending struct {
	ctx    context.Context
	change func(tables) error
	answer chan error
}

// maxShared bounds one commit, and so the memory that it takes.
const maxShared = 64

// do returns the answer of a commit that ran change, possibly more than once but
// with effect at most once.
func (q *queue) do(ctx context.Context, f *file, change func(tables) error) error {
	p := &pending{ctx, change, make(chan error, 1)}
	q.mu.Lock()
	q.waiting = append(q.waiting, p)
	if !q.running {
		q.running = true
		go q.run(f) // on nobody's behalf: a writer who leaves must not stop the others
	}
	q.mu.Unlock()
	select {
	case err := <-p.answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for a write: %w", ctx.Err())
	}
}

// run commits until nobody waits.
func (q *queue) run(f *file) {
	for {
		batch := q.take()
		if len(batch) == 0 {
			return
		}
		commit(f, batch)
	}
}

func (q *queue) take() []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), maxShared)
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	q.running = n > 0
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	return batch
}

// commit runs the writes in one transaction and answers each. A write that fails
// in the middle takes the transaction with it, so the others are then run alone.
func commit(f *file, batch []*pending) {
	refused, err := f.update(batch)
	var failed *changeError
	if errors.As(err, &failed) && len(batch) > 1 {
		for i := range batch {
			commit(f, batch[i:i+1])
		}
		return
	}
	for i, p := range batch {
		// Refused writes looked at what was about to be written, so they too
		// must hear that it was not.
		if err == nil {
			p.answer <- refused[i]
		} else {
			p.answer <- err
		}
	}
}

// changeError is what a change returned that may have done half of its work.
type changeError struct{ error }

func (e *changeError) Unwrap() error { return e.error }

// errUnchanged rolls back what holds no change: a lost race costs no fsync.
var errUnchanged = errors.New("nothing to write")

// update runs the writes in one transaction. It returns for each why it was
// refused, if it was, and why the transaction as a whole failed.
func (f *file) update(batch []*pending) (refused []error, err error) {
	refused = make([]error, len(batch))
	err = f.safely(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			changed := false
			for i, p := range batch {
				refused[i] = p.run(tx)
				if refused[i] == nil {
					changed = true
				} else if !refusal(refused[i]) {
					return &changeError{refused[i]}
				}
			}
			if !changed {
				return errUnchanged
			}
			return nil
		})
	})
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	return refused, err
}

// run runs the change unless nobody waits for it any more.
func (p *pending) run(tx *bbolt.Tx) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	return contained(tx, p.change)
}
