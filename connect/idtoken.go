// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	maxIDToken = 64 << 10 // characters
	clockSkew  = time.Minute
)

// nameIn gives what the ID token names the account, or "". The token came from the token
// endpoint itself, over TLS, in answer to our code: its signature says no more than that
// (OpenID Connect Core 1.0 §3.1.3.7, 6). Whom it was made by and for is looked at all the
// same: some providers hand on the tokens of others.
func (s *Service) nameIn(tk *toolkit.Toolkit, token secret.String) string {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 || len(parts[1]) > maxIDToken {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	said, err := ParseClaims(text)
	if err != nil {
		return ""
	}
	expires, _ := said["exp"].(float64) // seconds since 1970
	ends := time.Unix(int64(min(expires, 1<<40)), 0).Add(clockSkew)
	switch verified := said["email_verified"]; {
	case tk.OAuth.Issuer != "" && said["iss"] != tk.OAuth.Issuer:
		return ""
	case !isFor(said, tk.OAuth.ClientID) || !s.cfg.Now().Before(ends):
		return ""
	case tk.Identity.Field == "email" && verified != true && verified != "true":
		// At Microsoft, for one, a tenant's administrator writes any address there.
		return ""
	}
	return pick(said, tk.Identity.Field)
}

func isFor(claims map[string]any, client string) bool {
	audience := Audience(claims)
	return slices.Contains(audience, client) && (len(audience) == 1 || claims["azp"] == client)
}
