// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

func TestOnlyMethodsThatAskForNoChangeAreReads(t *testing.T) {
	d := toolkit.Definition{ID: "x", BaseURL: "https://x.example", Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}}
	for _, bad := range []string{"POST", "DELETE", "get", "", "CONNECT", "GET,HEAD", "GET GET", "off GET", "TRACE"} {
		d.Reads = strings.Split(bad, " ")
		if _, err := d.Toolkit(); err == nil || !strings.Contains(err.Error(), "reads: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for good, want := range map[string][]string{"GET HEAD OPTIONS": {"GET", "HEAD", "OPTIONS"}, "off": nil} {
		d.Reads = strings.Split(good, " ")
		if tk, err := d.Toolkit(); err != nil || !slices.Equal(tk.Reads, want) {
			t.Errorf("%q: %q, %v", good, tk.Reads, err)
		}
	}
}

func TestTheCataloguesReadsAreKeptUnlessOthersAreWritten(t *testing.T) {
	base := toolkit.Definition{Reads: []string{"GET"}}
	if got := base.Over(toolkit.Definition{}); !slices.Equal(got.Reads, []string{"GET"}) {
		t.Errorf("kept %q", got.Reads)
	}
	if got := base.Over(toolkit.Definition{Reads: []string{"off"}}); !slices.Equal(got.Reads, []string{"off"}) {
		t.Errorf("written over with %q", got.Reads)
	}
}
