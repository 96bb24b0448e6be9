// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

const (
	format     = 1
	headerSize = 1 + 4 + 8 + 8
)

// FormatError is a record in a format that this Toolgate does not know: a later
// one wrote it. It wraps store.ErrUnavailable and store.ErrNewer.
type FormatError struct {
	Format byte
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("a record in format %d, this Toolgate knows %d: it was written by a later version", e.Format, format)
}

// Unwrap returns store.ErrUnavailable too: the record is there, so callers must not
// take it for absent.
func (*FormatError) Unwrap() []error { return []error{store.ErrUnavailable, store.ErrNewer} }

// encode writes a record as
//
//	1 byte    format: 1
//	4 bytes   CRC-32C of the key and of all that follows
//	8 bytes   version of the record
//	8 bytes   expires, unix milliseconds, or 0 for never
//	uvarint   number of index terms, and for each: uvarint length, term
//	the rest  value
//
// bbolt checks only its meta pages, and the seal covers only the value; without
// the sum, a flipped bit could turn back a version or end a record's time.
func encode(r store.Record) []byte {
	b := make([]byte, headerSize, headerSize+64+len(r.Value))
	b[0] = format
	binary.BigEndian.PutUint64(b[5:], r.Version)
	binary.BigEndian.PutUint64(b[13:], uint64(millis(r.Expires)))
	b = binary.AppendUvarint(b, uint64(len(r.Index)))
	for _, term := range r.Index {
		b = binary.AppendUvarint(b, uint64(len(term)))
		b = append(b, term...)
	}
	b = append(b, r.Value...)
	binary.BigEndian.PutUint32(b[1:], sum(r.Key, b[5:]))
	return b
}

// decode copies all that it returns: raw is bbolt's memory, and is gone after the
// transaction.
func decode(key string, raw []byte) (store.Record, error) {
	if len(raw) > 0 && raw[0] != format {
		return store.Record{}, &FormatError{raw[0]}
	}
	if len(raw) < headerSize || binary.BigEndian.Uint32(raw[1:]) != sum(key, raw[5:]) {
		return store.Record{}, fmt.Errorf("%w: %w: %q", store.ErrUnavailable, store.ErrDamaged, key)
	}
	r := store.Record{Key: key, Version: binary.BigEndian.Uint64(raw[5:])}
	if ms := int64(binary.BigEndian.Uint64(raw[13:])); ms != 0 {
		r.Expires = time.UnixMilli(ms).UTC()
	}
	rest := raw[headerSize:]
	count, rest := uvarint(rest)
	for range count {
		var size uint64
		size, rest = uvarint(rest)
		r.Index = append(r.Index, string(rest[:size]))
		rest = rest[size:]
	}
	r.Value = append([]byte{}, rest...)
	return r, nil
}

// uvarint trusts its input, because the sum was right.
func uvarint(b []byte) (uint64, []byte) {
	v, n := binary.Uvarint(b)
	return v, b[n:]
}

func sum(key string, rest []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum([]byte(key), table), table, rest)
}

// millis is 0 for a record that never expires, and for no other: times before
// 1970 have all passed alike.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, t.UnixMilli())
}
