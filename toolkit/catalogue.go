// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

//go:embed builtin/*.json
var builtin embed.FS

// Reserved names are the first path segments that the gateway answers itself.
var Reserved = []string{"connect", "callback", "v1", "mcp", "hooks", "health", "connections", "signin", "toolgate"}

// ValidID reports whether id can name a toolkit: 1 to 63 lower case letters,
// digits, _ and -, a letter or digit first, and none of [Reserved]. It is a path
// segment and a host label (RFC 1035 §2.3.4) in its own right.
func ValidID(id string) bool {
	return validAlias(id) && !slices.Contains(Reserved, id)
}

// validAlias is ValidID for what stands after "~", where nothing is reserved.
func validAlias(name string) bool {
	if name == "" || len(name) > 63 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || i > 0 && (c == '-' || c == '_')) {
			return false
		}
	}
	return true
}

// Builtin gives the catalogue's definition of a toolkit.
func Builtin(id string) (Definition, bool) {
	if !ValidID(id) {
		return Definition{}, false
	}
	text, err := builtin.ReadFile("builtin/" + id + ".json")
	if err != nil {
		return Definition{}, false
	}
	d, err := ParseDefinition(text)
	if err != nil {
		return Definition{}, false // a test parses every file
	}
	return d, true
}

// BuiltinIDs lists the catalogue, sorted.
func BuiltinIDs() []string {
	entries, err := builtin.ReadDir("builtin")
	if err != nil {
		return nil
	}
	ids := make([]string, 0, len(entries))
	for _, e := range entries {
		ids = append(ids, strings.TrimSuffix(e.Name(), ".json"))
	}
	return ids
}

// ParseDefinition reads a definition's JSON strictly: an unknown field is a mistake.
func ParseDefinition(text []byte) (Definition, error) {
	var d Definition
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return Definition{}, fmt.Errorf("reading a toolkit: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Definition{}, errors.New("reading a toolkit: there is something after its end")
	}
	return d, nil
}
