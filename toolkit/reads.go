// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"fmt"
	"slices"
	"strings"
)

// safeMethods are those that a client does not ask for a change with: what the registry of
// RFC 9110 §16.1 has as safe, and that agents use.
var safeMethods = []string{"GET", "HEAD", "OPTIONS", "PROPFIND", "QUERY", "REPORT", "SEARCH"}

// reads checks the methods that are said to change nothing. One that changes something
// would make a promise to users that nobody keeps.
func reads(methods []string) ([]string, error) {
	if len(methods) == 1 && methods[0] == "off" {
		return nil, nil
	}
	for i, m := range methods {
		switch {
		case !slices.Contains(safeMethods, m):
			return nil, fmt.Errorf("reads: %q is no method that only reads; there are %s, or off alone", m, strings.Join(safeMethods, ", "))
		case slices.Contains(methods[:i], m):
			return nil, fmt.Errorf("reads: %s is given twice", m)
		}
	}
	return methods, nil
}
