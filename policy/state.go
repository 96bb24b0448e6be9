// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"sync"
	"time"
)

// State is what happened: how much of each limit was used, which providers are ill. It
// outlives a configuration, and is safe for concurrent use.
type State struct {
	mu     sync.Mutex
	tables map[string]*table

	pauses   *pauses
	breakers breakers
	slots    *slots
	budgets  budgets
}

// NewState makes one where nothing has happened.
func NewState() *State {
	return &State{tables: map[string]*table{}, pauses: newPauses(), breakers: breakers{all: map[host]*breaker{}}, slots: newSlots(), budgets: budgets{calls: map[string]int{}}}
}

// Report has somebody told when a breaker changes: open, half-open or closed. It is to be
// set before the state is used.
func (s *State) Report(to func(toolkit, host, state string)) { s.breakers.report = to }

func (s *State) table(id string) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[id]
	if t == nil {
		t = newTable()
		s.tables[id] = t
	}
	return t
}

// Sweep drops what says nothing any more. It is to be called now and then.
func (s *State) Sweep(now time.Time) {
	s.pauses.sweep(now)
	s.breakers.sweep(now)
	s.mu.Lock()
	tables := make([]*table, 0, len(s.tables))
	for _, t := range s.tables {
		tables = append(tables, t)
	}
	s.mu.Unlock()
	for _, t := range tables {
		t.sweep(now)
	}
}

// Buckets counts what is kept for limits.
func (s *State) Buckets() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		t.mu.Lock()
		n += len(t.buckets)
		t.mu.Unlock()
	}
	return n
}

// Pauses counts the cool-downs that are kept.
func (s *State) Pauses() int {
	s.pauses.mu.Lock()
	defer s.pauses.mu.Unlock()
	return len(s.pauses.until)
}

// Busy counts whom calls under way are kept for, where they are counted.
func (s *State) Busy() int {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	return len(s.slots.all)
}
