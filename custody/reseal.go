// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Resealed is what became of records that other keys than the primary had sealed.
type Resealed struct {
	Place
	Primary  string         `json:"primary"`
	Resealed int            `json:"resealed"`
	Already  int            `json:"already"`           // sealed by the primary before
	Brief    int            `json:"brief"`             // left to end by themselves, within minutes
	Missing  map[string]int `json:"missing,omitempty"` // their key is not in the ring, by its id
	Broken   []string       `json:"broken,omitempty"`  // cannot be opened for another reason; their names
	Busy     []string       `json:"busy,omitempty"`    // changed by others again and again
}

// Reseal seals the records of a step with the primary key. Each is written only if
// it still is what was read: who refreshes a token at the same time is not undone.
// The version that the write adds makes a refresh that is under way read again,
// which it is made for.
//
// Nothing else seals anew but who writes a record anyway. Reads do not: a write for
// each first read would meet the refreshes that follow, for a change that nobody waits
// for.
func (d *Desk) Reseal(ctx context.Context, step Step) (Resealed, error) {
	found, at, err := d.look(ctx, step)
	if err != nil {
		return Resealed{}, err
	}
	done := Resealed{Place: at, Primary: d.ring.PrimaryID(), Missing: map[string]int{}}
	for _, r := range found {
		if setAside(r) {
			continue // for the day on which its key is found
		}
		if err := d.resealOne(ctx, r, &done); err != nil {
			return Resealed{}, err
		}
	}
	return done, nil
}

func (d *Desk) resealOne(ctx context.Context, r store.Record, done *Resealed) error {
	for range tries {
		id := sealedBy(r)
		switch {
		case id == done.Primary:
			done.Already++
			return nil
		case id != "" && !d.ring.Has(id):
			done.Missing[id]++
			return nil
		case id != "" && d.endsSoon(r):
			done.Brief++
			return nil
		}
		plain, err := d.ring.Open(r.Value, r.Key)
		if err != nil {
			done.Broken = append(done.Broken, r.Key)
			return nil
		}
		r.Value, r.Version = d.ring.Seal(plain, r.Key), r.Version+1
		err = d.store.Put(ctx, r)
		if err == nil {
			done.Resealed++
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		key := r.Key
		if r, err = d.store.Get(ctx, key); errors.Is(err, store.ErrNotFound) {
			return nil
		} else if vault.OfOneRecord(err) {
			done.Broken = append(done.Broken, key)
			return nil
		} else if err != nil {
			return err
		}
	}
	done.Busy = append(done.Busy, r.Key)
	return nil
}

// Add puts a further step's numbers to r.
func (r *Resealed) Add(step Resealed) {
	if r.Missing == nil {
		r.Missing = map[string]int{}
	}
	addUp(r.Missing, step.Missing)
	r.Primary = step.Primary
	r.Resealed, r.Already, r.Brief = r.Resealed+step.Resealed, r.Already+step.Already, r.Brief+step.Brief
	r.Broken, r.Busy = append(r.Broken, step.Broken...), append(r.Busy, step.Busy...)
	r.Place.Add(step.Place)
}
