// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/filestore"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// first is where alice's first connection stands.
var first = connection.Key{Tenant: "acme", User: "alice", Toolkit: "github"}

// shelf is a vault with a user's accounts in it.
type shelf struct {
	*vault.Vault
	t *testing.T
}

// onEachStore runs a test over every kind of store.
func onEachStore(t *testing.T, test func(*testing.T, shelf)) {
	for name, open := range map[string]func(*testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return memstore.New(nil) },
		"file": func(t *testing.T) store.Store {
			return filestore.New(filestore.Config{Path: filepath.Join(t.TempDir(), "store.db")})
		},
		"Redis": func(t *testing.T) store.Store {
			return redisstore.New(redisstore.Config{Addresses: []string{redistest.Start(t).Addr}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.Close() })
			test(t, shelf{vault.New(s, ring(t, oneKey)), t})
		})
	}
}

func (s shelf) put(account, label string) connection.Connection {
	s.t.Helper()
	key := first
	key.Account = account
	id := account
	if id == "" {
		id = "conn_first"
	}
	c, err := s.Save(s.t.Context(), connection.Connection{Key: key, ID: id, Status: connection.Active, AccessToken: secret.New("of " + label), AccountLabel: label})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// wantDefault checks who is the default; "nobody" is nobody.
func (s shelf) wantDefault(want string, of int) {
	s.t.Helper()
	got, err := s.Accounts(s.t.Context(), first)
	if err != nil {
		s.t.Fatal(err)
	}
	name := got.Default
	if got.Nobody {
		name = "nobody"
	}
	if name != want || len(got.All) != of {
		s.t.Errorf("the default is %q of %d, want %q of %d", name, len(got.All), want, of)
	}
}

func (s shelf) choose(account string) {
	s.t.Helper()
	key := first
	key.Account = account
	if _, err := s.SetDefault(s.t.Context(), key); err != nil {
		s.t.Fatal(err)
	}
}

func (s shelf) remove(account string) {
	s.t.Helper()
	key := first
	key.Account = account
	c, err := s.Load(s.t.Context(), key)
	if err == nil {
		err = s.Remove(s.t.Context(), c)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestTheFirstAccountIsTheDefaultUntilAnotherIsChosen(t *testing.T) {
	onEachStore(t, func(t *testing.T, s shelf) {
		s.wantDefault("", 0)
		s.put("", "work")
		s.wantDefault("", 1)
		s.put("conn_2", "home")
		s.put("conn_3", "club")
		s.wantDefault("", 3)
		s.choose("conn_2")
		s.wantDefault("conn_2", 3)
		s.choose("")
		s.wantDefault("", 3)
		if first, err := s.Load(t.Context(), key("")); err != nil || first.NotDefault {
			t.Errorf("the first says that it is not the default (%v)", err)
		}
		s.choose("conn_3")
		s.choose("conn_2")
		s.wantDefault("conn_2", 3)
	})
}

func TestWhenTheDefaultGoesTheUserChoosesUnlessOneIsLeft(t *testing.T) {
	onEachStore(t, func(t *testing.T, s shelf) {
		s.put("", "work")
		s.put("conn_2", "home")
		s.put("conn_3", "club")
		s.remove("")
		s.wantDefault("nobody", 2)
		s.choose("conn_3")
		s.wantDefault("conn_3", 2)
		s.remove("conn_3")
		s.wantDefault("conn_2", 1)
		s.remove("conn_2")
		s.wantDefault("", 0)
	})
}

func TestAChoiceThatWasTakenBackDoesNotComeBack(t *testing.T) {
	onEachStore(t, func(t *testing.T, s shelf) {
		s.put("", "work")
		s.put("conn_2", "home")
		s.put("conn_3", "club")
		s.choose("conn_2")
		s.choose("")
		s.remove("")
		s.wantDefault("nobody", 2)
	})
}

func TestTheFirstPlaceTakenAnewIsNotTheDefaultBesideOthers(t *testing.T) {
	onEachStore(t, func(t *testing.T, s shelf) {
		s.put("", "work")
		s.put("conn_2", "home")
		s.remove("")
		now, err := s.Accounts(t.Context(), first)
		if err == nil {
			err = s.KeepDefault(t.Context(), first, now)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Save(t.Context(), connection.Connection{Key: first, ID: "conn_new", NotDefault: true}); err != nil {
			t.Fatal(err)
		}
		s.wantDefault("conn_2", 2)
	})
}

func TestAccountsAreOfOneUserOneTenantAndOneToolkit(t *testing.T) {
	onEachStore(t, func(t *testing.T, s shelf) {
		s.put("conn_2", "home")
		for _, k := range []connection.Key{{Tenant: first.Tenant, User: "bob", Toolkit: first.Toolkit}, {Tenant: "x", User: first.User, Toolkit: first.Toolkit}, {Tenant: first.Tenant, User: first.User, Toolkit: "x"}} {
			if _, err := s.Save(t.Context(), connection.Connection{Key: k, ID: "conn_of_others"}); err != nil {
				t.Fatal(err)
			}
		}
		s.wantDefault("conn_2", 1)
	})
}

// Nobody may take the account beside it for the only one.
func TestAnAccountThatCannotBeReadStillCounts(t *testing.T) {
	under := memstore.New(nil)
	s := shelf{vault.New(under, ring(t, oneKey)), t}
	s.put("conn_2", "home")
	s.put("conn_3", "club")
	r, err := under.Get(t.Context(), nameOf(key("conn_2")))
	if err != nil {
		t.Fatal(err)
	}
	r.Version++
	r.Value[len(r.Value)-1] ^= 1
	if err := under.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	s.wantDefault("nobody", 2)
	got, err := s.Accounts(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if account, err := got.Pick("conn_2"); err != nil || account != "conn_2" {
		t.Errorf("by its id: %q, %v", account, err)
	}
}

// A gateway of the version before knows neither labels nor defaults.
func TestAnOlderVersionLeavesAccountsAndTheDefaultAlone(t *testing.T) {
	s := memstore.New(nil)
	this := shelf{vault.New(s, ring(t, oneKey)), t}
	c := this.put("", "work")
	c.Label = "mine"
	if _, err := this.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	this.put("conn_2", "home")
	this.choose("conn_2")

	// It refreshes the token, and keeps the fields that it does not know.
	d, err := this.Get(t.Context(), nameOf(first))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(d.Plain); !strings.Contains(text, `"label":"mine"`) || !strings.Contains(text, `"not_default":true`) {
		t.Fatalf("the record is %s: this test has nothing to look at", text)
	}
	d.Plain = []byte(strings.Replace(string(d.Plain), "of work", "renewed by the older one", 1))
	d.Version++
	if err := this.Put(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	this.wantDefault("conn_2", 2)
	got, err := this.Load(t.Context(), first)
	if err != nil || got.Label != "mine" || got.AccessToken.Reveal() != "renewed by the older one" {
		t.Errorf("%q (%v)", got.Label, err)
	}
	// A user connects again there: it knows one account alone, and so the first one is
	// the default again, here too.
	fresh := connection.Connection{Key: first, ID: got.ID, Version: got.Version, Status: connection.Active, AccessToken: secret.New("new grant")}
	if _, err := this.Save(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	this.wantDefault("", 2)
}

func TestWhatTellsOfTheDefaultIsBoundToItsPlace(t *testing.T) {
	under := memstore.New(nil)
	s := shelf{vault.New(under, ring(t, oneKey)), t}
	s.put("conn_2", "home")
	s.put("conn_3", "club")
	s.choose("conn_3")
	bob := first
	bob.User = "bob"
	if _, err := s.SetDefault(t.Context(), connection.Key{Tenant: bob.Tenant, User: bob.User, Toolkit: bob.Toolkit, Account: "conn_2"}); err != nil {
		t.Fatal(err)
	}
	of := func(k connection.Key) string { return vault.Name("default", k.Tenant, k.User, k.Toolkit) }
	moved, err := under.Get(t.Context(), of(bob))
	if err != nil {
		t.Fatal(err)
	}
	mine, err := under.Get(t.Context(), of(first))
	if err != nil {
		t.Fatal(err)
	}
	moved.Key, moved.Version = mine.Key, mine.Version+1
	if err := under.Put(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Accounts(t.Context(), first); err == nil {
		t.Errorf("another user's choice counts: %+v", got)
	} else if errors.Is(err, connection.ErrNotConnected) {
		t.Errorf("a damaged record is %v", err)
	}
}

func key(account string) connection.Key {
	k := first
	k.Account = account
	return k
}

func TestOfAUserNothingIsErasedThatCanBeRead(t *testing.T) {
	under := memstore.New(nil)
	s := shelf{vault.New(under, ring(t, oneKey)), t}
	for _, account := range []string{"", "conn_2", "conn_damaged"} {
		s.put(account, "of "+account)
	}
	s.choose("conn_2")
	r, err := under.Get(t.Context(), nameOf(key("conn_damaged")))
	if err != nil {
		t.Fatal(err)
	}
	r.Version++
	r.Value[len(r.Value)-1] ^= 1
	if err := under.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if n, err := s.EraseUser(t.Context(), first.Tenant, first.User); n != 2 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
	for account, want := range map[string]error{"": nil, "conn_2": nil, "conn_damaged": connection.ErrNotConnected} {
		if _, err := s.Load(t.Context(), key(account)); !errors.Is(err, want) {
			t.Errorf("%q: %v", account, err)
		}
	}
}
