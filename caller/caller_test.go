// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caller_test

import (
	"strings"
	"testing"

	"github.com/toolgate/toolgate/caller"
)

func TestUserIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"alice":                  true,
		"Alice":                  true,
		"auth0|5f7c":             true,
		"alice@example.com":      true,
		"../../etc":              true, // an opaque id; nothing makes a path of it
		strings.Repeat("a", 256): true,
		strings.Repeat("a", 257): false,
		"":                       false,
		"alice, bob":             false,
		"alice,bob":              false,
		"alice bob":              false,
		"alice\tbob":             false,
		"alice\x00":              false,
		"al\u00efce":             false,
	} {
		if got := caller.ValidUser(id); got != want {
			t.Errorf("ValidUser(%q) = %v", id, got)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"acme": true, "Support-Bot.2": true, "a/b": false, "": false, ".a": false, "-a": false, "a b": false} {
		if got := caller.ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %v", name, got)
		}
	}
}
