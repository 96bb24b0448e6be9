// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"slices"

	"github.com/toolgate/toolgate/toolkit"
)

// RFC 6749 §5.2 has six error codes; providers have many more. A code that stands
// in neither table is the provider's no to the operator's client: wrongly taken for
// one about the grant, it would send users to connect again for nothing.

// grantRefused are the codes that end a code or a refresh token for good.
var grantRefused = map[string]bool{
	"invalid_grant":         true,
	"bad_refresh_token":     true, // GitHub
	"bad_verification_code": true, // GitHub, of a code
	"invalid_refresh_token": true, // Slack
	"invalid_code":          true, // Slack and Zoho; Zoho also of a refresh token
	"code_already_used":     true, // Slack
	"BAD_REFRESH_TOKEN":     true, // HubSpot
	"BAD_AUTH_CODE":         true, // HubSpot, of a code
	"interaction_required":  true, // Microsoft: the user has to do something there
	"consent_required":      true, // OpenID Connect Core §3.1.2.6, as are the next
	"login_required":        true,
}

// passing are the codes that say nothing about the grant or the client.
var passing = map[string]bool{
	"temporarily_unavailable": true, // RFC 6749 §4.1.2.1, as is the next
	"server_error":            true,
	"slow_down":               true, // RFC 8628 §3.5
	"ratelimited":             true, // Slack, as are the next
	"rate_limited":            true,
	"internal_error":          true,
	"fatal_error":             true,
	"service_unavailable":     true,
	"request_timeout":         true,
}

// clientRefused are RFC 6749 §5.2's codes about the client and its request.
var clientRefused = map[string]bool{
	"invalid_request":        true,
	"invalid_client":         true,
	"unauthorized_client":    true,
	"unsupported_grant_type": true,
	"invalid_scope":          true,
}

// verdict tells what an answer's error codes mean.
type verdict struct {
	o       *toolkit.OAuth2
	refresh bool // a refresh, and not the exchange of a code
}

// ends reports whether the code or the refresh token is no good any more. What a
// provider's own list says is about refreshes: Atlassian's unauthorized_client is, of
// a code, about the client.
func (v verdict) ends(codes []string) bool {
	return slices.ContainsFunc(codes, func(code string) bool {
		return grantRefused[code] || v.refresh && listed(v.o.ReconnectErrors, code)
	})
}

// passes reports whether the fault says nothing about the grant or the client.
func (v verdict) passes(codes []string) bool {
	return slices.ContainsFunc(codes, func(code string) bool { return passing[code] || listed(v.o.RetryErrors, code) })
}

func (v verdict) known(code string) bool {
	return grantRefused[code] || passing[code] || listed(v.o.ReconnectErrors, code) || listed(v.o.RetryErrors, code)
}

// listed compares as codes are shown: Zoho's is "Access Denied".
func listed(codes []string, code string) bool {
	return slices.ContainsFunc(codes, func(c string) bool { return clean(c) == code })
}
