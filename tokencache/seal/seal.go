// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package seal encrypts what goes into a store, each record for its one place,
// and derives the keys that sign cookies, links and sessions.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// KeySize is the size of a key in bytes.
const KeySize = 32

// Ring holds keys. It seals with the first, its primary key, and opens with any of
// them: that is how keys are changed without touching every record at once.
// A Ring cannot be printed. It is safe for concurrent use.
//
// What it seals looks like this:
//
//	1 byte    version: 1
//	8 bytes   id of the key
//	12 bytes  nonce, random
//	the rest  ciphertext, with a tag of 16 bytes (AES-256-GCM)
//
// with the additional data
//
//	"toolgate/v1/sealed" | version | id of the key | place
//
// in which only the place, at its end, varies in length. Every purpose has a key of
// its own, made by HKDF-SHA256 from the key in the ring with "toolgate/v1/…" as
// info: "record" encrypts, "id" is the id (so that ids need no configuring and a
// wrong key is told from a damaged record), "derive/…" are those of [Ring.Derive].
//
// Nonces are random, so one key is good for 2^32 seals (NIST SP 800-38D, 8.3):
// at ten a second that is 13 years.
type Ring struct {
	keys []*key
}

const (
	version    = 1
	idSize     = 8
	headerSize = 1 + idSize
	overhead   = headerSize + 12 + 16 // header, nonce, tag

	infoRecord = "toolgate/v1/record"
	infoID     = "toolgate/v1/id"
	infoDerive = "toolgate/v1/derive/"
	labelData  = "toolgate/v1/sealed"
)

// key is one key of the ring. What must not be printed is behind pointers, which
// fmt does not follow.
type key struct {
	id     [idSize]byte
	root   *[KeySize]byte
	record cipher.AEAD // AES-GCM that puts a random nonce first
}

func newKey(root [KeySize]byte) (*key, error) {
	k := &key{root: &root}
	copy(k.id[:], k.expand(infoID, idSize))
	block, err := aes.NewCipher(k.expand(infoRecord, KeySize))
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	if k.record, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	return k, nil
}

func (k *key) expand(info string, size int) []byte {
	out, err := hkdf.Key(sha256.New, k.root[:], nil, info, size)
	if err != nil {
		panic(err) // only for sizes that HKDF cannot make; ours are constants
	}
	return out
}

func (k *key) name() string { return hex.EncodeToString(k.id[:]) }

// Seal encrypts plain for one place, see [Place]. Who can write to the store still
// cannot move it to another place, such as another user's record: it opens only
// there.
func (r *Ring) Seal(plain []byte, place string) []byte {
	k := r.keys[0]
	header := append(make([]byte, 0, overhead+len(plain)), version)
	header = append(header, k.id[:]...)
	return k.record.Seal(header, nil, plain, additional(header, place))
}

// Open returns what was sealed for that place. Its errors are [*KeyMissingError],
// [*VersionError] and [ErrDamaged].
func (r *Ring) Open(sealed []byte, place string) ([]byte, error) {
	id, err := SealedBy(sealed)
	if err != nil {
		return nil, err
	}
	header, box := sealed[:headerSize], sealed[headerSize:]
	for _, k := range r.keys {
		if !bytes.Equal(k.id[:], header[1:]) {
			continue
		}
		plain, err := k.record.Open(nil, nil, box, additional(header, place))
		if err != nil {
			return nil, ErrDamaged
		}
		return plain, nil
	}
	return nil, &KeyMissingError{ID: id}
}

// SealedBy returns the id of the key that opens sealed.
func SealedBy(sealed []byte) (keyID string, err error) {
	switch {
	case len(sealed) > 0 && sealed[0] > version:
		return "", &VersionError{Version: sealed[0]}
	case len(sealed) < overhead || sealed[0] != version:
		return "", ErrDamaged
	}
	return hex.EncodeToString(sealed[1:headerSize]), nil
}

func additional(header []byte, place string) []byte {
	return append(append([]byte(labelData), header...), place...)
}

// Place joins what a record is tied to, such as kind, tenant, user, toolkit and
// account. Each part goes in with its length: ("ab", "c") is not ("a", "bc").
func Place(parts ...string) string {
	var b []byte
	for _, part := range parts {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return string(b)
}

// Derive returns a key of 32 bytes for one purpose, such as "cookie", that says
// nothing about any other key. It changes with the primary key.
func (r *Ring) Derive(purpose string) []byte {
	return r.keys[0].expand(infoDerive+purpose, KeySize)
}

// DeriveAll returns Derive's key and then those of the old keys, in their order:
// what was signed before the primary key changed is checked against them.
func (r *Ring) DeriveAll(purpose string) [][]byte {
	all := make([][]byte, len(r.keys))
	for i, k := range r.keys {
		all[i] = k.expand(infoDerive+purpose, KeySize)
	}
	return all
}

// PrimaryID returns the id of the key that seals.
func (r *Ring) PrimaryID() string { return r.keys[0].name() }

// Has reports whether the ring opens what that key sealed.
func (r *Ring) Has(id string) bool { return slices.Contains(r.IDs(), id) }

// IDs returns the ids of all keys, the primary's first.
func (r *Ring) IDs() []string {
	all := make([]string, len(r.keys))
	for i, k := range r.keys {
		all[i] = k.name()
	}
	return all
}
