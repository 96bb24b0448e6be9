// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

func newKey() string {
	key := make([]byte, seal.KeySize)
	_, _ = rand.Read(key)
	return base64.StdEncoding.EncodeToString(key)
}

func ringOf(t *testing.T, keys ...string) *seal.Ring {
	t.Helper()
	ring, err := seal.ParseRing(strings.Join(keys, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// gateway is one process's share.
type gateway struct {
	*Desk
	*Revocations
}

func newGateway(ring *seal.Ring, s store.Store) gateway {
	r := NewRevocations(vault.New(s, ring), time.Now)
	return gateway{NewDesk(ring, r, time.Now), r}
}

func adas() caller.Session {
	return caller.Session{Tenant: "default", Agent: "bot", User: "ada", Toolkits: []string{"github", "slack"}, NoLinks: true, CallbackURL: "https://app.example/?a=1", Expires: time.Now().Add(DefaultLife)}
}

func wantCode(t *testing.T, err error, want problem.Code) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	p, ok := errors.AsType[*problem.Problem](err)
	if !ok || p.Code != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestATokenGivesTheSessionItWasMadeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(ringOf(t, newKey()), memstore.New(nil))
		token, made := g.Mint(adas())
		got, err := g.Open(token)
		if err != nil || fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", made) {
			t.Fatalf("%+v %v, want %+v", got, err, made)
		}
		if len(made.ID) != 26 || !made.Issued.Equal(time.Now().Truncate(time.Millisecond)) || !strings.HasPrefix(token, Prefix) {
			t.Errorf("%+v %s", made, token)
		}
		again, other := g.Mint(adas())
		if again == token || other.ID == made.ID {
			t.Error("two sessions are one")
		}
		time.Sleep(DefaultLife - time.Millisecond)
		_, err = g.Open(token)
		wantCode(t, err, "")
		time.Sleep(time.Millisecond)
		_, err = g.Open(token)
		wantCode(t, err, problem.SessionExpired)
	})
}

func TestATokenThatWasChangedIsRefused(t *testing.T) {
	g := newGateway(ringOf(t, newKey()), memstore.New(nil))
	token, _ := g.Mint(adas())
	text := strings.TrimPrefix(token, Prefix)
	raw, _ := base64.RawURLEncoding.DecodeString(text)
	for i := range raw {
		other := append([]byte(nil), raw...)
		other[i] ^= 1
		_, err := g.Open(Prefix + base64.RawURLEncoding.EncodeToString(other))
		wantCode(t, err, problem.SessionInvalid)
	}
	for n := range len(token) {
		_, err := g.Open(token[:n])
		wantCode(t, err, problem.SessionInvalid)
	}
	for _, bad := range []string{"", Prefix, token + "A", token + "=", token + "\n", " " + token, "TGS_" + text, Prefix + strings.Repeat("A", 1<<20), strings.Replace(token, "-", "+", 1) + "+"} {
		_, err := g.Open(bad)
		wantCode(t, err, problem.SessionInvalid)
	}
}

func TestKeysThatAreReplacedStillReadAndThoseOfOthersDoNot(t *testing.T) {
	old, fresh := newKey(), newKey()
	s := memstore.New(nil)
	token, _ := newGateway(ringOf(t, old), s).Mint(adas())
	_, err := newGateway(ringOf(t, fresh, old), s).Open(token)
	wantCode(t, err, "")
	_, err = newGateway(ringOf(t, fresh), memstore.New(nil)).Open(token)
	wantCode(t, err, problem.SessionInvalid)
	if !strings.Contains(err.Error(), "another gateway") {
		t.Error("it does not say why:", err)
	}
}

func TestWhatIsRevokedIsFeltByAllGatewaysOnTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, s := ringOf(t, newKey()), memstore.New(nil)
		here, there := newGateway(ring, s), newGateway(ring, s)
		one, made := here.Mint(adas())
		two, _ := here.Mint(adas())
		bob := adas()
		bob.User = "bob"
		bobs, _ := here.Mint(bob)
		elsewhere := adas()
		elsewhere.Tenant = "other"
		others, _ := here.Mint(elsewhere)
		for _, token := range []string{one, two, bobs, others} {
			_, err := there.Open(token)
			wantCode(t, err, "")
		}
		state := func(g gateway, want ...problem.Code) {
			t.Helper()
			for i, token := range []string{one, two, bobs, others} {
				_, err := g.Open(token)
				wantCode(t, err, want[i])
			}
		}
		ctx := t.Context()
		for _, notIts := range []Owner{{"default", "other"}, {"other", "bot"}} {
			if err := here.Revoke(ctx, notIts, made.ID); err != nil {
				t.Fatal(err)
			}
		}
		state(here, "", "", "", "")
		if err := here.Revoke(ctx, Owner{"default", "bot"}, made.ID); err != nil {
			t.Fatal(err)
		}
		state(here, problem.SessionRevoked, "", "", "")
		if changed, err := there.Refresh(ctx); !changed || err != nil {
			t.Fatal(changed, err)
		}
		state(there, problem.SessionRevoked, "", "", "")
		if changed, err := there.Refresh(ctx); changed || err != nil {
			t.Fatal("nothing is new:", changed, err)
		}
		if err := there.RevokeUser(ctx, "default", "ada"); err != nil {
			t.Fatal(err)
		}
		if _, err := here.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		state(here, problem.SessionRevoked, problem.SessionRevoked, "", "")
		// Given out in the same moment, but behind it.
		fresh, _ := here.Mint(adas())
		_, err := there.Open(fresh)
		wantCode(t, err, "")
		// A gateway that starts now knows it from the first call on.
		late := newGateway(ring, s)
		state(late, problem.SessionRevoked, problem.SessionRevoked, "", "")
		// And the list does not grow for ever.
		time.Sleep(MaxLife)
		if err := here.Revoke(ctx, Owner{"default", "bot"}, "another"); err != nil {
			t.Fatal(err)
		}
		if _, err := here.Refresh(ctx); err != nil || len(here.single) != 1 || len(here.users) != 0 {
			t.Error(err, here.single, here.users)
		}
	})
}

// away is a store that cannot be reached.
type away struct {
	store.Store
	is bool
}

func (a *away) Get(ctx context.Context, key string) (store.Record, error) {
	if a.is {
		return store.Record{}, store.ErrUnavailable
	}
	return a.Store.Get(ctx, key)
}

func TestAStoreThatIsAwayEndsNoSessionOnceTheListWasRead(t *testing.T) {
	ring, s := ringOf(t, newKey()), &away{Store: memstore.New(nil)}
	g := newGateway(ring, s)
	token, made := g.Mint(adas())
	s.is = true
	_, err := g.Open(token)
	wantCode(t, err, problem.StorageUnavailable) // nobody can tell
	s.is = false
	_, err = g.Open(token)
	wantCode(t, err, "")
	s.is = true
	_, err = g.Open(token)
	wantCode(t, err, "")
	if err := g.Revoke(t.Context(), Owner{"default", "bot"}, made.ID); !errors.Is(err, store.ErrUnavailable) {
		t.Error("it is not revoked, and nobody is told:", err)
	}
}

func TestCheckedTokensAreForgottenInTheEnd(t *testing.T) {
	g := newGateway(ringOf(t, newKey()), memstore.New(nil))
	for range maxKnown + 10 {
		token, _ := g.Mint(adas())
		if _, err := g.Open(token); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(g.known); n > maxKnown {
		t.Error(n)
	}
}

func FuzzOpen(f *testing.F) {
	ring, err := seal.ParseRing(newKey())
	if err != nil {
		f.Fatal(err)
	}
	g := newGateway(ring, memstore.New(nil))
	token, _ := g.Mint(adas())
	f.Add(token)
	f.Add(token[:len(token)-1])
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := g.Open(text); err == nil && text != token {
			t.Errorf("%q is good", text)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	ring, _ := seal.ParseRing(newKey())
	g := newGateway(ring, memstore.New(nil))
	token, _ := g.Mint(adas())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Open(token); err != nil {
			b.Fatal(err)
		}
	}
}
