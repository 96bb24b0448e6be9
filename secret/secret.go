// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package secret holds text that must not be printed.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const mask = "[secret]"

// String is a secret text: a token, a key, a password. However it is printed,
// logged or marshalled, it shows a mask. The zero value is "no secret".
type String struct {
	// A pointer, because fmt walks unexported fields by reflection and calls
	// no methods there: a plain string inside a struct would be printed.
	value *string
}

// New makes a secret of s; an empty s gives the zero value.
func New(s string) String {
	if s == "" {
		return String{}
	}
	return String{value: &s}
}

// Reveal is the one way out. Search for its uses to see where secrets go.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no secret.
func (s String) IsZero() bool { return s.value == nil }

// Equal compares in constant time.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// Format implements [fmt.Formatter] for every verb.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.masked()) }

// MarshalText serves encoding/json, XML and their like; also as a map's key.
func (s String) MarshalText() ([]byte, error) { return []byte(s.masked()), nil }

// LogValue implements [slog.LogValuer].
func (s String) LogValue() slog.Value { return slog.StringValue(s.masked()) }

func (s String) masked() string {
	if s.value == nil {
		return ""
	}
	return mask
}
