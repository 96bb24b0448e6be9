// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"strings"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

func TestAnAccountIsExpectedOrNot(t *testing.T) {
	for _, c := range []struct {
		patterns      []string
		account, user string
		want          bool
	}{
		{nil, "", "ada", true},
		{[]string{"{user}"}, "ada@example.com", "ada@example.com", true},
		{[]string{"{user}"}, "Ada@Example.com", "ada@example.com", true},
		{[]string{"{user}"}, "bob@example.com", "ada@example.com", false},
		{[]string{"{user}"}, "", "ada", false},
		{[]string{"{user}@example.com"}, "ada@example.com", "ada", true},
		{[]string{"{user}@example.com"}, "ada@example.org", "ada", false},
		{[]string{"*@example.com"}, "bob@example.com", "ada", true},
		{[]string{"*@example.com"}, "@example.com", "ada", false},
		{[]string{"*@example.com"}, "bob@notexample.com", "ada", false},
		{[]string{"*@example.com"}, "bob@example.com.evil.example", "ada", false},
		{[]string{"*@example.com"}, "", "ada", false},
		{[]string{"{user}"}, "x", "*", false},                                    // a user's id is no pattern
		{[]string{"{user}@example.com"}, "mi\u212ae@example.com", "mike", false}, // a Kelvin sign is no k
		{[]string{"{user}"}, "MIKE", "mike", true},
		{[]string{"robot", "*@example.org"}, "robot", "ada", true},
	} {
		tk := &toolkit.Toolkit{ExpectAccount: c.patterns}
		if got := tk.Expects(c.account, c.user); got != c.want {
			t.Errorf("%q of %q as %q: %v", c.account, c.user, c.patterns, got)
		}
	}
}

func TestPatternsThatMeanNothingAreRefused(t *testing.T) {
	for pattern, want := range map[string]string{"*": "an account, {user} or both", "": "an account", "a*": "an account", "**@x": "an account", "{usr}": "an account", "{user": "an account"} {
		d := toolkit.Definition{
			ID: "x", BaseURL: "https://x.example", Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth},
			Identity: &toolkit.Identity{Path: "/me", Field: "login"}, ExpectAccount: []string{pattern},
		}
		if _, err := d.Toolkit(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	d := toolkit.Definition{ID: "x", BaseURL: "https://x.example", Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}, ExpectAccount: []string{"{user}"}}
	if _, err := d.Toolkit(); err == nil || !strings.Contains(err.Error(), "needs identity") {
		t.Errorf("without identity: %v", err)
	}
}
