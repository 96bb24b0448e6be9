// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package credential puts a secret on a request, and takes off what the agent
// sent in its place.
package credential

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Credential is put on one request. Values are used by many requests at once.
type Credential interface {
	// Apply sets the credential on out, in place of anything that is there.
	Apply(out *http.Request)
	// Secrets are the texts that out now holds and that nobody may read back.
	Secrets() []string
}

// For gives the credential for a user's token or, where the toolkit has one key
// for everybody, the operator's.
func For(auth toolkit.Auth, token secret.String) Credential {
	if auth.Kind == toolkit.NoAuth {
		return None{}
	}
	if auth.Kind == toolkit.Basic {
		username, password := auth.Username, auth.Password.Reveal()
		if auth.PerUser { // a user's is kept as it is encoded: "name:password"
			username, password, _ = strings.Cut(token.Reveal(), ":")
		}
		return NewBasic(username, secret.New(password))
	}
	if !auth.PerUser {
		token = auth.Key
	} else if len(auth.Fields) > 1 {
		return several(auth.Fields, token)
	}
	return placed(auth.Header, auth.Query, auth.Prefix, token)
}

func placed(header, query, prefix string, s secret.String) Credential {
	if query != "" {
		return Query{Name: query, Prefix: prefix, Secret: s}
	}
	return Header{Name: http.CanonicalHeaderKey(header), Prefix: prefix, Secret: s}
}

// None puts nothing on.
type None struct{}

// Apply does nothing.
func (None) Apply(*http.Request) {}

// Secrets gives none.
func (None) Secrets() []string { return nil }

// Header is a secret in a header.
type Header struct {
	Name   string // canonical
	Prefix string
	Secret secret.String
}

// Apply sets the header.
func (c Header) Apply(out *http.Request) {
	out.Header[c.Name] = []string{c.Prefix + c.Secret.Reveal()}
}

// Secrets gives the secret without its prefix.
func (c Header) Secrets() []string { return []string{c.Secret.Reveal()} }

// Query is a secret in a query parameter.
type Query struct {
	Name   string
	Prefix string
	Secret secret.String
}

// Apply replaces the parameter and leaves the bytes of all others as they are.
func (c Query) Apply(out *http.Request) {
	// A new URL: the old one may be in somebody's log already.
	u := *out.URL
	pairs := without(u.RawQuery, c.Name)
	if pairs != "" {
		pairs += "&"
	}
	u.RawQuery = pairs + url.QueryEscape(c.Name) + "=" + url.QueryEscape(c.Prefix+c.Secret.Reveal())
	out.URL = &u
}

// Secrets gives the secret as it is and as it stands in the URL.
func (c Query) Secrets() []string {
	plain := c.Secret.Reveal()
	if escaped := url.QueryEscape(plain); escaped != plain {
		return []string{plain, escaped}
	}
	return []string{plain}
}

// without takes the agent's own spellings of name out of a raw query: a provider
// that reads the first of two would otherwise use the agent's. All else stays as it
// is, byte for byte.
func without(rawQuery, name string) string {
	return dropped(rawQuery, "&", func(pair string) string {
		// Some servers also split at ";", to others it is part of the value.
		return dropped(pair, ";", func(part string) string {
			if names(part, name) {
				return ""
			}
			return part
		})
	})
}

// dropped cuts s, and joins again what edit leaves of the pieces.
func dropped(s, sep string, edit func(string) string) string {
	if s == "" {
		return ""
	}
	kept := make([]string, 0, 8)
	for piece := range strings.SplitSeq(s, sep) {
		if left := edit(piece); left != "" || piece == "" {
			kept = append(kept, left)
		}
	}
	return strings.Join(kept, sep)
}

// names reports whether a server may take the pair for the parameter: some ignore
// case, some spaces around a name.
func names(pair, name string) bool {
	key, _, _ := strings.Cut(pair, "=")
	decoded, err := url.QueryUnescape(key)
	return err == nil && strings.EqualFold(strings.TrimSpace(decoded), name)
}

// basic is a header that hides a second secret.
type basic struct {
	Header
	hidden secret.String
}

// Secrets gives what is hidden too: who can read a credential back may decode it first.
func (c basic) Secrets() []string { return append(c.Header.Secrets(), c.hidden.Reveal()) }

// trifling is up to which length a password is none: providers that take an API key as
// the user name want no password, or any, such as "x".
const trifling = 2

// NewBasic is user name and password (RFC 7617).
func NewBasic(username string, password secret.String) Credential {
	hidden := password
	if len(password.Reveal()) <= trifling {
		// Else the user name is no secret: Twilio's, an account's id, is in the
		// addresses of every answer.
		hidden = secret.New(username)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(username + ":" + password.Reveal()))
	return basic{Header{Name: "Authorization", Prefix: "Basic ", Secret: secret.New(encoded)}, hidden}
}
