// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/toolgate/toolgate/tokencache/store"
)

// tables are the buckets of the file, within one transaction.
//
//	toolgate   "layout"                  → 1: what is written here
//	           "fence"                   → 8 bytes: no lease was given a higher number
//	records    key                       → see encode
//	index      2-byte length, term, key  → nothing
//	expiry     8-byte unix ms, key       → nothing, for records that expire
//
// Numbers are big endian, so that the order of bytes is that of numbers. The
// length before the term makes terms that begin alike lie apart and leaves no
// doubt where the key begins, whatever bytes either holds.
type tables struct{ tx *bbolt.Tx }

const (
	nameAbout   = "toolgate"
	nameRecords = "records"
	nameIndex   = "index"
	nameExpiry  = "expiry"
	keyLayout   = "layout"
	keyFence    = "fence"
	layout      = "\x01"
)

func (t tables) about() *bbolt.Bucket   { return t.tx.Bucket([]byte(nameAbout)) }
func (t tables) records() *bbolt.Bucket { return t.tx.Bucket([]byte(nameRecords)) }
func (t tables) index() *bbolt.Bucket   { return t.tx.Bucket([]byte(nameIndex)) }
func (t tables) expiry() *bbolt.Bucket  { return t.tx.Bucket([]byte(nameExpiry)) }

// prepare makes the buckets in an empty file, and refuses a file that holds
// something else: another program's, or a later Toolgate's.
func prepare(db *bbolt.DB, folder string) error {
	empty := false
	err := db.View(func(tx *bbolt.Tx) error {
		if first, _ := tx.Cursor().First(); first == nil {
			empty = true
			return nil
		}
		about := tables{tx}.about()
		if about == nil {
			return errors.New("another program's bbolt file")
		}
		if found := about.Get([]byte(keyLayout)); string(found) != layout {
			return fmt.Errorf("its layout is %x, this version knows %x", found, layout)
		}
		return nil
	})
	if err != nil || !empty {
		return err
	}
	if err := db.Update(create); err != nil {
		return err
	}
	return syncFolder(folder)
}

func create(tx *bbolt.Tx) error {
	for _, name := range []string{nameAbout, nameRecords, nameIndex, nameExpiry} {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	return tables{tx}.about().Put([]byte(keyLayout), []byte(layout))
}

// stored returns the record whether or not its time has passed.
func (t tables) stored(key string) (store.Record, error) {
	raw := t.records().Get([]byte(key))
	if raw == nil {
		return store.Record{}, store.ErrNotFound
	}
	return decode(key, raw)
}

// present returns the record unless its time has passed.
func (t tables) present(key string, now time.Time) (store.Record, error) {
	r, err := t.stored(key)
	if err == nil && r.Past(now) {
		return store.Record{}, store.ErrNotFound
	}
	return r, err
}

// put writes the record in place of the one that is there, past or not.
func (t tables) put(r store.Record) error {
	old, err := t.stored(r.Key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := t.unlink(old); err != nil {
		return err
	}
	for _, term := range r.Index {
		if err := t.index().Put(indexKey(term, r.Key), nil); err != nil {
			return err
		}
	}
	if !r.Expires.IsZero() {
		if err := t.expiry().Put(expiryKey(r), nil); err != nil {
			return err
		}
	}
	return t.records().Put([]byte(r.Key), encode(r))
}

// remove removes the record and what leads to it.
func (t tables) remove(r store.Record) error {
	if err := t.unlink(r); err != nil {
		return err
	}
	return t.records().Delete([]byte(r.Key))
}

// unlink removes what leads to the record.
func (t tables) unlink(r store.Record) error {
	for _, term := range r.Index {
		if err := t.index().Delete(indexKey(term, r.Key)); err != nil {
			return err
		}
	}
	if r.Expires.IsZero() {
		return nil
	}
	return t.expiry().Delete(expiryKey(r))
}

func (t tables) list(term, after string, limit int, now time.Time) (found []store.Record, err error) {
	start, from := indexKey(term, ""), indexKey(term, after)
	cursor := t.index().Cursor()
	for k, _ := cursor.Seek(from); bytes.HasPrefix(k, start) && len(found) < limit; k, _ = cursor.Next() {
		if bytes.Equal(k, from) {
			continue
		}
		r, err := t.present(string(k[len(start):]), now)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNewer) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, nil
}

// scan goes through the records themselves and needs no index.
func (t tables) scan(after string, limit int, now time.Time) (found []store.Record, unreadable *store.UnreadableError) {
	cursor := t.records().Cursor()
	for k, raw := cursor.Seek([]byte(after)); k != nil && len(found) < limit; k, raw = cursor.Next() {
		key := string(k)
		if key == after {
			continue
		}
		r, err := decode(key, raw)
		if err != nil {
			return found, &store.UnreadableError{Key: key, Err: err}
		}
		if !r.Past(now) {
			found = append(found, r)
		}
	}
	return found, nil
}

// past returns records whose time has passed, the longest gone first. It skips
// what it cannot read.
func (t tables) past(now time.Time, limit int) (found []store.Record, err error) {
	cursor := t.expiry().Cursor()
	for k, _ := cursor.First(); len(k) > 8 && len(found) < limit; k, _ = cursor.Next() {
		if int64(binary.BigEndian.Uint64(k)) > now.UnixMilli() {
			break
		}
		if r, err := t.stored(string(k[8:])); err == nil && r.Past(now) {
			found = append(found, r)
		}
	}
	return found, nil
}

func indexKey(term, key string) []byte {
	b := make([]byte, 0, 2+len(term)+len(key))
	b = binary.BigEndian.AppendUint16(b, uint16(len(term)))
	return append(append(b, term...), key...)
}

func expiryKey(r store.Record) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(millis(r.Expires))), r.Key...)
}
