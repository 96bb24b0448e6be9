// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// ErrKeyPresent: what the key sealed can be opened, so there is no reason to set it
// aside.
var ErrKeyPresent = errors.New("the key is in the ring, and opens what it sealed")

// ErrKeyAbsent: what the key sealed could not be opened in its old place either.
var ErrKeyAbsent = errors.New("the key is not in the ring")

// Moved is what became of the records of one key.
type Moved struct {
	Place
	Moved int      `json:"moved"`
	Taken []string `json:"taken,omitempty"` // their place is taken by a newer record
}

// Add puts a further step's numbers to m.
func (m *Moved) Add(step Moved) {
	m.Moved, m.Taken = m.Moved+step.Moved, append(m.Taken, step.Taken...)
	m.Place.Add(step.Place)
}

// Damaged stands for a key's id where the records are meant that no key opens: cut,
// changed, or in a place that they were not sealed for. Those of connections that open,
// and are none, are among them.
const Damaged = "damaged"

// Abandon sets the records aside that a lost key sealed, or that are [Damaged]: under
// another name, where no gateway looks, with their bytes and terms. The users then
// count as not connected. A step that is cut off leaves a record in both places at
// worst, and the next one goes on with it.
func (d *Desk) Abandon(ctx context.Context, id string, step Step) (Moved, error) {
	if d.ring.Has(id) {
		return Moved{}, ErrKeyPresent
	}
	found, at, err := d.look(ctx, step)
	if err != nil {
		return Moved{}, err
	}
	done := Moved{Place: at}
	for _, r := range found {
		if setAside(r) || !d.belongs(r, id) {
			continue
		}
		if err := d.putAside(ctx, id, r); errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
			continue // a gateway that has the key has just written or ended it
		} else if err != nil {
			return Moved{}, fmt.Errorf("setting %s aside: %w", r.Key, err)
		}
		done.Moved++
	}
	// The canary may have been among them, now or in a step that was cut off. Gateways
	// at work would take the store for one that has lost its records.
	if err := vault.New(d.store, d.ring).Settle(ctx); err != nil {
		return Moved{}, err
	}
	return done, nil
}

func (d *Desk) belongs(r store.Record, id string) bool {
	if id != Damaged {
		return sealedBy(r) == id
	}
	plain, err := d.ring.Open(r.Value, r.Key)
	if err == nil {
		return vault.Malformed(r.Key, plain)
	}
	return errors.Is(err, seal.ErrDamaged) // and not where a key is missing, or the version is later
}

func (d *Desk) putAside(ctx context.Context, id string, r store.Record) error {
	aside := r.Clone()
	aside.Version, aside.Index = 1, nil
	for _, term := range r.Index {
		aside.Index = append(aside.Index, asidePrefix+term)
	}
	// The user of a key that was lost twice has two of these.
	for n := 1; ; n++ {
		aside.Key = fmt.Sprintf("%s%s/%d/%s", asidePrefix, id, n, r.Key)
		err := d.store.Put(ctx, aside)
		if errors.Is(err, store.ErrConflict) {
			there, readErr := d.store.Get(ctx, aside.Key)
			if readErr == nil && !bytes.Equal(there.Value, r.Value) {
				continue
			}
			err = readErr
		}
		if err != nil {
			return err
		}
		break
	}
	err := d.store.Delete(ctx, r.Key, r.Version)
	if errors.Is(err, store.ErrConflict) {
		_ = d.store.Delete(ctx, aside.Key, 1) // it is not what we took it for any more
	}
	return err
}

// Restore puts what was set aside back in its place, for a key that was found after
// all. A place that was taken meanwhile, because the user has connected again, stays
// as it is.
func (d *Desk) Restore(ctx context.Context, id string, step Step) (Moved, error) {
	if !d.ring.Has(id) {
		return Moved{}, ErrKeyAbsent
	}
	found, at, err := d.look(ctx, step)
	if err != nil {
		return Moved{}, err
	}
	done := Moved{Place: at}
	for _, aside := range found {
		rest, ok := strings.CutPrefix(aside.Key, asidePrefix+id+"/")
		_, name, numbered := strings.Cut(rest, "/")
		if !ok || !numbered || name == vault.Canary {
			continue // the store has had to have another one since
		}
		err := d.putBack(ctx, name, aside)
		switch {
		case errors.Is(err, store.ErrConflict):
			done.Taken = append(done.Taken, name)
		case err != nil:
			return Moved{}, fmt.Errorf("putting %s back: %w", name, err)
		default:
			done.Moved++
		}
	}
	return done, nil
}

func (d *Desk) putBack(ctx context.Context, name string, aside store.Record) error {
	r := aside.Clone()
	r.Key, r.Version, r.Index = name, 1, nil
	for _, term := range aside.Index {
		r.Index = append(r.Index, strings.TrimPrefix(term, asidePrefix))
	}
	err := d.store.Put(ctx, r)
	if errors.Is(err, store.ErrConflict) {
		there, readErr := d.store.Get(ctx, name)
		if readErr != nil {
			return readErr
		}
		if !bytes.Equal(there.Value, r.Value) {
			return err
		}
	} else if err != nil {
		return err
	}
	return d.store.Delete(ctx, aside.Key, aside.Version)
}
