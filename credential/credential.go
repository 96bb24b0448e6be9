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
		return NewBasic(auth.Username, auth.Password)
	}
	if !auth.PerUser {
		token = auth.Key
	}
	if auth.Query != "" {
		return Query{Name: auth.Query, Prefix: auth.Prefix, Secret: token}
	}
	return Header{Name: http.CanonicalHeaderKey(auth.Header), Prefix: auth.Prefix, Secret: token}
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
// that reads the first of two would otherwise use the agent's.
func without(rawQuery, name string) string {
	if rawQuery == "" {
		return ""
	}
	kept := make([]string, 0, 8)
	// Some servers also split at ";".
	for pair := range strings.FieldsFuncSeq(rawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		key, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(key); err != nil || decoded != name {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}

// NewBasic is user name and password (RFC 7617).
func NewBasic(username string, password secret.String) Credential {
	encoded := base64.StdEncoding.EncodeToString([]byte(username + ":" + password.Reveal()))
	return Header{Name: "Authorization", Prefix: "Basic ", Secret: secret.New(encoded)}
}
