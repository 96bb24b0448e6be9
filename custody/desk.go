// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package custody is what operators do with all of a store's records: count them by
// key, seal them anew, set aside what cannot be opened any more, move them to another
// store, and bring grants in from elsewhere.
//
// Everything is done in steps. A step looks at so many records, begins after the one
// where the last step ended, and may be repeated: whatever is cut off is just begun
// again. Steps run beside gateways that are at work on the same store.
package custody

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
)

// ErrCannotScan: the store is no [store.Scanner].
var ErrCannotScan = errors.New("this kind of store cannot list all of its records")

// Desk is where the work is done: on one store, with one key ring.
type Desk struct {
	store store.Store
	ring  *seal.Ring
	now   func() time.Time
}

// New makes a desk. Without a ring it can only move records. The clock nil is time.Now.
func New(s store.Store, ring *seal.Ring, now func() time.Time) *Desk {
	if now == nil {
		now = time.Now
	}
	return &Desk{s, ring, now}
}

// Step says which records a step looks at.
type Step struct {
	After []byte `json:"after,omitempty"` // the key after which it begins
	Limit int    `json:"limit,omitempty"` // zero: [DefaultLimit]
}

// DefaultLimit is how many records a step looks at: few enough to be answered at once.
const DefaultLimit = 100

// Place is where a step ended.
type Place struct {
	Next []byte `json:"next"` // the next step's After
	Done bool   `json:"done"` // nothing is left
	Seen int    `json:"seen"` // how many records the step looked at
	// Unreadable are the records that the store itself cannot read, by their names.
	Unreadable []string `json:"unreadable,omitempty"`
}

// look reads the records of a step.
func (d *Desk) look(ctx context.Context, step Step) ([]store.Record, Place, error) {
	scanner, ok := d.store.(store.Scanner)
	if !ok {
		return nil, Place{}, ErrCannotScan
	}
	limit := step.Limit
	if limit <= 0 || limit > DefaultLimit {
		limit = DefaultLimit
	}
	found, err := scanner.Scan(ctx, string(step.After), limit)
	at := Place{Next: step.After, Seen: len(found), Done: len(found) < limit}
	if len(found) > 0 {
		at.Next = []byte(found[len(found)-1].Key)
	}
	if unreadable, ok := errors.AsType[*store.UnreadableError](err); ok {
		at.Next, at.Done, at.Seen = []byte(unreadable.Key), false, at.Seen+1
		at.Unreadable, err = []string{unreadable.Key}, nil
	}
	return found, at, err
}

// asidePrefix begins the names and terms of records that were set aside.
const asidePrefix = "aside/"

func setAside(r store.Record) bool { return strings.HasPrefix(r.Key, asidePrefix) }

// sealedBy gives the id of the key that sealed the record; "" where that cannot be told.
func sealedBy(r store.Record) string {
	id, err := seal.SealedBy(r.Value)
	if err != nil {
		return ""
	}
	return id
}

// brief: what ends so soon, such as a sign-in that is under way, is left to end by
// itself. Whoever is about to write it would meet our write instead of his own.
const brief = 15 * time.Minute

func (d *Desk) endsSoon(r store.Record) bool {
	return !r.Expires.IsZero() && r.Expires.Before(d.now().Add(brief))
}

// tries is how often a record is read again that somebody else changes in between.
const tries = 5
