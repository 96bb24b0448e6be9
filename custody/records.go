// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"slices"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Record is a sealed record on its way from one store to another. It is as the store
// has it, and nothing in it is in the clear but its name and terms. Its version stays
// behind: a store counts its own writes.
type Record struct {
	Key     []byte   `json:"key"`
	Value   []byte   `json:"value"`
	Expires int64    `json:"expires,omitempty"` // Unix milliseconds; 0: never
	Index   [][]byte `json:"index,omitempty"`
}

func packed(r store.Record) Record {
	out := Record{Key: []byte(r.Key), Value: r.Value}
	if !r.Expires.IsZero() {
		out.Expires = max(1, r.Expires.UnixMilli())
	}
	for _, term := range r.Index {
		out.Index = append(out.Index, []byte(term))
	}
	return out
}

func (r Record) unpacked() store.Record {
	out := store.Record{Key: string(r.Key), Value: r.Value, Version: 1}
	if r.Expires != 0 {
		out.Expires = time.UnixMilli(r.Expires).UTC()
	}
	for _, term := range r.Index {
		out.Index = append(out.Index, string(term))
	}
	return out.Clone()
}

// SealedBy gives the id of the key that sealed r; "" where that cannot be told, and
// for what was set aside because the key is lost.
func (r Record) SealedBy() string {
	if s := r.unpacked(); !setAside(s) {
		return sealedBy(s)
	}
	return ""
}

// Digest sums up records in the order in which they are added. Two stores that give
// the same digest hold the same.
type Digest struct {
	sum   hash.Hash
	Count int
}

// NewDigest makes a digest of nothing.
func NewDigest() *Digest { return &Digest{sum: sha256.New()} }

// Add adds a record: each of its parts with its length, so that no two records look
// alike.
func (d *Digest) Add(r Record) {
	d.Count++
	parts := append([][]byte{r.Key, r.Value, binary.BigEndian.AppendUint64(nil, uint64(r.Expires))}, r.Index...)
	d.sum.Write(binary.AppendUvarint(nil, uint64(len(parts))))
	for _, part := range parts {
		d.sum.Write(binary.AppendUvarint(nil, uint64(len(part))))
		d.sum.Write(part)
	}
}

// String is the digest of what was added so far, such as "sha256:9f86d0…".
func (d *Digest) String() string { return "sha256:" + hex.EncodeToString(d.sum.Sum(nil)) }

// Taken are the records of a step.
type Taken struct {
	Place
	Records []Record `json:"records"`
}

// Take gives the records of a step as they are, all but the canary, which belongs to
// its store.
func (d *Desk) Take(ctx context.Context, step Step) (Taken, error) {
	found, at, err := d.look(ctx, step)
	if err != nil {
		return Taken{}, err
	}
	out := Taken{Place: at}
	for _, r := range found {
		if r.Key != vault.Canary {
			out.Records = append(out.Records, packed(r))
		}
	}
	return out, nil
}

// Given is what became of records that came from another store.
type Given struct {
	Created   int      `json:"created"`
	Same      int      `json:"same"` // were there, byte for byte
	Replaced  int      `json:"replaced"`
	Past      int      `json:"past"` // their time has passed
	Conflicts []string `json:"conflicts,omitempty"`
	Absent    []string `json:"absent,omitempty"` // of a comparison
}

// Add puts further numbers to g.
func (g *Given) Add(step Given) {
	g.Created, g.Same, g.Replaced, g.Past = g.Created+step.Created, g.Same+step.Same, g.Replaced+step.Replaced, g.Past+step.Past
	g.Conflicts, g.Absent = append(g.Conflicts, step.Conflicts...), append(g.Absent, step.Absent...)
}

// Give writes records that came from another store. Another record of the same name
// stays as it is and is named, unless force says that it is to be replaced; one that the
// store cannot read stays in any case. So does the canary, which belongs to its store:
// another one's, with other keys perhaps, would have the gateway refuse to start.
func (d *Desk) Give(ctx context.Context, records []Record, force bool) (Given, error) {
	var done Given
	for _, r := range records {
		if string(r.Key) == vault.Canary {
			continue
		}
		if err := d.giveOne(ctx, r.unpacked(), force, &done); err != nil {
			return Given{}, err
		}
	}
	return done, nil
}

func (d *Desk) giveOne(ctx context.Context, r store.Record, force bool, done *Given) error {
	if r.Past(d.now()) {
		done.Past++
		return nil
	}
	for range tries {
		there, err := d.store.Get(ctx, r.Key)
		absent := errors.Is(err, store.ErrNotFound)
		switch {
		case vault.OfOneRecord(err):
			done.Conflicts = append(done.Conflicts, r.Key)
			return nil
		case err != nil && !absent:
			return err
		case !absent && sameContent(there, r):
			done.Same++
			return nil
		case !absent && !force:
			done.Conflicts = append(done.Conflicts, r.Key)
			return nil
		}
		r.Version = there.Version + 1 // 1 where it is absent
		err = d.store.Put(ctx, r)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err == nil && absent {
			done.Created++
		} else if err == nil {
			done.Replaced++
		}
		return err
	}
	done.Conflicts = append(done.Conflicts, r.Key)
	return nil
}

// Compare looks whether the records are in the store. It changes nothing.
func (d *Desk) Compare(ctx context.Context, records []Record) (Given, error) {
	var done Given
	for _, packed := range records {
		r := packed.unpacked()
		if r.Key == vault.Canary {
			continue
		}
		there, err := d.store.Get(ctx, r.Key)
		switch {
		case r.Past(d.now()):
			done.Past++
		case errors.Is(err, store.ErrNotFound):
			done.Absent = append(done.Absent, r.Key)
		case vault.OfOneRecord(err):
			done.Conflicts = append(done.Conflicts, r.Key)
		case err != nil:
			return Given{}, err
		case sameContent(there, r):
			done.Same++
		default:
			done.Conflicts = append(done.Conflicts, r.Key)
		}
	}
	return done, nil
}

// sameContent: a seal is random, so the same bytes are the same writing.
func sameContent(a, b store.Record) bool {
	return bytes.Equal(a.Value, b.Value) && a.Expires.Equal(b.Expires) && slices.Equal(a.Index, b.Index)
}
