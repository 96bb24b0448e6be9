// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package toolkit is what is known of each provider's API: its hosts, its way of
// authenticating, its OAuth endpoints, its quirks. It is data and knows no code:
// nothing here branches on a provider's name.
package toolkit

import (
	"net/url"
	"slices"
	"time"

	"github.com/toolgate/toolgate/secret"
)

// Kind is a way of authenticating.
type Kind string

// The kinds of authentication.
const (
	OAuth  Kind = "oauth2"  // each user connects an account
	APIKey Kind = "api_key" // one key, in a header or a query parameter
	Basic  Kind = "basic"   // user name and password (RFC 7617)
	NoAuth Kind = "none"    // nothing is put on
)

// Toolkit is one provider API that can be reached. It is complete and checked;
// a [Definition] is what people write.
type Toolkit struct {
	ID   string
	Name string // for people, such as "GitHub"
	// BaseURL is where the toolkit's paths begin: scheme, host, maybe a path. Where the
	// toolkit has Variables, they stand in braces in it, and no call goes there: see For.
	BaseURL   *url.URL
	Variables map[string]Variable
	// Aliases are further hosts of the toolkit, by the name after "~".
	Aliases map[string]*url.URL
	// Headers are sent on each request, such as a required API version.
	Headers map[string]string
	// RedirectHosts are where redirects to downloads may lead. They are followed
	// without the credential.
	RedirectHosts []HostPattern

	Auth     Auth
	OAuth    *OAuth2   // for Kind OAuth
	Identity *Identity // nil: the account cannot be named
	// ExpectAccount are the accounts that may be connected, such as {user} or
	// *@example.com. None: any.
	ExpectAccount []string
	// Probe is the path, maybe with a query, that answers a GET with any key that is
	// good. "": Identity's, or there is none.
	Probe string
	// Help and HelpURL tell users where they find their own key.
	Help, HelpURL string

	// CredentialPaths are where the API mints, exchanges or revokes credentials.
	CredentialPaths []string
	Reading         Reading
	Throttling      Throttling
	Times           Times
	Sizes           Sizes

	// Timeout bounds the wait for the response's header. Zero: 60 seconds.
	Timeout time.Duration
	// MaxReplay is how many bytes of an upload are kept so that it can be sent
	// again after a 401. Zero: [DefaultMaxReplay]; negative: none.
	MaxReplay int64

	// Missing names the settings without which the toolkit cannot work. While
	// there are any, it is a draft.
	Missing []string
	// RedirectURI is what to register with the provider, letter by letter. "": nothing,
	// or not known yet.
	RedirectURI string
}

// DefaultMaxReplay is 1 MiB.
const DefaultMaxReplay = 1 << 20

// Auth says where the credential goes on a request.
type Auth struct {
	Kind Kind
	// PerUser: each user has an own credential. Always so for OAuth.
	PerUser bool
	Header  string // "Authorization" unless Query is set
	Prefix  string // put before the secret as it is, such as "Bearer "
	Query   string // the query parameter instead of a header
	// Fields are what a user enters, where each has a key of their own. More than one
	// of an APIKey go where each says; Header, Query and Prefix are for one alone.
	Fields []Field
	// Refused is how the provider says, in other ways than by 401, that the
	// credential is no good. Nil: it has no such way.
	Refused *Sign
	// ScopeMissing is how the provider says, in another way than RFC 6750 has it, that a
	// call needs a scope which was not granted. Nil: it has no such way.
	ScopeMissing *ScopeSign

	Key      secret.String // the operator's own, for APIKey
	Username string        // the operator's own, for Basic
	Password secret.String
}

// Identity is what tells which account was connected: a call, or a claim of the ID token
// that came with the access token (OpenID Connect Core 1.0 §2).
type Identity struct {
	Path    string `json:"path,omitempty"` // below BaseURL
	IDToken bool   `json:"id_token,omitempty"`
	Field   string `json:"field"` // of the JSON answer, or the claim; dots go deeper
}

// Draft reports whether something is missing.
func (t *Toolkit) Draft() bool { return len(t.Missing) > 0 }

// Origins are the scheme://host[:port] of every address of the toolkit, sorted: the only
// ones that its credential may be sent to. A variable stands in them as it is written: a
// connection has them as well as its values, and keeps them when a value changes.
func (t *Toolkit) Origins() []string {
	origins := []string{origin(t.BaseURL)}
	for _, u := range t.Aliases {
		origins = append(origins, origin(u))
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
