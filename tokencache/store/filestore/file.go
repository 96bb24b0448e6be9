// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// file is an open bbolt file.
type file struct {
	db *bbolt.DB

	// broken is set once bbolt has panicked. Its locks may then be held for good,
	// so nobody may ask it anything any more, not even to close. The lock on the
	// file stays too: it hangs on the mapping, and goes with the process.
	broken atomic.Pointer[brokenError]
}

// brokenError is a panic of bbolt's that was not [contained].
type brokenError struct{ panic any }

func (e *brokenError) Error() string { return fmt.Sprint(e.panic) }

// view runs see in a transaction that only reads.
func (f *file) view(see func(tables) error) error {
	return f.safely(func() error {
		return f.db.View(func(tx *bbolt.Tx) error { return contained(tx, see) })
	})
}

// close waits for the transactions that are open.
func (f *file) close() error {
	if f.db == nil || f.broken.Load() != nil {
		return nil
	}
	return f.db.Close()
}

// safely turns a panic into a brokenError, from then on. bbolt panics where a page
// makes no sense, and reading from a file that was cut short behind its back is a
// fault, which ends the whole process unless it is asked to be a panic.
func (f *file) safely(do func() error) (err error) {
	if broken := f.broken.Load(); broken != nil {
		return broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			broken := &brokenError{p}
			f.broken.Store(broken)
			err = broken
		}
	}()
	return do()
}

// contained runs do inside a transaction. A bad page that it meets costs this one
// call only: bbolt then still rolls back in an orderly way, and holds no lock.
func contained(tx *bbolt.Tx, do func(tables) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged page: %v", p)
		}
	}()
	return do(tables{tx})
}
