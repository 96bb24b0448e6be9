// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"go.etcd.io/bbolt"
)

// opening is one attempt, shared by all who came while it lasted: waiting for
// the lock takes a second, and a crowd must not queue up for a second each.
type opening struct {
	done chan struct{} // closed when file and err are set
	file *file
	err  error
}

// open returns the file, which the first call opens.
func (s *Store) open(ctx context.Context) (*file, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("using the store: %w", err)
	}
	s.mu.Lock()
	if s.ended != nil || s.file != nil {
		defer s.mu.Unlock()
		return s.file, s.ended
	}
	o := s.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		s.opening = o
		go s.attempt(o)
	}
	s.mu.Unlock()
	select {
	case <-o.done:
		return o.file, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the store to open: %w", ctx.Err())
	}
}

func (s *Store) attempt(o *opening) {
	f, err := openFile(s.cfg)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended != nil: // closed while we were at it
		f.close()
		o.err = s.ended
	case err == nil:
		o.file = f
	default:
		f.close()
		o.err = s.toldLocked(err)
	}
	s.file, s.opening = o.file, nil
	close(o.done)
}

// Close implements store.Store. It waits for calls that are under way.
func (s *Store) Close() error {
	s.mu.Lock()
	f, o := s.file, s.opening
	s.file, s.ended = nil, errClosed
	s.mu.Unlock()
	if o != nil {
		<-o.done
	}
	if f == nil {
		return nil
	}
	if err := f.close(); err != nil {
		return fmt.Errorf("closing %s: %w", s.cfg.Path, err)
	}
	return nil
}

// openFile opens the file, or makes it. It never changes a file that is not a
// store already, except an empty one. Whatever it returns wants to be closed.
func openFile(cfg Config) (*file, error) {
	f := new(file)
	folder := filepath.Dir(cfg.Path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return f, err
	}
	options := bbolt.Options{Timeout: cfg.LockWait, FreelistType: bbolt.FreelistMapType, NoStatistics: true}
	return f, f.safely(func() (err error) {
		if f.db, err = bbolt.Open(cfg.Path, 0o600, &options); err != nil {
			return foreign(err)
		}
		return foreign(prepare(f.db, folder))
	})
}

// syncFolder makes the file's name durable: without it a power cut can take the
// whole file away, with writes in it that were acknowledged.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such call, and needs none
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
