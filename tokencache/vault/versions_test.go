// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// nextVault is the vault of the next version: it keeps two fields more.
type nextVault struct{ *vault.Vault }

func (v nextVault) add(t *testing.T, fields map[string]any) {
	t.Helper()
	d, err := v.Get(t.Context(), nameOf(alice))
	if err != nil {
		t.Fatal(err)
	}
	all := v.fields(t)
	for name, value := range fields {
		all[name] = value
	}
	if d.Plain, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	d.Version++
	if err := v.Put(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func (v nextVault) fields(t *testing.T) (all map[string]any) {
	t.Helper()
	d, err := v.Get(t.Context(), nameOf(alice))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(d.Plain, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTwoVersionsWorkSideBySideOnOneStore(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		s := memstore.New(nil)
		sideBySide(t, s, s)
	})
	t.Run("Redis, from two gateways", func(t *testing.T) {
		server := redistest.Start(t)
		gateway := func() store.Store {
			s := redisstore.New(redisstore.Config{Addresses: []string{server.Addr}})
			t.Cleanup(func() { s.Close() })
			return s
		}
		sideBySide(t, gateway(), gateway())
	})
}

// sideBySide has one gateway of this version and one of the next, each with its way to
// the store.
func sideBySide(t *testing.T, one, two store.Store) {
	this, next := vault.New(one, ring(t, oneKey)), nextVault{vault.New(two, ring(t, oneKey))}
	first := full()
	first.Beyond = secret.String{}
	if _, err := this.Save(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	added := map[string]any{"proof_key": "hunter2", "limits": map[string]any{"per_day": 5.0, "<&>": "ü"}}
	next.add(t, added)

	// This version reads what the next one wrote, and refreshes the token.
	c, err := this.Load(t.Context(), alice)
	if err != nil || c.AccessToken.Reveal() != first.AccessToken.Reveal() {
		t.Fatalf("reading what the next version wrote: %v", err)
	}
	c.AccessToken, c.UpdatedAt = secret.New("renewed here"), c.UpdatedAt.Add(time.Minute)
	if c, err = this.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}

	all := next.fields(t)
	if all["access_token"] != "renewed here" {
		t.Errorf("the next version does not see the renewed token: %v", all["access_token"])
	}
	for name, want := range added {
		if !reflect.DeepEqual(all[name], want) {
			t.Errorf("%s was %v and is %v", name, want, all[name])
		}
	}

	// A new grant has nothing to do with what was kept with the old one.
	fresh := connection.Connection{Key: alice, Version: c.Version, Status: connection.Active, AccessToken: secret.New("of a new grant")}
	if _, err := this.Save(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	if all := next.fields(t); all["proof_key"] != nil || all["limits"] != nil {
		t.Errorf("a new grant has the old one's %v", all)
	}
}

func TestWhatALaterVersionKeepsStaysWholeOverManyWrites(t *testing.T) {
	s := memstore.New(nil)
	this, next := vault.New(s, ring(t, oneKey)), nextVault{vault.New(s, ring(t, oneKey))}
	if _, err := this.Save(t.Context(), connection.Connection{Key: alice}); err != nil {
		t.Fatal(err)
	}
	next.add(t, map[string]any{"zero": nil, "list": []any{}, "text": "}{\",", "v2": 2.0})
	want := next.fields(t)
	for range 3 {
		c, err := this.Load(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := this.Save(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if got := next.fields(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
