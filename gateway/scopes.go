// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/toolkit"
)

var (
	insufficientScope = regexp.MustCompile(`(?i)(?:^|[\s,])error\s*=\s*"?insufficient_scope(?:["\s,]|$)`)
	neededScopes      = regexp.MustCompile(`(?i)(?:^|[\s,])scope\s*=\s*"([^"]*)"`)
	scopeToken        = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]{1,256}$`) // RFC 6749 §3.3
)

// maxScopes bounds what a provider may have a user asked for at once.
const maxScopes = 20

// lackingScopes gives the scopes that the provider's answer asks for (RFC 6750 §3.1) and
// that the user has not granted. Where it names none, or none but those that the grant
// has, connecting again would be of no help, and the answer is relayed as it is.
func (x *exchange) lackingScopes() []string {
	if x.answer.StatusCode != http.StatusForbidden || x.toolkit.OAuth == nil || len(x.grant.Scopes) == 0 {
		return nil
	}
	var needed []string
	for _, challenge := range x.answer.Header["Www-Authenticate"] {
		if !insufficientScope.MatchString(challenge) {
			continue
		}
		if said := neededScopes.FindStringSubmatch(challenge); said != nil {
			needed = append(needed, strings.Fields(said[1])...)
		}
	}
	needed = slices.DeleteFunc(needed, func(s string) bool { return !scopeToken.MatchString(s) || echoes(s, x.secrets) })
	slices.Sort(needed)
	lacking := toolkit.LostScopes(slices.Compact(needed), x.grant.Scopes)
	if len(lacking) > maxScopes {
		return nil
	}
	return lacking
}
