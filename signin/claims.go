// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/toolgate/toolgate/connect"
)

// Claims turn what a token says about a person into the user that agents act for.
type Claims struct {
	// User is the claim that holds the user's id, such as sub or email. An email
	// counts only with email_verified: some providers let people write any.
	User string
	// Prefix is put before it, such as "slack:".
	Prefix string
	// Require are claims that have to be there with one of the values, such as the
	// Google domain or the Slack workspace that people have to belong to. A provider
	// that serves everybody vouches for everybody.
	Require map[string][]string
}

// exactly reads the claims of a token whose signature is good. go-oidc has looked at it as
// encoding/json does, for which "Iss" is as good as "iss"; so what it has looked at has to
// be there under its own name too.
func exactly(token *oidc.IDToken, now time.Time) (map[string]any, error) {
	var text json.RawMessage
	if err := token.Claims(&text); err != nil {
		return nil, fmt.Errorf("the token's claims: %w", err)
	}
	claims, err := connect.ParseClaims(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", connect.ErrNotRecognised, err)
	}
	expires, _ := claims["exp"].(float64)
	nonce, _ := claims["nonce"].(string)
	if claims["iss"] != token.Issuer || nonce != token.Nonce || !slices.Equal(connect.Audience(claims), token.Audience) || !now.Before(time.Unix(int64(min(expires, 1<<40)), 0)) {
		return nil, fmt.Errorf("%w: the token's claims have other names than they should", connect.ErrNotRecognised)
	}
	return claims, nil
}

// user reads a token's claims. Errors are [connect.ErrNotRecognised].
func (c Claims) user(of map[string]any) (string, error) {
	for claim, allowed := range c.Require {
		if value, _ := of[claim].(string); !slices.Contains(allowed, value) {
			return "", fmt.Errorf("%w: the claim %s has another value than is required", connect.ErrNotRecognised, claim)
		}
	}
	value, _ := of[c.User].(string)
	if value == "" {
		return "", fmt.Errorf("%w: the token has no claim %s", connect.ErrNotRecognised, c.User)
	}
	if verified := of["email_verified"]; c.User == "email" && verified != true && verified != "true" {
		return "", fmt.Errorf("%w: the provider has not verified the email", connect.ErrNotRecognised)
	}
	return c.Prefix + value, nil
}

// algorithms are those that a token may be signed with, unless told otherwise. All have
// a public key: with HMAC, whoever can check a token can make one.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
