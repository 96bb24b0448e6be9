// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"maps"
	"slices"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

func TestTheCataloguesHostsAreGuardedAndTheOperatorsAreNot(t *testing.T) {
	catalogue, known := toolkit.Builtin("github")
	if !known {
		t.Fatal("github is not in the catalogue")
	}
	for _, c := range []struct {
		name    string
		written toolkit.Definition
		want    []string
	}{
		{"nothing written", toolkit.Definition{}, []string{"api.github.com", "github.com", "uploads.github.com"}},
		{"another base_url", toolkit.Definition{BaseURL: "https://github.corp.internal/api/v3"}, []string{"api.github.com", "github.com", "uploads.github.com"}},
		{"the same base_url", toolkit.Definition{BaseURL: "https://api.github.com"}, []string{"github.com", "uploads.github.com"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			guarded := guardedHosts(catalogue, c.written)
			if got := slices.Sorted(maps.Keys(guarded)); !slices.Equal(got, c.want) {
				t.Errorf("guarded: %v, want %v", got, c.want)
			}
			if guarded["github.corp.internal"] {
				t.Error("the operator's host is guarded")
			}
		})
	}
}
