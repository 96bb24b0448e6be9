// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package audit keeps a record of who did what. Unlike a log or a metric it may
// refuse: what cannot be recorded is not done.
package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Event says what happened.
type Event string

// The events.
const (
	Call        Event = "call"         // a request leaves for a provider
	LinkOpened  Event = "link_started" // a user began to connect
	Connected   Event = "connected"    // a grant was saved
	ConnectFail Event = "connect_failed"
)

// Record is one line. It has no header, no query and no body, so it can hold no
// secret that was in one.
type Record struct {
	Time       time.Time `json:"time"`
	Event      Event     `json:"event"`
	RequestID  string    `json:"request_id,omitempty"`
	Tenant     string    `json:"tenant"`
	Agent      string    `json:"agent,omitempty"`
	User       string    `json:"user"`
	Toolkit    string    `json:"toolkit"`
	Connection string    `json:"connection,omitempty"`
	Method     string    `json:"method,omitempty"`
	Host       string    `json:"host,omitempty"`
	Path       string    `json:"path,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}

// Writer writes records as JSON lines, each in one write.
type Writer struct {
	mu  sync.Mutex
	out io.Writer
}

// NewWriter writes to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Record writes one line. It is safe for concurrent use.
func (w *Writer) Record(r Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// File is a file that is appended to, made when the first line comes. When it is
// moved away, as log rotation does, a new one is begun within a second.
type File struct {
	path    string
	file    *os.File
	checked time.Time
}

// NewFile appends to path. It does not touch the disk.
func NewFile(path string) *File { return &File{path: path} }

// Write implements io.Writer. [Writer] calls it one at a time.
func (f *File) Write(p []byte) (int, error) {
	if err := f.ready(time.Now()); err != nil {
		return 0, err
	}
	return f.file.Write(p)
}

func (f *File) ready(now time.Time) error {
	if f.file != nil && (now.Sub(f.checked) < time.Second || f.inPlace()) {
		if now.Sub(f.checked) >= time.Second {
			f.checked = now
		}
		return nil
	}
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f.file, f.checked = file, now
	return nil
}

// inPlace reports whether the open file is still the one at path.
func (f *File) inPlace() bool {
	there, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	ours, err := f.file.Stat()
	return err == nil && os.SameFile(there, ours)
}

// Close closes the file.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
