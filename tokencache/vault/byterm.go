// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"fmt"

	"github.com/toolgate/toolgate/connection"
)

// userPage is how many of a user's records are read at once.
const userPage = 1000

// sharedPage is how many are looked at for another one; mostly the second is.
const sharedPage = 2

// OfUser reads all of a user's connections, however many: what may be ended at a provider
// depends on which others live on it. They come in the order of their names. A record that
// cannot be opened or read is left out: it is named when it is used.
func (v *Vault) OfUser(ctx context.Context, tenant, user string) ([]connection.Connection, error) {
	var found []connection.Connection
	for next := ""; ; {
		documents, behind, err := v.OfTerm(ctx, Name("user", tenant, user), next, userPage)
		if err != nil {
			return nil, fmt.Errorf("listing a user's connections: %w", err)
		}
		for _, d := range documents {
			// The index is in the hands of who can write to the store.
			if key, ok := connectionKey(d.Name); ok && key.Tenant == tenant && key.User == user {
				if c, err := decode(key, d); err == nil {
					found = append(found, c)
				}
			}
		}
		if next = behind; next == "" {
			return found, nil
		}
	}
}

// GrantShared reports whether another connection holds the same grant at the provider.
func (v *Vault) GrantShared(ctx context.Context, c connection.Connection) (bool, error) {
	for _, term := range grantTerm(c) {
		for next := ""; ; { // what cannot be opened is left out, and may stand before the one that counts
			found, behind, err := v.OfTerm(ctx, term, next, sharedPage)
			if err != nil {
				return false, fmt.Errorf("looking who shares a grant: %w", err)
			}
			for _, d := range found {
				if d.Name != connectionName(c.Key) {
					return true, nil
				}
			}
			if next = behind; next == "" {
				break
			}
		}
	}
	return false, nil
}

// OfTerm reads up to limit documents that carry the index term, as [store.Store.List]
// does. after comes back as "" at the end. What cannot be opened is left out.
func (v *Vault) OfTerm(ctx context.Context, term, after string, limit int) (found []Document, next string, err error) {
	if err := v.checked(ctx); err != nil {
		return nil, "", err
	}
	records, err := v.store.List(ctx, term, after, limit)
	if err != nil {
		return nil, "", err
	}
	for _, r := range records {
		if plain, err := v.ring.Open(r.Value, r.Key); err == nil {
			found = append(found, Document{r.Key, plain, r.Version, r.Expires, r.Index})
		}
	}
	if len(records) == limit {
		next = records[len(records)-1].Key
	}
	return found, next, nil
}
