// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ParseRing reads a ring from text: on each line one key of 32 bytes, in base64 (of
// either alphabet, padded or not) or hex, the primary key first. Blank lines do not
// count, nor does anything after "#". Errors name the line and never quote it.
func ParseRing(text string) (*Ring, error) {
	ring := new(Ring)
	lineOf := make(map[[idSize]byte]int)
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("reading encryption keys, line %d: %w", number, err)
		}
		if first, repeated := lineOf[k.id]; repeated {
			return nil, fmt.Errorf("reading encryption keys, line %d: the key of line %d again", number, first)
		}
		lineOf[k.id] = number
		ring.keys = append(ring.keys, k)
	}
	if len(ring.keys) == 0 {
		return nil, errors.New("reading encryption keys: there is none; " + advice)
	}
	return ring, nil
}

const advice = "a key is 32 random bytes in base64 or hex, as from: openssl rand -base64 32"

func parseKey(line string) (*key, error) {
	raw, ok := decode(line)
	if !ok {
		return nil, errors.New("neither base64 nor hex; " + advice)
	}
	if len(raw) != KeySize {
		return nil, fmt.Errorf("%d bytes; %s", len(raw), advice)
	}
	if len(slices.Compact(slices.Clone(raw))) == 1 {
		return nil, errors.New("all bytes are the same; " + advice)
	}
	return newKey([KeySize]byte(raw))
}

// decode takes hex first. That is never ambiguous: 64 hex digits would be 48
// bytes of base64, which is no key.
func decode(line string) ([]byte, bool) {
	if raw, err := hex.DecodeString(line); err == nil && len(raw) == KeySize {
		return raw, true
	}
	line = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(line, "="))
	raw, err := base64.RawStdEncoding.DecodeString(line)
	return raw, err == nil
}

// NewKey returns a fresh random key as a line that ParseRing reads.
func NewKey() (line string) {
	var raw [KeySize]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	return base64.StdEncoding.EncodeToString(raw[:])
}
