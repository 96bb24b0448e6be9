// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"context"
	"encoding/binary"
)

// fences numbers leases. It reserves numbers in the file many at a time, so that
// taking a lease costs no write; a restart skips what was reserved and not used.
type fences struct {
	last, reserved uint64
}

const fencesAtOnce = 1024

// next returns a number that is higher than every earlier one, also those of
// earlier processes. Its calls must not overlap.
func (f *fences) next(ctx context.Context, write func(context.Context, func(tables) error) error) (uint64, error) {
	if f.last == f.reserved {
		var from uint64
		err := write(ctx, func(t tables) error {
			from = 0
			if b := t.about().Get([]byte(keyFence)); len(b) == 8 {
				from = binary.BigEndian.Uint64(b)
			}
			return t.about().Put([]byte(keyFence), binary.BigEndian.AppendUint64(nil, from+fencesAtOnce))
		})
		if err != nil {
			return 0, err
		}
		f.last, f.reserved = from, from+fencesAtOnce
	}
	f.last++
	return f.last, nil
}
