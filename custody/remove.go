// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	"fmt"

	"github.com/toolgate/toolgate/tokencache/store"
)

// Removed is what a step took away.
type Removed struct {
	Place
	Removed int `json:"removed"`
}

// Remove takes records away: those of which which says so, by their names and, where it
// asks, by what is in them; that is nil for one that cannot be opened.
func (d *Desk) Remove(ctx context.Context, step Step, which func(name string, open func() []byte) bool) (Removed, error) {
	found, at, err := d.look(ctx, step)
	if err != nil {
		return Removed{}, err
	}
	done := Removed{Place: at}
	for _, r := range found {
		for range tries {
			if !which(r.Key, func() []byte { return d.opened(r) }) {
				break
			}
			err := d.store.Delete(ctx, r.Key, r.Version)
			if err == nil {
				done.Removed++
				break
			}
			if errors.Is(err, store.ErrNotFound) {
				break
			}
			if !errors.Is(err, store.ErrConflict) {
				return Removed{}, fmt.Errorf("removing a record: %w", err)
			}
			if r, err = d.store.Get(ctx, r.Key); err != nil {
				break // gone, or the next run finds it
			}
		}
	}
	return done, nil
}

func (d *Desk) opened(r store.Record) []byte {
	if d.ring == nil {
		return nil
	}
	plain, err := d.ring.Open(r.Value, r.Key)
	if err != nil {
		return nil
	}
	return plain
}
