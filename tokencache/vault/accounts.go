// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
)

// A user's first connection to a toolkit is the default, and the only one that gateways
// know which are of a version before there could be several. Where it is not the default
// any more, it says so itself, and a record of its own says which one is. So that record
// is read only for who has several, and a gateway of an older version, which keeps what
// it does not know, leaves the user's choice alone.

// choice is the record of who is the default.
type choice struct {
	// Account is that of its key; nil: nobody, until the user chooses.
	Account *string `json:"account"`
}

func defaultName(key connection.Key) string {
	return Name("default", key.Tenant, key.User, key.Toolkit)
}

// defaultKey is the reverse of defaultName: the key of the first connection.
func defaultKey(name string) (connection.Key, bool) {
	rest, ok := strings.CutPrefix(name, "default/")
	if !ok {
		return connection.Key{}, false
	}
	return connectionKey("connection/" + rest + "/")
}

// Accounts gives the connections of a user to a toolkit, whatever account key names, and
// which of them is the default. One that cannot be opened or read is in it under its
// name: nobody may take the one beside it for the only one.
func (v *Vault) Accounts(ctx context.Context, key connection.Key) (connection.Accounts, error) {
	var found connection.Accounts
	all, err := v.ofUserAndToolkit(ctx, key)
	if err != nil {
		return found, fmt.Errorf("listing a user's accounts: %w", err)
	}
	for _, c := range all {
		found.All = append(found.All, c.Choice())
	}
	if len(all) < 2 {
		if len(all) == 1 {
			found.Default = all[0].Key.Account
		}
		return found, nil
	}
	first := slices.IndexFunc(all, func(c connection.Connection) bool { return c.Key.Account == "" })
	if first >= 0 && !all[first].NotDefault {
		return found, nil
	}
	c, _, err := v.choice(ctx, key)
	if err != nil {
		return connection.Accounts{}, fmt.Errorf("reading which account is the default: %w", err)
	}
	found.Nobody = c.Account == nil || !slices.ContainsFunc(all, func(x connection.Connection) bool { return x.Key.Account == *c.Account })
	if !found.Nobody {
		found.Default = *c.Account
	}
	return found, nil
}

// ofUserAndToolkit is as OfUser, and leaves nothing out. Of what cannot be read it gives
// the key, and the id where that is in the key.
func (v *Vault) ofUserAndToolkit(ctx context.Context, key connection.Key) (found []connection.Connection, err error) {
	if err := v.checked(ctx); err != nil {
		return nil, err
	}
	for after := ""; ; {
		records, err := v.store.List(ctx, Name("user", key.Tenant, key.User), after, userPage)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			after = r.Key
			// The index is in the hands of who can write to the store.
			k, ok := connectionKey(r.Key)
			if !ok || k.Tenant != key.Tenant || k.User != key.User || k.Toolkit != key.Toolkit {
				continue
			}
			c := connection.Connection{Key: k, ID: k.Account, Status: connection.Error}
			if plain, err := v.ring.Open(r.Value, r.Key); err == nil {
				if read, err := decode(k, Document{Name: r.Key, Plain: plain, Version: r.Version}); err == nil {
					c = read
				}
			}
			found = append(found, c)
		}
		if len(records) < userPage {
			return found, nil
		}
	}
}

func (v *Vault) choice(ctx context.Context, key connection.Key) (c choice, version uint64, err error) {
	d, err := v.Get(ctx, defaultName(key))
	if errors.Is(err, store.ErrNotFound) {
		return choice{}, 0, nil
	}
	if err != nil {
		return choice{}, 0, err
	}
	if json.Unmarshal(d.Plain, &c) != nil {
		return choice{}, d.Version, nil // as if nobody were: the user chooses again
	}
	return c, d.Version, nil
}

// SetDefault makes a connection the one that calls go to which name no account. It gives
// the first connection, as it is then, where that was written.
func (v *Vault) SetDefault(ctx context.Context, key connection.Key) (first connection.Connection, err error) {
	if err := v.choose(ctx, key, &key.Account); err != nil {
		return connection.Connection{}, fmt.Errorf("choosing a default: %w", err)
	}
	// The record before the mark that makes anybody read it: who dies in between has
	// changed nothing, or has left a mark behind that the record bears out.
	for range changeTries {
		first, err = v.Load(ctx, connection.Key{Tenant: key.Tenant, User: key.User, Toolkit: key.Toolkit})
		if errors.Is(err, connection.ErrNotConnected) {
			return connection.Connection{}, nil
		}
		if err != nil || first.NotDefault == (key.Account != "") {
			return first, err
		}
		first.NotDefault = key.Account != ""
		if first, err = v.Save(ctx, first); !errors.Is(err, store.ErrConflict) {
			return first, err
		}
	}
	return connection.Connection{}, err
}

// ForgetDefault removes the record of who is the default, where no connection is left.
func (v *Vault) ForgetDefault(ctx context.Context, key connection.Key) error {
	d, err := v.Get(ctx, defaultName(key))
	if err == nil {
		err = v.Delete(ctx, d.Name, d.Version)
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// KeepDefault is for who puts a connection where the first one was, beside others: what
// is the default now stays it, or nobody is. The new one is to be saved as NotDefault.
func (v *Vault) KeepDefault(ctx context.Context, key connection.Key, now connection.Accounts) error {
	account := &now.Default
	if now.Nobody {
		account = nil
	}
	return v.choose(ctx, key, account)
}

// changeTries is how often a record that somebody else changes in between is read again.
const changeTries = 5

func (v *Vault) choose(ctx context.Context, key connection.Key, account *string) error {
	text, err := json.Marshal(choice{account})
	if err != nil {
		return err
	}
	for range changeTries {
		var version uint64
		if _, version, err = v.choice(ctx, key); err != nil {
			return err
		}
		err = v.Put(ctx, Document{Name: defaultName(key), Plain: text, Version: version + 1, Index: []string{Name("user", key.Tenant, key.User)}})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return err
}

// EraseUser removes what is left of a user when their connections are gone: which account
// was the default, and connections that cannot be read, which no other way leads to. One
// that can be read has come in this very moment. It stays for whoever brings it, who sees
// that it is not wanted any more: removed here, its grant would live on at the provider,
// and its token in the caches.
func (v *Vault) EraseUser(ctx context.Context, tenant, user string) (removed int, err error) {
	if err := v.checked(ctx); err != nil {
		return 0, err
	}
	for after := ""; ; {
		records, err := v.store.List(ctx, Name("user", tenant, user), after, userPage)
		if err != nil {
			return removed, err
		}
		for _, r := range records {
			after = r.Key
			key, ok := connectionKey(r.Key)
			if !ok {
				key, ok = defaultKey(r.Key)
			}
			// The index is in the hands of who can write to the store.
			if !ok || key.Tenant != tenant || key.User != user || v.readable(key, r) {
				continue
			}
			switch err := v.store.Delete(ctx, r.Key, r.Version); {
			case err == nil:
				removed++
			case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict):
				return removed, err
			}
		}
		if len(records) < userPage {
			return removed, nil
		}
	}
}

// readable reports whether a record is a connection that can be read.
func (v *Vault) readable(key connection.Key, r store.Record) bool {
	if connectionName(key) != r.Key {
		return false
	}
	plain, err := v.ring.Open(r.Value, r.Key)
	if err == nil {
		_, err = decode(key, Document{Name: r.Key, Plain: plain, Version: r.Version})
	}
	return err == nil
}
