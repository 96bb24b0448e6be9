// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package store is the contract between Toolgate and whatever keeps its
// records: an embedded file, Redis, memory. A store sees sealed bytes only; what
// they mean, and which key opens them, is package vault's business.
//
// Every implementation is held to this contract by package storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

var (
	// ErrNotFound: there is no such record, or its time has passed.
	ErrNotFound = errors.New("store: no such record")
	// ErrConflict: the record is not at the version that the caller named;
	// nothing was changed. Read again and decide again.
	ErrConflict = errors.New("store: the record has changed")
	// ErrHeld: somebody else holds the lease.
	ErrHeld = errors.New("store: the lease is held")
	// ErrUnavailable: the store cannot be reached, opened or written. It never
	// means that a record is absent; callers answer 503 and ask nobody to
	// connect again.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrDamaged: the store holds the record, and it is not what was written. It
	// comes wrapped together with ErrUnavailable.
	ErrDamaged = errors.New("store: the record is damaged")
	// ErrNewer: the store holds the record, in a form that only a later Toolgate
	// knows. It comes wrapped together with ErrUnavailable.
	ErrNewer = errors.New("store: the record was written by a later version")
	// ErrInvalid: the call itself is wrong, see [Record.Check]; nothing was
	// changed, and trying again will not help.
	ErrInvalid = errors.New("store: invalid")
)

// Record is one sealed value under a key.
type Record struct {
	// Key names the record: any non-empty string of at most [MaxKey] bytes.
	Key string
	// Value is opaque to the store; at most [MaxValue] bytes.
	Value []byte
	// Version counts the writes of this record, from 1. A record that was
	// deleted, or whose time passed, starts at 1 again.
	Version uint64
	// Expires is when the record reads as absent, to the millisecond. Zero: never.
	Expires time.Time
	// Index are the terms under which List finds the record, such as
	// "user/acme/alice". Each write replaces them. Terms are like keys in form,
	// and a set: they come back sorted and each once.
	Index []string
}

// Limits that every store accepts; beyond them a call is [ErrInvalid].
const (
	MaxKey   = 2 << 10 // bytes
	MaxValue = 1 << 20 // bytes
)

// CheckKey returns ErrInvalid for what cannot be a key, a term or a lease's name.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("%w: a key has 1 to %d bytes, this one has %d", ErrInvalid, MaxKey, len(key))
	}
	return nil
}

// Check returns ErrInvalid for a record that no store can write. Errors do not
// quote what is in it.
func (r Record) Check() error {
	if len(r.Value) > MaxValue {
		return fmt.Errorf("%w: a value has at most %d bytes, this one has %d", ErrInvalid, MaxValue, len(r.Value))
	}
	if r.Version == 0 {
		return fmt.Errorf("%w: versions begin at 1", ErrInvalid)
	}
	for _, term := range r.Index {
		if err := CheckKey(term); err != nil {
			return err
		}
	}
	return CheckKey(r.Key)
}

// Past reports whether the record reads as absent now.
func (r Record) Past(now time.Time) bool {
	return !r.Expires.IsZero() && now.UnixMilli() >= r.Expires.UnixMilli()
}

// Clone returns the record in the form in which stores keep and return it: its
// slices shared with nobody, its terms as a set, Expires in UTC and cut to the
// millisecond.
func (r Record) Clone() Record {
	r.Value = slices.Clone(r.Value)
	r.Index = slices.Clone(r.Index)
	slices.Sort(r.Index)
	r.Index = slices.Compact(r.Index)
	if !r.Expires.IsZero() {
		r.Expires = time.UnixMilli(r.Expires.UnixMilli()).UTC()
	}
	return r
}

// Store keeps records. Its methods are safe for concurrent use, also by several
// processes where the implementation says so, and return once the write is as
// durable as that store can make it. A context that ends stops the wait; whether
// the write happened is then unknown, as it is after ErrUnavailable. A context
// that has ended already changes nothing. Errors wrap one of those above, or the
// context's. Slices that are passed in or returned are not shared.
type Store interface {
	// Get returns the record, or ErrNotFound.
	Get(ctx context.Context, key string) (Record, error)

	// Put writes r if the record stands at version r.Version-1 now, 0 being
	// "absent", and ErrConflict otherwise. So r.Version 1 creates and never
	// overwrites, and of many writers of one version exactly one succeeds.
	Put(ctx context.Context, r Record) error

	// Delete removes the record if it stands at that version: ErrConflict if
	// it stands at another, ErrNotFound if it is not there.
	Delete(ctx context.Context, key string, version uint64) error

	// List returns up to limit records that carry the index term, in byte order
	// of their keys, beginning after the key `after` ("" for the start; it need
	// not exist). It is not a snapshot. Fewer than limit records means that
	// there are no more. A record that cannot be read is left out, so that it
	// stands in nobody else's way; Get names it.
	List(ctx context.Context, term, after string, limit int) ([]Record, error)

	// Lease takes the named lease for at most ttl, or returns ErrHeld at once.
	// It is advisory and keeps work from being done twice; correctness rests on
	// Put. Names of leases and keys of records do not meet.
	Lease(ctx context.Context, name string, ttl time.Duration) (Lease, error)

	// Sweep removes up to limit records whose time has passed and returns how
	// many it removed: fewer than limit means that none is left. Stores that
	// forget by themselves return 0.
	Sweep(ctx context.Context, limit int) (int, error)

	// Close gives back what the store holds. Calls after it return ErrUnavailable.
	Close() error
}

// Scanner is what a store implements that can list all of its records, whatever
// their terms: it is for the operator's commands, such as sealing everything anew
// or moving it to another store.
type Scanner interface {
	// Scan returns up to limit records in byte order of their keys, beginning
	// after the key `after`, as List does. Where it comes upon a record that it
	// cannot read, it returns those before it and an [*UnreadableError], so that
	// the caller can name that one and go on after it.
	Scan(ctx context.Context, after string, limit int) ([]Record, error)
}

// UnreadableError is one record that the store holds and cannot read. It does not
// mean that others cannot be read.
type UnreadableError struct {
	Key string
	Err error
}

func (e *UnreadableError) Error() string { return fmt.Sprintf("the record %q: %v", e.Key, e.Err) }

// Unwrap gives the cause, which wraps [ErrUnavailable].
func (e *UnreadableError) Unwrap() error { return e.Err }

// Lease is held until Release or until its ttl has passed, whichever is first.
type Lease struct {
	// Fence grows with every lease that is given out under the same name.
	Fence uint64
	// Release ends the lease; after the ttl it does nothing, and it never
	// ends somebody else's.
	Release func(context.Context) error
}
