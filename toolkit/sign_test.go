// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"strings"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

func TestASignThatCannotBeIsRefused(t *testing.T) {
	for name, sign := range map[string]toolkit.Sign{
		"a 401, which needs none": {Status: 401, Field: "error", Values: []string{"x"}},
		"no status":               {Field: "error", Values: []string{"x"}},
		"an interim status":       {Status: 103, Field: "error", Values: []string{"x"}},
		"no field":                {Status: 200, Values: []string{"x"}},
		"no values":               {Status: 200, Field: "error"},
		"any answer without it":   {Status: 200, Field: "error", Values: []string{"x", ""}},
	} {
		d := toolkit.Definition{ID: "x", BaseURL: "https://x.example", Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth, Refused: &sign}}
		if _, err := d.Toolkit(); err == nil || !strings.Contains(err.Error(), "refused: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheCataloguesSignIsKeptUnlessAnotherIsWritten(t *testing.T) {
	base := toolkit.Definition{Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth, Refused: &toolkit.Sign{Status: 200, Field: "error", Values: []string{"a"}}}}
	if got := base.Over(toolkit.Definition{Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth}}); got.Auth.Refused == nil {
		t.Error("the catalogue's is lost")
	}
	other := &toolkit.Sign{Status: 200, Field: "code", Values: []string{"b"}}
	if got := base.Over(toolkit.Definition{Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth, Refused: other}}); got.Auth.Refused != other {
		t.Error("what is written does not count")
	}
	base.Auth.ScopeMissing = &toolkit.ScopeSign{Needed: "a"}
	if got := base.Over(toolkit.Definition{Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth}}); got.Auth.ScopeMissing != base.Auth.ScopeMissing {
		t.Error("the catalogue's sign of a missing scope is lost")
	}
	over := &toolkit.ScopeSign{Needed: "b"}
	if got := base.Over(toolkit.Definition{Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth, ScopeMissing: over}}); got.Auth.ScopeMissing != over {
		t.Error("the sign of a missing scope that is written does not count")
	}
}

func TestASignOfAMissingScopeThatCannotBeIsRefused(t *testing.T) {
	good := toolkit.ScopeSign{Sign: toolkit.Sign{Status: 200, Field: "error", Values: []string{"missing_scope"}}, Needed: "needed"}
	for name, change := range map[string]func(*toolkit.Definition){
		"nobody says which scopes": func(d *toolkit.Definition) { d.Auth.ScopeMissing.Needed = "" },
		"no field":                 func(d *toolkit.Definition) { d.Auth.ScopeMissing.Field = "" },
		"a 401, which is another":  func(d *toolkit.Definition) { d.Auth.ScopeMissing.Status = 401 },
		"where nobody has scopes":  func(d *toolkit.Definition) { d.Auth.Kind = toolkit.NoAuth },
	} {
		sign := good
		d := toolkit.Definition{ID: "x", BaseURL: "https://x.example", Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth, ScopeMissing: &sign}, OAuth: toolkit.OAuthDefinition{AuthorizeURL: "https://x.example/a", TokenURL: "https://x.example/t"}}
		if tk, err := d.Toolkit(); err != nil || tk.Auth.ScopeMissing != &sign {
			t.Fatalf("a good one: %v", err)
		}
		change(&d)
		if _, err := d.Toolkit(); err == nil || !strings.Contains(err.Error(), "scope_missing: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
