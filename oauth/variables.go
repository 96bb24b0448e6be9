// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/toolkit"
)

// named reads a toolkit's variables from a token answer. A provider that was broken into,
// or that lets its users choose what stands there, could otherwise have the token sent
// anywhere: strays are those that are outside of what the toolkit allows.
func named(text []byte, variables map[string]toolkit.Variable) (values map[string]string, strays []string) {
	if len(variables) == 0 {
		return nil, nil
	}
	values = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		v := variables[name]
		said, there := saidIn(text, v.Field)
		if !there {
			continue
		}
		if value, ok := v.Accept(said); ok {
			values[name] = value
		} else {
			strays = append(strays, name)
		}
	}
	return values, strays
}

// saidIn is what stands at a path in an answer. It is there, and nothing, where it is
// neither a text nor a number.
func saidIn(text []byte, path string) (said string, there bool) {
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	if !bytes.HasPrefix(text, []byte("{")) {
		form, _ := url.ParseQuery(string(text)) // what can be read of it
		return strings.TrimSpace(form.Get(path)), form.Has(path)
	}
	raw := below(text, path)
	var value looseText
	_ = value.UnmarshalJSON(raw) // which never fails
	return string(value), len(raw) > 0 && string(raw) != "null"
}
