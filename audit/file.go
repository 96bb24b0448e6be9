// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// File is a file that is appended to, made when the first line comes. When it is
// moved away, as log rotation does, a new one is begun within a second. It is safe
// for concurrent use, also by several processes.
type File struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	file    *os.File // nil: not open
	checked time.Time
}

// NewFile appends to path. It does not touch the disk.
func NewFile(path string) *File { return &File{path: path, now: time.Now} }

// Write implements io.Writer.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.readyLocked(); err != nil {
		return 0, err
	}
	return f.file.Write(p)
}

// Open opens the file now, so that what is wrong with it shows early.
func (f *File) Open() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readyLocked()
}

// Close closes the file. A request that outlives its configuration is recorded all
// the same: a later write opens the file again.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closeLocked()
}

// checkEvery is how long a file that was moved away may still be written to.
const checkEvery = time.Second

func (f *File) readyLocked() error {
	now := f.now()
	if f.file != nil && now.Sub(f.checked) < checkEvery {
		return nil
	}
	if !f.inPlaceLocked() {
		if err := f.openLocked(); err != nil {
			return err
		}
	}
	f.checked = now
	return nil
}

func (f *File) openLocked() error {
	_ = f.closeLocked() // it is somebody else's by now
	// A pipe or a socket would hold up every call until somebody reads it.
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() && info.Mode()&os.ModeCharDevice == 0 {
		return fmt.Errorf("%s is neither a file nor a device", f.path)
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f.file = file
	return nil
}

func (f *File) closeLocked() error {
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close()
}

// inPlaceLocked reports whether a file is open and still the one at path.
func (f *File) inPlaceLocked() bool {
	if f.file == nil {
		return false
	}
	there, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	ours, err := f.file.Stat()
	return err == nil && os.SameFile(there, ours)
}
