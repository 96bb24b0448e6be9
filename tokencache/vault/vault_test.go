// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

func ring(t testing.TB, key string) *seal.Ring {
	t.Helper()
	r, err := seal.ParseRing(key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	oneKey   = strings.Repeat("0123456789abcdef", 4)
	otherKey = strings.Repeat("fedcba9876543210", 4)
	alice    = connection.Key{Tenant: "acme", User: "alice", Toolkit: "github", Account: "work"}
	bob      = connection.Key{Tenant: "acme", User: "bob", Toolkit: "github", Account: "work"}
)

// full has something in every field; a test sees to it.
func full() connection.Connection {
	at := time.Date(2026, 11, 20, 8, 0, 0, 123456789, time.UTC)
	return connection.Connection{
		Key: alice, ID: "conn_1", Version: 0, Status: connection.Expired, Reason: connection.RefreshRejected,
		AccessToken: secret.New("access <&> \u2028 ü"), RefreshToken: secret.New("refresh"),
		IssuedAt: at, ExpiresAt: at.Add(time.Hour), Scopes: []string{"a", "b c"},
		Granted:   connection.Grantee{Issuer: "https://id.example", ClientID: "client", Hosts: []string{"https://api.example"}},
		Variables: map[string]string{"instance": "na1.example"},
		Intent:    &connection.Intent{ID: "intent", Since: at.Add(time.Minute)},
		Agents:    []string{"bot"}, Barred: []string{"clerk"},
		AccountLabel: "alice@example.com", Label: "Work", ReadOnly: true, NotDefault: true, CreatedAt: at.Add(-time.Hour), UpdatedAt: at, LastUsed: at.Add(-time.Minute),
		Beyond: secret.New(`{"later":["x"]}`),
	}
}

func TestEveryFieldComesBack(t *testing.T) {
	c := full()
	for v, i := reflect.ValueOf(c), 0; i < v.NumField(); i++ {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Version" {
			t.Fatalf("%s is empty: this test does not cover it", name)
		}
	}
	v := vault.New(memstore.New(nil), ring(t, oneKey))
	saved, err := v.Save(t.Context(), c)
	if err != nil || saved.Version != 1 {
		t.Fatalf("version %d, %v", saved.Version, err)
	}
	got, err := v.Load(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	if !got.AccessToken.Equal(c.AccessToken) || !got.RefreshToken.Equal(c.RefreshToken) || !got.Beyond.Equal(c.Beyond) {
		t.Errorf("tokens: %q, %q, beyond: %q", got.AccessToken.Reveal(), got.RefreshToken.Reveal(), got.Beyond.Reveal())
	}
	got.AccessToken, got.RefreshToken, got.Beyond = saved.AccessToken, saved.RefreshToken, saved.Beyond // pointers, compared above
	if !reflect.DeepEqual(got, saved) {
		t.Errorf("got  %+v\nwant %+v", got, saved)
	}
}

func TestAnEmptyConnectionComesBackEmpty(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oneKey))
	saved, err := v.Save(t.Context(), connection.Connection{Key: bob})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Load(t.Context(), bob); err != nil || !reflect.DeepEqual(got, saved) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTimesAreTheSameInstantWhereverTheyWereSaid(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oneKey))
	c := full()
	c.ExpiresAt = time.Now().In(time.FixedZone("far", 14*3600)).Add(time.Minute)
	if _, err := v.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	got, err := v.Load(t.Context(), alice)
	if err != nil || !got.ExpiresAt.Equal(c.ExpiresAt) || got.ExpiresAt.Location() != time.UTC {
		t.Errorf("%v, want %v; %v", got.ExpiresAt, c.ExpiresAt, err)
	}
}

func TestAConnectionThatCannotBeWrittenIsRefusedAndTheOneThatIsThereStays(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oneKey))
	before, err := v.Save(t.Context(), full())
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("west", -3600)), // in UTC the year 10000
		time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("east", 3600)),          // and the year -1
	} {
		for name, change := range map[string]func(*connection.Connection){
			"IssuedAt": func(c *connection.Connection) { c.IssuedAt = at }, "ExpiresAt": func(c *connection.Connection) { c.ExpiresAt = at },
			"CreatedAt": func(c *connection.Connection) { c.CreatedAt = at }, "UpdatedAt": func(c *connection.Connection) { c.UpdatedAt = at },
			"Intent": func(c *connection.Connection) { c.Intent = &connection.Intent{ID: "i", Since: at} },
		} {
			c := before
			change(&c)
			if _, err := v.Save(t.Context(), c); !errors.Is(err, vault.ErrUnfit) || !errors.Is(err, store.ErrInvalid) {
				t.Errorf("%s in the year %d: %v", name, at.UTC().Year(), err)
			}
		}
	}
	if now, err := v.Load(t.Context(), alice); err != nil || now.Version != before.Version || !now.AccessToken.Equal(before.AccessToken) {
		t.Errorf("the connection that was there: %+v, %v", now, err)
	}
}

func TestAGreatTokenIsKeptAndAGreaterOneIsRefused(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oneKey))
	great := strings.Repeat("<", vault.MaxToken)
	c := full()
	c.AccessToken, c.RefreshToken, c.Beyond = secret.New(great), secret.New(great), secret.New(`{"later":"`+great+`"}`)
	saved, err := v.Save(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	d, err := v.Get(t.Context(), nameOf(alice))
	if err != nil || len(d.Plain) > 3*vault.MaxToken+2000 {
		t.Errorf("the record has %d bytes: %v", len(d.Plain), err)
	}
	if got, err := v.Load(t.Context(), alice); err != nil || got.AccessToken.Reveal() != great || !got.Beyond.Equal(c.Beyond) {
		t.Errorf("it comes back as another: %v", err)
	}
	for name, change := range map[string]func(*connection.Connection){
		"access token":  func(c *connection.Connection) { c.AccessToken = secret.New(great + "<") },
		"refresh token": func(c *connection.Connection) { c.RefreshToken = secret.New(great + "<") },
	} {
		c := saved
		change(&c)
		if _, err := v.Save(t.Context(), c); !errors.Is(err, vault.ErrUnfit) || strings.Contains(err.Error(), "<") {
			t.Errorf("a greater %s: %v", name, err)
		}
	}
}

func TestOfTwoWhoSaveTheSameVersionOneWins(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oneKey))
	first, err := v.Save(t.Context(), full())
	if err != nil {
		t.Fatal(err)
	}
	for _, stale := range []connection.Connection{full(), first} {
		if stale.Version == 1 {
			if _, err := v.Save(t.Context(), first); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := v.Save(t.Context(), stale); !errors.Is(err, store.ErrConflict) {
			t.Errorf("saving version %d again: %v", stale.Version+1, err)
		}
	}
	if err := v.Remove(t.Context(), first); !errors.Is(err, store.ErrConflict) {
		t.Errorf("removing an old version: %v", err)
	}
}

func TestOnlyWhatIsAbsentIsNotConnected(t *testing.T) {
	s := memstore.New(nil)
	v := vault.New(s, ring(t, oneKey))
	if _, err := v.Load(t.Context(), alice); !errors.Is(err, connection.ErrNotConnected) {
		t.Errorf("absent: %v", err)
	}
	s.Close()
	if _, err := v.Load(t.Context(), alice); errors.Is(err, connection.ErrNotConnected) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("closed: %v", err)
	}
}

// spied is a store in the hands of somebody who can write to it.
type spied struct {
	*memstore.Store
	swap map[string]string
	last store.Record
}

func (s *spied) Put(ctx context.Context, r store.Record) error {
	s.last = r
	return s.Store.Put(ctx, r)
}

func (s *spied) Get(ctx context.Context, name string) (store.Record, error) {
	if other, swapped := s.swap[name]; swapped {
		name = other
	}
	return s.Store.Get(ctx, name) // with the other's Key in it, too
}

func TestARecordThatWasMovedDoesNotOpen(t *testing.T) {
	s := &spied{Store: memstore.New(nil)}
	v := vault.New(s, ring(t, oneKey))
	if _, err := v.Save(t.Context(), full()); err != nil {
		t.Fatal(err)
	}
	copied := s.last
	copied.Key = strings.Replace(copied.Key, "alice", "bob", 1)
	if err := s.Store.Put(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	_, err := v.Load(t.Context(), bob)
	wantStorageTrouble(t, "copied", err)
	s.swap = map[string]string{copied.Key: s.last.Key}
	_, err = v.Load(t.Context(), bob)
	wantStorageTrouble(t, "served under another name", err)
	if _, err := v.Load(t.Context(), alice); err != nil {
		t.Errorf("in its place: %v", err)
	}
}

func TestTheStoreSeesNoPlaintext(t *testing.T) {
	s := &spied{Store: memstore.New(nil)}
	if _, err := vault.New(s, ring(t, oneKey)).Save(t.Context(), full()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"access", "refresh", "alice@example.com", "client", "id.example"} {
		if bytes.Contains(s.last.Value, []byte(text)) {
			t.Errorf("the store sees %q", text)
		}
	}
}

func TestARecordThatCannotBeReadIsTroubleAndNotAbsence(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oneKey))
	name := vault.Name("connection", alice.Tenant, alice.User, alice.Toolkit, alice.Account)
	for i, plain := range []string{`{"v":2,"access_token":"hunter2"}`, `{}`, `hunter2`, ``, `{"v":1,"access_token":["hunter2"]}`, `null`} {
		if err := v.Put(t.Context(), vault.Document{Name: name, Plain: []byte(plain), Version: uint64(i + 1)}); err != nil {
			t.Fatal(err)
		}
		_, err := v.Load(t.Context(), alice)
		wantStorageTrouble(t, plain, err)
	}
}

func wantStorageTrouble(t *testing.T, why string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, connection.ErrNotConnected) {
		t.Errorf("%s: %v", why, err)
		return
	}
	p, ok := errors.AsType[*problem.Problem](vault.Problem(err))
	if !ok || p.Code != problem.StorageUnavailable || p.HTTPStatus() != 503 || p.RetryAfter <= 0 || !errors.Is(p, err) {
		t.Errorf("%s: %v", why, p)
	}
	if text := fmt.Sprintf("%v %+v", p, err); strings.Contains(text, "hunter2") {
		t.Errorf("%s: the error quotes the record: %s", why, text)
	}
}

func TestAKeyThatIsMissingIsNamed(t *testing.T) {
	s := memstore.New(nil)
	if _, err := vault.New(s, ring(t, oneKey)).Save(t.Context(), full()); err != nil {
		t.Fatal(err)
	}
	_, err := vault.New(s, ring(t, otherKey)).Load(t.Context(), alice)
	p, ok := errors.AsType[*problem.Problem](vault.Problem(err))
	if !ok || p.Code != problem.KeyMissing || p.HTTPStatus() != 503 || p.RetryAfter <= 0 || !strings.Contains(p.Detail, ring(t, oneKey).PrimaryID()) {
		t.Errorf("%v", p)
	}
	if _, err := vault.New(s, ring(t, otherKey+"\n"+oneKey)).Load(t.Context(), alice); err != nil {
		t.Errorf("with the old key in the ring: %v", err)
	}
}

func TestNoTwoPlacesShareAName(t *testing.T) {
	seen := map[string][]string{}
	parts := []string{"", "a", "b", "a/b", "b/c", "a%2Fb", "%2F", "/", "//", ".", "..", "a b", "a+b", "ü", "\xff", "%FF", "\x00"}
	for _, one := range parts {
		for _, two := range parts {
			for _, three := range parts {
				name, place := vault.Name("connection", one, two, three), []string{one, two, three}
				if other, taken := seen[name]; taken {
					t.Fatalf("%q and %q are both %q", other, place, name)
				}
				seen[name] = place
			}
		}
	}
	if vault.Name("connection", "a/b", "c") == vault.Name("connection", "a", "b/c") {
		t.Error("a tenant can reach into another one's users")
	}
}

func FuzzName(f *testing.F) {
	f.Add("a/b", "c", "a", "b/c")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		if same := vault.Name("k", a, b) == vault.Name("k", c, d); same != (a == c && b == d) {
			t.Fatalf("(%q, %q) and (%q, %q): same name %v", a, b, c, d, same)
		}
	})
}

func TestAnotherStoresKeyIsNoticedBeforeAnythingIsWritten(t *testing.T) {
	s := memstore.New(nil)
	for range 2 {
		if err := vault.New(s, ring(t, oneKey)).Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	err := vault.New(s, ring(t, otherKey)).Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), ring(t, oneKey).PrimaryID()) {
		t.Errorf("%v", err)
	}
	if err := vault.New(s, ring(t, otherKey+"\n"+oneKey)).Check(t.Context()); err != nil {
		t.Errorf("with the old key in the ring: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := vault.New(s, ring(t, oneKey)).Check(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("with the store away: %v", err)
	}
}

func TestAStoreThatWasAwayIsCheckedBeforeAnythingIsDone(t *testing.T) {
	s := memstore.New(nil)
	if err := vault.New(s, ring(t, oneKey)).Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	wrong := vault.New(s, ring(t, otherKey))
	wrong.CheckFirst()
	if _, err := wrong.Save(t.Context(), full()); err == nil {
		t.Error("a record was sealed with the wrong key")
	}
	right := vault.New(s, ring(t, oneKey))
	right.CheckFirst()
	if _, err := right.Load(t.Context(), alice); !errors.Is(err, connection.ErrNotConnected) {
		t.Errorf("%v", err)
	}
}

// told is a store that tells of its changes as they are made.
type told struct {
	*memstore.Store
	tell func(store.News)
}

func (s *told) Watch(_ context.Context, tell func(store.News)) error {
	s.tell = tell
	return nil
}

func TestChangesOfConnectionsAreToldByTheirKeys(t *testing.T) {
	s := &told{Store: memstore.New(nil)}
	v := vault.New(s, ring(t, oneKey))
	if !v.Shared() || vault.New(s.Store, ring(t, oneKey)).Shared() {
		t.Error("which store is shared?")
	}
	var heard []vault.News
	if err := v.Watch(t.Context(), func(n vault.News) { heard = append(heard, n) }); err != nil {
		t.Fatal(err)
	}
	odd := connection.Key{Tenant: "a/b", User: "%2F ü\x00", Toolkit: "", Account: "x/y"}
	for _, name := range []string{
		vault.Name("connection", odd.Tenant, odd.User, odd.Toolkit, odd.Account), "canary", vault.Name("link", "a", "b", "c", "d"),
		"connection/a/b", "connection/%zz/b/c/d",
	} {
		s.tell(store.News{Kind: store.Changed, Key: name})
	}
	s.tell(store.News{Kind: store.Deaf})
	if len(heard) != 2 || heard[0].Key != odd || heard[1].Kind != store.Deaf {
		t.Errorf("%+v", heard)
	}
}

// That nobody may use a connection must not come back as that everybody may, and a record
// of the version before, which has no such field, is for all.
func TestNobodyAndEverybodyAreTwoThings(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oneKey))
	for name, agents := range map[string][]string{"nobody": {}, "one": {"bot"}, "everybody": nil} {
		c := full()
		c.User, c.Agents = name, agents
		if _, err := v.Save(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		got, err := v.Load(t.Context(), c.Key)
		if err != nil || (got.Agents == nil) != (agents == nil) || !slices.Equal(got.Agents, agents) {
			t.Errorf("%s: %#v came back as %#v, %v", name, agents, got.Agents, err)
		}
		all, err := v.Accounts(t.Context(), c.Key)
		if err != nil || len(all.All) != 1 || all.All[0].Admits("stranger", true) != (agents == nil) {
			t.Errorf("%s: as a choice %+v, %v", name, all, err)
		}
	}
}
