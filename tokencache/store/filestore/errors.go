// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/toolgate/toolgate/tokencache/store"
)

// ErrLocked: another process has the file open. It comes wrapped together with
// store.ErrUnavailable.
var ErrLocked = errors.New("another process is using the store")

var errClosed = fmt.Errorf("%w: it was closed", store.ErrUnavailable)

// told puts an error of the file's into the words of the contract.
func (s *Store) told(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.toldLocked(err)
}

func (s *Store) toldLocked(err error) error {
	var broken *brokenError
	path := s.cfg.Path
	switch {
	case meansSomething(err):
		return err
	case errors.As(err, &broken):
		return s.endLocked(broken)
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return errClosed
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w: %w at %s", store.ErrUnavailable, ErrLocked, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: no permission to use %s: %w", store.ErrUnavailable, path, err)
	}
	return fmt.Errorf("%w: cannot use %s: %w", store.ErrUnavailable, path, err)
}

// foreign says what bbolt means where it neither waited for the lock in vain nor
// had trouble with the disk.
func foreign(err error) error {
	var system syscall.Errno
	if err == nil || errors.Is(err, berrors.ErrTimeout) || errors.As(err, &system) {
		return err
	}
	return fmt.Errorf("it is not a store of Toolgate's, or is damaged: %w", err)
}

// endLocked gives up on the file for as long as the process lives: each new try
// could leave another lock and another mapping behind.
func (s *Store) endLocked(broken *brokenError) error {
	if s.ended == nil {
		s.ended = fmt.Errorf("%w: %s is damaged: %w; restore it from a backup and restart", store.ErrUnavailable, s.cfg.Path, broken)
	}
	return s.ended
}

// meansSomething reports whether err is in the words of the contract already.
func meansSomething(err error) bool {
	return refusal(err) || errors.Is(err, store.ErrUnavailable)
}

// refusal reports whether err is a change's decision not to be made.
func refusal(err error) bool {
	for _, known := range []error{store.ErrNotFound, store.ErrConflict, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
