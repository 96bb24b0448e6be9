// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

var (
	oldKey = strings.Repeat("0123456789abcdef", 4)
	newKey = strings.Repeat("fedcba9876543210", 4)
)

func ring(t testing.TB, keys ...string) *seal.Ring {
	t.Helper()
	r, err := seal.ParseRing(strings.Join(keys, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func desk(t testing.TB, s store.Store, r *seal.Ring) *custody.Desk {
	t.Helper()
	return custody.New(s, r, nil)
}

func of(user string) connection.Key {
	return connection.Key{Tenant: "acme", User: user, Toolkit: "github"}
}

func nameOf(user string) string { return vault.Name("connection", "acme", user, "github", "") }

// filled is a store with a canary, so many connections and a sign-in under way.
func filled(t testing.TB, users int, r *seal.Ring) *memstore.Store {
	t.Helper()
	s := memstore.New(nil)
	v := vault.New(s, r)
	if err := v.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range users {
		save(t, v, fmt.Sprintf("user%03d", i))
	}
	flow := vault.Document{Name: vault.Name("flow", "f"), Plain: []byte("{}"), Version: 1, Expires: time.Now().Add(10 * time.Minute)}
	link := vault.Document{Name: vault.Name("link", "l"), Plain: []byte("{}"), Version: 1, Expires: time.Now().Add(24 * time.Hour)}
	for _, d := range []vault.Document{flow, link} {
		if err := v.Put(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func save(t testing.TB, v *vault.Vault, user string) {
	t.Helper()
	_, err := v.Save(t.Context(), connection.Connection{Key: of(user), ID: "conn_" + user, Status: connection.Active, AccessToken: secret.New("token of " + user)})
	if err != nil {
		t.Fatal(err)
	}
}

// malformed is a record in the place of a user's connection that opens, and is empty.
func malformed(t testing.TB, s store.Store, user string) {
	t.Helper()
	r := store.Record{Key: nameOf(user), Version: 1, Value: ring(t, oldKey).Seal(nil, nameOf(user))}
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func wantToken(t testing.TB, v *vault.Vault, user, token string) {
	t.Helper()
	c, err := v.Load(t.Context(), of(user))
	if err != nil || c.AccessToken.Reveal() != token {
		t.Errorf("%s: %q, %v", user, c.AccessToken.Reveal(), err)
	}
}

func get(t testing.TB, s store.Store, key string) store.Record {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return r
}

// all runs steps of that size to the end.
func all[T any](t testing.TB, limit int, do func(context.Context, custody.Step) (T, error), place func(T) custody.Place, add func(T)) {
	t.Helper()
	step := custody.Step{Limit: limit}
	for range 1000 {
		done, err := do(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		add(done)
		at := place(done)
		if at.Done {
			return
		}
		step.After = at.Next
	}
	t.Fatal("it does not end")
}

func reseal(t testing.TB, d *custody.Desk, limit int) (sum custody.Resealed) {
	t.Helper()
	all(t, limit, d.Reseal, func(r custody.Resealed) custody.Place { return r.Place }, func(r custody.Resealed) { sum.Add(r) })
	return sum
}

func survey(t testing.TB, d *custody.Desk) (sum custody.Survey) {
	t.Helper()
	all(t, 3, d.Survey, func(s custody.Survey) custody.Place { return s.Place }, func(s custody.Survey) { sum.Add(s) })
	return sum
}
