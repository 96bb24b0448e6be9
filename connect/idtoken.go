// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"encoding/base64"
	"encoding/json"
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

// idClaims are those that decide whether an ID token is about this sign-in.
type idClaims struct {
	Issuer   string          `json:"iss"`
	Audience json.RawMessage `json:"aud"` // one, or several
	Party    string          `json:"azp"`
	Expires  float64         `json:"exp"` // seconds since 1970
	Verified any             `json:"email_verified"`
}

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
	var said idClaims
	if err != nil || json.Unmarshal(text, &said) != nil {
		return ""
	}
	ends := time.Unix(int64(min(said.Expires, 1<<40)), 0).Add(clockSkew)
	switch field := tk.Identity.Field; {
	case tk.OAuth.Issuer != "" && said.Issuer != tk.OAuth.Issuer:
		return ""
	case !said.isFor(tk.OAuth.ClientID) || !s.cfg.Now().Before(ends):
		return ""
	case field == "email" && said.Verified != true && said.Verified != "true":
		// At Microsoft, for one, a tenant's administrator writes any address there.
		return ""
	}
	return label(text, tk.Identity.Field)
}

func (c idClaims) isFor(client string) bool {
	one, several := "", []string(nil)
	if json.Unmarshal(c.Audience, &one) == nil {
		return one == client
	}
	if json.Unmarshal(c.Audience, &several) != nil || !slices.Contains(several, client) {
		return false
	}
	return len(several) == 1 || c.Party == client
}
