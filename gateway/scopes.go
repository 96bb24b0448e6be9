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

// lackingScopes gives the scopes that the provider's answer asks for and that the user has
// not granted, and those that they have. Where it names none, or none but those that the
// grant has, connecting again would be of no help, and the answer is relayed as it is.
func (x *exchange) lackingScopes() (lacking, granted []string) {
	if x.toolkit.OAuth == nil {
		return nil, nil
	}
	needed, provided := x.scopesNamed()
	// What was granted is known from the token's answer, or else from this one: an imported
	// grant may come without. Where it is not known, a link would be for less than before.
	if granted = x.grant.Scopes; len(granted) == 0 {
		granted = x.credible(provided)
	}
	if len(granted) == 0 {
		return nil, nil
	}
	lacking = toolkit.LostScopes(x.credible(needed), append(slices.Clone(granted), provided...))
	if len(lacking) > maxScopes {
		return nil, nil
	}
	return lacking, granted
}

// scopesNamed are those that the answer asks for and, where it says so, those that it finds
// granted: in a challenge (RFC 6750 §3.1), or as the toolkit says that this provider does.
func (x *exchange) scopesNamed() (needed, provided []string) {
	if sign := x.toolkit.Auth.ScopeMissing; sign != nil {
		if body, shown := x.shows(&sign.Sign); shown {
			return listed(field(body, sign.Needed)), listed(field(body, sign.Provided))
		}
	}
	if x.answer.StatusCode != http.StatusForbidden {
		return nil, nil
	}
	for _, challenge := range x.answer.Header["Www-Authenticate"] {
		if !insufficientScope.MatchString(challenge) {
			continue
		}
		if said := neededScopes.FindStringSubmatch(challenge); said != nil {
			needed = append(needed, strings.Fields(said[1])...)
		}
	}
	return needed, nil
}

// listed takes a list of texts, or a text that is a list. No scope has a comma or a space
// in it at a provider that writes them so.
func listed(value any) (all []string) {
	switch value := value.(type) {
	case string:
		return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
	case []any:
		for _, v := range value {
			if text, ok := v.(string); ok {
				all = append(all, text)
			}
		}
	}
	return all
}

// credible are those of the names that can be scopes, each once.
func (x *exchange) credible(names []string) []string {
	names = slices.DeleteFunc(slices.Clone(names), func(s string) bool { return !scopeToken.MatchString(s) || echoes(s, x.secrets) })
	slices.Sort(names)
	return slices.Compact(names)
}
