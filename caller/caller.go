// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package caller names who calls and for whom.
package caller

// DefaultTenant is the tenant where nobody names one.
const DefaultTenant = "default"

// LocalAgent is the agent's name for calls from this machine where no agent is configured.
const LocalAgent = "local"

// MaxUser is the longest user id, in bytes.
const MaxUser = 256

// Caller is the agent that calls and the user it calls for. All of it comes from
// the agent's proof or from what that proof entitles the agent to say.
type Caller struct {
	Tenant string
	Agent  string
	User   string
	// Session is what proved the agent, where that was a session's token.
	Session *Session
}

// ValidUser reports whether id can be a user's id: 1 to [MaxUser] bytes of printable
// ASCII without space and comma. A comma is how proxies join a header that came
// twice, and a space is what an obsolete line folding turns into
// (RFC 9110 §5.2, RFC 9112 §5.2): either may be two ids in one.
func ValidUser(id string) bool {
	if id == "" || len(id) > MaxUser {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == ',' {
			return false
		}
	}
	return true
}

// ValidName reports whether name can be a tenant's or an agent's name: 1 to 64
// letters, digits and . _ - with a letter or digit first.
func ValidName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}
