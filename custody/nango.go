// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"encoding/json"
	"errors"

	"github.com/toolgate/toolgate/secret"
)

// nangoConnection is what Nango's GET /connections/{id} answers. Nango adds fields now
// and then, so what is not known is passed over.
type nangoConnection struct {
	ConnectionID      string `json:"connection_id"`
	ProviderConfigKey string `json:"provider_config_key"`
	EndUser           *struct {
		ID    string `json:"id"`
		Email string `json:"email"`
	} `json:"end_user"`
	Tags struct {
		EndUserID    string `json:"end_user_id"`
		EndUserEmail string `json:"end_user_email"`
	} `json:"tags"`
	Credentials *struct {
		Type         string          `json:"type"`
		AccessToken  string          `json:"access_token"`
		RefreshToken string          `json:"refresh_token"`
		ExpiresAt    json.RawMessage `json:"expires_at"`
		Raw          struct {
			Scope        json.RawMessage `json:"scope"`
			RefreshToken string          `json:"refresh_token"`
		} `json:"raw"`
	} `json:"credentials"`
}

// nangoGrant reads one of Nango's connections. The user is end_user.id, in newer
// versions tags.end_user_id, and for who never told Nango a user the connection_id.
func nangoGrant(text []byte) (Grant, error) {
	var n nangoConnection
	if err := json.Unmarshal(text, &n); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return Grant{}, errors.New(wrong.Field + " has the wrong type")
		}
		return Grant{}, errors.New("not a JSON object")
	}
	c := n.Credentials
	switch {
	case c == nil:
		return Grant{}, errors.New("credentials is missing: Nango's list has none, so fetch each connection by its id")
	case c.Type != "OAUTH2":
		return Grant{}, errors.New("credentials.type is not OAUTH2")
	}
	g := Grant{User: n.ConnectionID, Toolkit: n.ProviderConfigKey, AccessToken: secret.New(c.AccessToken), RefreshToken: secret.New(c.RefreshToken)}
	if n.Tags.EndUserID != "" {
		g.User, g.Account = n.Tags.EndUserID, n.Tags.EndUserEmail
	}
	if n.EndUser != nil && n.EndUser.ID != "" {
		g.User, g.Account = n.EndUser.ID, n.EndUser.Email
	}
	if g.RefreshToken.IsZero() {
		g.RefreshToken = secret.New(c.Raw.RefreshToken)
	}
	return g, errors.Join(parseTime(c.ExpiresAt, &g.ExpiresAt), parseScopes(c.Raw.Scope, &g.Scopes))
}
