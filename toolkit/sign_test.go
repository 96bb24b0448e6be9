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
}
