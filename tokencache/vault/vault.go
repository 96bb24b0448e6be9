// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package vault turns records into sealed bytes and back. It stands between the
// stores, which see no plaintext, and everything else, which sees no ciphertext.
package vault

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
)

// Vault keeps sealed documents in a store. A document opens only under the name
// it was sealed for: who can write to the store cannot move one user's token
// into another user's record.
type Vault struct {
	store     store.Store
	ring      *seal.Ring
	unchecked atomic.Bool // see CheckFirst
	settled   atomic.Bool // the canary was there once
}

// New makes a vault. It touches neither store nor disk.
func New(s store.Store, ring *seal.Ring) *Vault { return &Vault{store: s, ring: ring} }

// Document is one record in the clear.
type Document struct {
	Name    string
	Plain   []byte
	Version uint64 // as in [store.Record]
	Expires time.Time
	Index   []string
}

// Get reads a document. The error wraps store.ErrNotFound, store.ErrUnavailable or
// one of package seal's.
func (v *Vault) Get(ctx context.Context, name string) (Document, error) {
	if err := v.checked(ctx); err != nil {
		return Document{}, err
	}
	return v.get(ctx, name)
}

func (v *Vault) get(ctx context.Context, name string) (Document, error) {
	r, err := v.store.Get(ctx, name)
	if err != nil {
		return Document{}, err
	}
	// Opened under the name that was asked for, not the one that the record
	// says: that one is in the hands of who can write to the store.
	plain, err := v.ring.Open(r.Value, name)
	if err != nil {
		return Document{}, fmt.Errorf("opening a record: %w", err)
	}
	return Document{name, plain, r.Version, r.Expires, r.Index}, nil
}

// Put writes a document, as [store.Store] does.
func (v *Vault) Put(ctx context.Context, d Document) error {
	if err := v.checked(ctx); err != nil {
		return err
	}
	return v.put(ctx, d)
}

func (v *Vault) put(ctx context.Context, d Document) error {
	return v.store.Put(ctx, store.Record{Key: d.Name, Value: v.ring.Seal(d.Plain, d.Name), Version: d.Version, Expires: d.Expires, Index: d.Index})
}

// Delete removes a document that stands at version.
func (v *Vault) Delete(ctx context.Context, name string, version uint64) error {
	if err := v.checked(ctx); err != nil {
		return err
	}
	return v.store.Delete(ctx, name, version)
}

// Lease is the store's.
func (v *Vault) Lease(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	return v.store.Lease(ctx, name, ttl)
}

// Name joins parts to a record's name. No part can reach into the next one.
func Name(parts ...string) string {
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = url.PathEscape(p)
	}
	return strings.Join(escaped, "/")
}

// Problem turns an error of the vault into the refusal that it deserves: 503 in
// every case. None of them says anything about what the user has granted, so none
// may ever send a user to connect again.
func Problem(err error) error {
	p := problem.New(problem.StorageUnavailable, "store", "The gateway cannot read or write its store at the moment. The connection is not lost; try again later.")
	var missing *seal.KeyMissingError
	p.RetryAfter = time.Minute // a person has to do something
	switch {
	case errors.As(err, &missing):
		p.Code, p.Rule = problem.KeyMissing, "encryption_key"
		p.Detail = "A record was sealed with encryption key " + missing.ID + ", which the gateway does not have. The operator has to add it to encryption_key."
	case damaged(err):
		p.Rule, p.Detail = "record_damaged", "The record of this connection in the gateway's store is damaged, or not in its place, so it is not used. Other connections are not affected. The operator has to restore it."
	case newer(err):
		p.Rule, p.Detail = "record_newer", "The record of this connection was written by a later version of the gateway than this one, so it is left alone. The operator has to bring this gateway up to date."
	case errors.Is(err, ErrLost):
		p.Rule, p.Detail = "store_lost", "The gateway's store has come back without its records, so nobody can tell what this user has granted. The operator has to restore it."
	default:
		p.RetryAfter = 5 * time.Second
	}
	return p.Because(err)
}

func damaged(err error) bool {
	return errors.Is(err, seal.ErrDamaged) || errors.Is(err, store.ErrDamaged) || errors.Is(err, ErrMalformed)
}

func newer(err error) bool {
	var sealed *seal.VersionError
	var form *FormatError
	return errors.As(err, &sealed) || errors.As(err, &form) || errors.Is(err, store.ErrNewer)
}

// OfOneRecord reports whether err is about the one record that was asked for, or that
// was to be written, and says nothing of others: work on many goes on after it.
func OfOneRecord(err error) bool {
	_, missing := errors.AsType[*seal.KeyMissingError](err)
	return missing || damaged(err) || newer(err) || errors.Is(err, store.ErrInvalid)
}

// Canary is the name of the record that tells whether the keys at hand are the
// store's. It belongs to its store and goes to no other one.
const Canary = "canary"

// Check opens the store and makes sure that its records can be opened. With a wrong key
// everything would seem to work: new records would be sealed with it, and the old ones
// unreadable. The canary is sealed once, and anew when all records are.
func (v *Vault) Check(ctx context.Context) error {
	_, err := v.get(ctx, Canary)
	if errors.Is(err, store.ErrNotFound) {
		if err = v.Settle(ctx); err == nil {
			_, err = v.get(ctx, Canary) // another gateway may just have made it
		}
	}
	if missing, ok := errors.AsType[*seal.KeyMissingError](err); ok {
		return fmt.Errorf("the store was sealed with the encryption key %s, which is not among those that are configured: %w", missing.ID, err)
	}
	if err == nil {
		v.unchecked.Store(false)
		v.settled.Store(true)
	}
	return err
}

// ErrLost is a store that answers and has lost its records, as a Redis does that keeps
// nothing on its disk and was restarted. It wraps store.ErrUnavailable.
var ErrLost = fmt.Errorf("%w: it has lost its records, the first one among them; restore it, or restart the gateway to begin anew", store.ErrUnavailable)

// absent says what it means that a connection is not there: nothing, where the canary
// that was there is gone as well. Otherwise every user would be asked to connect again,
// and those who did would stand in the way of a backup. It costs one more reading, and
// only for users who are not connected; who asks for those often remembers the answer.
func (v *Vault) absent(ctx context.Context) error {
	if !v.settled.Load() {
		return connection.ErrNotConnected
	}
	switch _, err := v.store.Get(ctx, Canary); {
	case errors.Is(err, store.ErrNotFound):
		return ErrLost
	case err != nil && !damaged(err) && !newer(err):
		return err
	}
	return connection.ErrNotConnected
}

// Settle makes the canary where there is none, and looks at none that is there.
func (v *Vault) Settle(ctx context.Context) error {
	err := v.put(ctx, Document{Name: Canary, Plain: []byte(Canary), Version: 1})
	if errors.Is(err, store.ErrConflict) || damaged(err) || newer(err) {
		return nil
	}
	return err
}

// CheckFirst makes every call check the keys before it does anything, until that was
// done once: for a store that was away when the gateway started. Otherwise a wrong
// key would begin to seal records the moment the store is back.
func (v *Vault) CheckFirst() { v.unchecked.Store(true) }

func (v *Vault) checked(ctx context.Context) error {
	if !v.unchecked.Load() {
		return nil
	}
	return v.Check(ctx)
}
