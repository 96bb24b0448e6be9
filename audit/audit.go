// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package audit keeps a record of who did what. Unlike a log or a metric it may
// refuse: what cannot be recorded is not done.
package audit

import (
	"encoding/json"
	"fmt"
	"io"
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
	LinkEnded   Event = "link_cancelled" // nothing can be connected with a link any more
	// Disconnected: a grant is about to be removed.
	Disconnected Event = "disconnected"
	// DefaultChosen: calls that name no account are about to go to this connection.
	DefaultChosen Event = "default_chosen"
	// SwitchedOff and SwitchedOn: a connection is about to be put to rest, or to use again.
	SwitchedOff Event = "switched_off"
	SwitchedOn  Event = "switched_on"
	// AgentApproved and AgentBarred: an agent is about to get the use of a connection by
	// its user's word, or to lose it.
	AgentApproved Event = "agent_approved"
	AgentBarred   Event = "agent_withdrawn"
	// ReadOnly and ReadWrite: a user is about to allow reading only over a connection, or
	// everything again. They are reasons of Connected too, where the user was asked.
	ReadOnly  Event = "read_only"
	ReadWrite Event = "read_write"
	// Staged: a connection is about to be set up, which its user has not made yet.
	Staged Event = "connection_added"
	// Renamed: a connection is about to get another name from its user.
	Renamed Event = "connection_renamed"
	// Restored: what a link had replaced is about to stand again, since it was called off.
	Restored Event = "connection_restored"
	// SessionMade: a session's token is about to be given out. SessionEnded: one, or all of
	// the user's, are about to be taken back.
	SessionMade  Event = "session_made"
	SessionEnded Event = "session_ended"
	// Forgotten: everything that is kept of the user is about to be removed.
	Forgotten Event = "user_forgotten"
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
	Session    string    `json:"session,omitempty"` // its id
	Method     string    `json:"method,omitempty"`
	Host       string    `json:"host,omitempty"`
	Path       string    `json:"path,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}

// Writer writes records as JSON lines, each in one write.
type Writer struct {
	mu   sync.Mutex
	out  io.Writer
	torn bool // the last line ends in its middle
}

// NewWriter writes to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Record writes one line, its time in UTC. It is safe for concurrent use.
func (w *Writer) Record(r Record) error {
	r.Time = r.Time.UTC()
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	line = append(line, '\n')
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.torn {
		// A full disk takes half a line. The next one must not be glued to it.
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.out.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.torn = w.torn || n > 0
		return fmt.Errorf("audit: %w", err)
	}
	w.torn = false
	return nil
}
