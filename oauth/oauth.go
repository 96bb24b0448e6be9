// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package oauth talks to providers' authorization servers: it makes authorize
// URLs, exchanges codes, refreshes and revokes tokens.
//
// golang.org/x/oauth2 supplies PKCE; it does not send the token requests. Its
// client tries one authentication style after the other and so sends a code or a
// refresh token twice, follows a 307 with the client's secret, quotes the raw
// answer in errors, and gives up on an expires_in of "3600.0" with the code burnt.
package oauth

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Grant is what a provider's token endpoint gave.
type Grant struct {
	AccessToken  secret.String
	RefreshToken secret.String // zero: none was given; on a refresh, keep the old one
	IDToken      secret.String // OpenID Connect's, as it came; zero: none
	IssuedAt     time.Time
	ExpiresAt    time.Time // zero: the provider did not say
	Scopes       []string  // nil: as asked for (RFC 6749 §5.1)
	// Variables are those that the answer names, of the toolkit's that it may name.
	Variables map[string]string
	// Strays are those of which it names a value that they may not have. It is not kept,
	// and not told: nobody knows what stands there.
	Strays []string
}

// Client sends token requests. Its methods are safe for concurrent use. Each code and
// each token is sent in exactly one HTTP request, whatever happens: codes and rotating
// refresh tokens are good for one.
type Client struct {
	// Transport carries the requests. Nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Timeout bounds one request. Zero: 30 seconds.
	Timeout time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// ofToolkit is the key of a request's toolkit.
type ofToolkit struct{}

// ToolkitOf gives the id of the toolkit that a token request is of, for a Transport: each
// toolkit has a way of its own, and two of them may have the same address. "": not known.
func ToolkitOf(ctx context.Context) string {
	id, _ := ctx.Value(ofToolkit{}).(string)
	return id
}

// NewVerifier makes a PKCE code verifier with 256 random bits (RFC 7636 §4.1).
func NewVerifier() string { return oauth2.GenerateVerifier() }

// AuthorizeURL is where the user's browser goes to consent. PKCE S256, unless the
// provider is known to refuse it: one that does not know it ignores it.
func AuthorizeURL(o *toolkit.OAuth2, redirectURI, state, verifier string) (string, error) {
	u, err := url.Parse(o.AuthorizeURL)
	if err != nil {
		return "", err
	}
	q := u.Query()
	for name, value := range o.AuthorizeParams {
		q.Set(name, value)
	}
	q.Set("response_type", "code")
	q.Set(cmp.Or(o.ClientIDParam, "client_id"), o.ClientID)
	q.Set("redirect_uri", redirectURI)
	q.Set("state", state)
	if !o.NoPKCE {
		q.Set("code_challenge", oauth2.S256ChallengeFromVerifier(verifier))
		q.Set("code_challenge_method", "S256")
	}
	if len(o.Scopes) > 0 {
		q.Set(cmp.Or(o.ScopeParam, "scope"), scopeText(o))
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func scopeText(o *toolkit.OAuth2) string {
	return strings.Join(o.Scopes, cmp.Or(o.ScopeSeparator, " "))
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return 30 * time.Second
}

func (c *Client) transport() http.RoundTripper {
	if c.Transport != nil {
		return c.Transport
	}
	return http.DefaultTransport
}
