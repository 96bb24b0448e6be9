// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package connection describes what one user has granted for one toolkit.
package connection

import (
	"errors"
	"time"

	"github.com/toolgate/toolgate/secret"
)

// ErrNotConnected: the user has no such connection. Only a store that could be
// read may say so; one that cannot be reached says store.ErrUnavailable.
var ErrNotConnected = errors.New("not connected")

// Key names a connection. Tenant is the outer key of everything: two tenants
// may use the same user ids and never meet.
type Key struct {
	Tenant  string
	User    string
	Toolkit string
	Account string // "" is the user's only account or first one, see accounts.go
}

// Connection is one grant. Values are passed by copy and never changed in
// place: a new version is a new value.
type Connection struct {
	Key
	// ID stays when the user connects again.
	ID string
	// Version counts the writes; the store sets it. A refresh says which
	// version it saw, so that a latecomer never throws away a newer token.
	Version uint64
	Status  Status
	Reason  Reason // why it is not active

	AccessToken  secret.String // or a key of the user's own, see credential.Pack
	RefreshToken secret.String
	// IssuedAt and ExpiresAt are of the access token. A zero ExpiresAt is
	// "the provider did not say": such a token is renewed on a 401 only.
	IssuedAt  time.Time
	ExpiresAt time.Time
	Scopes    []string

	// Granted is whom and what this was granted for. A later configuration that
	// differs must not be able to send the token elsewhere.
	Granted Grantee
	// Variables are this connection's values for the variables in its toolkit's
	// addresses, such as the host of an instance. The map is never written to.
	Variables map[string]string
	// Agents are those of the tenant that may use it, by name; nil: all, as in a record
	// from before users were asked. Barred are those from which the user has taken that
	// back, for the page to offer it again. No name is in both. See agents.go.
	Agents, Barred []string
	// ReadOnly: its user allows calls that read, and no others.
	ReadOnly bool
	// Intent stands while a refresh is on its way to the provider.
	Intent *Intent

	// AccountLabel is the provider's name for the account, such as an e-mail address,
	// and Label what the user or the agent calls it; either may be missing.
	AccountLabel, Label string
	// NotDefault is set on the first connection where calls that name no account do not
	// go to it. Which one they go to is not in here: a second place would have to agree.
	NotDefault bool
	CreatedAt  time.Time
	UpdatedAt  time.Time
	// LastUsed is when a call last used it, to the hour or so. Noting it changes nothing
	// else, so UpdatedAt stays.
	LastUsed time.Time

	// Beyond is what a later Toolgate keeps with this grant and this one does not
	// know. Who changes the connection passes it on; a new grant begins without it.
	Beyond secret.String
}

// Grantee is the OAuth client that a token was granted to, and the hosts that it
// may be sent to.
type Grantee struct {
	// Issuer is the issuer or, where none is known, the token endpoint. For a key of
	// the user's own it is the form in which AccessToken holds it.
	Issuer   string
	ClientID string // as registered with the provider; "" for such a key
	// Hosts are the scheme://host[:port] of every address that the token may go to.
	// A variable stands in one as "{name}", and Variables has its value.
	Hosts []string
}

// Intent is written before a refresh token is sent to a provider that replaces it.
// If it is found later, a process died between the provider's answer and our
// commit, and the stored refresh token may be spent: the loss cannot be undone,
// but it can be named.
type Intent struct {
	ID    string
	Since time.Time
}

// Usable reports whether the access token can be sent at that time.
func (c Connection) Usable(now time.Time) bool {
	return c.Status == Active && !c.AccessToken.IsZero() && !c.Stale(now)
}

// Stale reports whether the access token's time has passed.
func (c Connection) Stale(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// Unusable says that a user has to connect, and why. It is an error of the
// grant, never of a store or a provider that is away for the moment.
type Unusable struct {
	Status Status
	Reason Reason
	// Account is that of the key, where the connection is not the user's first one.
	Account string
}

// Error implements error.
func (e *Unusable) Error() string { return string(e.Status) + ": " + string(e.Reason) }
