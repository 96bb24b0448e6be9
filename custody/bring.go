// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// Vault keeps connections; *vault.Vault is one.
type Vault interface {
	Load(ctx context.Context, key connection.Key) (connection.Connection, error)
	Save(ctx context.Context, c connection.Connection) (connection.Connection, error)
}

// Brought is what became of a grant.
type Brought string

// What may become of one.
const (
	Created  Brought = "created"
	Replaced Brought = "replaced"
	Kept     Brought = "kept" // the user is connected already
)

// Bringer brings grants in, as connections of one toolkit.
type Bringer struct {
	Vault   Vault
	Toolkit *toolkit.Toolkit
	Tenant  string // of grants that name none; "": the default
	Force   bool   // replace connections that are there
	DryRun  bool   // write nothing
	Now     func() time.Time
	// Record is told before something is written, and may refuse. Nil: nobody is.
	Record func(connection.Connection) error
}

// ErrOtherToolkit: the grant is for another toolkit than the one that is imported.
var ErrOtherToolkit = errors.New("for another toolkit")

// ErrVariables: nobody knows where the grant is good.
var ErrVariables = errors.New("variables")

// Bring saves a grant as the user's connection, with the client and the hosts of the
// configured toolkit. A connection that is there is kept, unless its access has ended:
// then there is nothing to lose. A record in its place that opens, and is no connection,
// is replaced with Force alone: what it was, only the operator can know.
func (b *Bringer) Bring(ctx context.Context, g Grant) (Brought, connection.Connection, error) {
	variables, err := b.variables(g)
	if err != nil {
		return "", connection.Connection{}, err
	}
	g.Variables = variables
	key := connection.Key{Tenant: g.Tenant, User: g.User, Toolkit: b.Toolkit.ID}
	if key.Tenant == "" {
		key.Tenant = b.Tenant
	}
	if key.Tenant == "" {
		key.Tenant = caller.DefaultTenant
	}
	for range tries {
		before, err := b.Vault.Load(ctx, key)
		there := err == nil
		if b.Force && errors.Is(err, vault.ErrMalformed) {
			there, err = true, nil
		}
		if err != nil && !errors.Is(err, connection.ErrNotConnected) {
			return "", connection.Connection{}, err
		}
		if there && !b.Force && before.Status == connection.Active {
			return Kept, before, nil
		}
		outcome := Created
		if there {
			outcome = Replaced
		}
		conn := b.connection(key, before, g)
		if b.DryRun {
			return outcome, conn, nil
		}
		if b.Record != nil {
			if err := b.Record(conn); err != nil {
				return "", connection.Connection{}, err
			}
		}
		conn, err = b.Vault.Save(ctx, conn)
		if !errors.Is(err, store.ErrConflict) {
			return outcome, conn, err
		}
	}
	return "", connection.Connection{}, store.ErrConflict
}

// variables are the values of a grant for the variables in the toolkit's addresses.
// Without them nobody knows where its token is good, and errors quote none: whatever
// stands in the wrong place may be a token.
func (b *Bringer) variables(g Grant) (map[string]string, error) {
	if len(g.Variables) > len(b.Toolkit.Variables) {
		return nil, fmt.Errorf("%w: the toolkit's addresses do not have as many", ErrVariables)
	}
	var values map[string]string
	for _, name := range slices.Sorted(maps.Keys(b.Toolkit.Variables)) {
		value, ok := b.Toolkit.Variables[name].Accept(g.Variables[name])
		if !ok {
			return nil, fmt.Errorf("%w: %s is missing, or is not what the toolkit allows", ErrVariables, name)
		}
		if values == nil {
			values = map[string]string{}
		}
		values[name] = value
	}
	return values, nil
}

func (b *Bringer) connection(key connection.Key, before connection.Connection, g Grant) connection.Connection {
	now := b.Now().UTC()
	issuer, client := b.Toolkit.GranteeOf(g.Variables)
	c := connection.Connection{
		Key: key, ID: before.ID, Version: before.Version, CreatedAt: before.CreatedAt,
		AccessToken: g.AccessToken, RefreshToken: g.RefreshToken, IssuedAt: now, ExpiresAt: g.ExpiresAt, Scopes: g.Scopes,
		Granted:      connection.Grantee{Issuer: issuer, ClientID: client, Hosts: b.Toolkit.Origins()},
		AccountLabel: g.Account, Variables: g.Variables,
		Agents: before.Agents, Barred: before.Barred, ReadOnly: before.ReadOnly, // what its user has decided
	}
	if before.Status == connection.Added {
		c.Agents, c.CreatedAt = nil, now // it was set up alone
	}
	if c.ID == "" {
		c.ID, c.CreatedAt = "conn_"+rand.Text(), now
	}
	if c.AccessToken.IsZero() {
		c.ExpiresAt = now // the first call gets one with the refresh token
	}
	if !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(c.IssuedAt) {
		c.IssuedAt = c.ExpiresAt
	}
	c, _ = c.After(connection.Granted, "", now) // of one that has just been made
	return c
}
