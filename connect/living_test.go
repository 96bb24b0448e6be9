// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/toolkit"
)

// nameless are toolkits whose provider is not asked whose account it is, as most are.
func nameless(cfg *connect.Config) {
	for _, e := range cfg.Toolkits {
		e.Toolkit.Identity = nil
	}
}

// wantWorking asks Acme whether a connection's token is good.
func (w *world) wantWorking(t *testing.T, c connection.Connection, want bool) {
	t.Helper()
	r, _ := http.NewRequest("GET", acmeURL+"/v1/me", nil)
	if got := w.apiStatus(r, c.AccessToken.Reveal()) == http.StatusOK; got != want {
		t.Errorf("the token of %s works: %v", c.Toolkit, got)
	}
}

// twoToolkits is a world where alice has connected two toolkits of one provider and client.
func twoToolkits(t *testing.T, changes ...func(*connect.Config)) (w *world, first, second connection.Connection) {
	t.Helper()
	w = newWorld(t, append([]func(*connect.Config){threeToolkits(t), behindASite}, changes...)...)
	newBrowserAs(w, alice.User).connect(w.link(alice), "alice")
	newBrowserAs(w, alice.User).connect(w.ask(connect.Ask{Toolkits: []string{"second"}}).URL, "alice")
	second, err := w.vault.Load(t.Context(), connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: "second"})
	if err != nil {
		t.Fatal(err)
	}
	return w, w.connection(), second
}

func TestAGrantWithoutANameIsEndedByTheLastToolkitThatUsesIt(t *testing.T) {
	w, first, second := twoToolkits(t, nameless)
	b := newBrowserAs(w, alice.User)
	b.undo(t, first.ID, "disconnect").says(t, "remove it from the connected apps there")
	w.wantWorking(t, second, true)
	b.undo(t, second.ID, "disconnect").says(t, "taken back at the other service too")
	w.wantWorking(t, second, false)
}

// Who calls two accounts of one toolkit by names of their own has two.
func TestOfTwoAccountsWithoutANameOneIsTakenBack(t *testing.T) {
	w := newWorld(t, behindASite, nameless)
	newBrowserAs(w, alice.User).connect(w.linkTo("work"), "alice")
	newBrowserAs(w, alice.User).connect(w.linkTo("home"), "bob")
	w.clock.pass(1)
	work, home := w.named("work"), w.named("home")
	newBrowserAs(w, alice.User).undo(t, work.ID, "disconnect").says(t, "taken back at the other service too")
	w.wantWorking(t, work, false)
	w.wantWorking(t, home, true)
}

func TestEveryGrantOfAForgottenUserIsTakenBack(t *testing.T) {
	w, first, second := twoToolkits(t, nameless)
	if done, _ := w.forget(t, alice.User); done.Connections != 2 || done.Revoked != 2 {
		t.Errorf("%+v", done)
	}
	w.wantWorking(t, first, false)
	w.wantWorking(t, second, false)
}

// The provider is away, and the user connects again before it could be told.
func TestWhatIsConnectedAgainIsNotTakenBackLater(t *testing.T) {
	for name, change := range map[string]func(*connect.Config){"named": func(*connect.Config) {}, "without a name": nameless} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, behindASite, change)
			b := newBrowserAs(w, alice.User)
			b.connect(w.link(alice), "alice")
			w.away = true
			b.undo(t, w.connection().ID, "disconnect").says(t, "could not be told yet")
			w.away = false
			w.clock.pass(1)
			b.connect(w.link(alice), "alice")
			w.clock.pass(revokePause)
			if done, left, err := w.service.RetryRevocations(t.Context()); done != 1 || left != 0 || err != nil {
				t.Errorf("%d done, %d left, %v", done, left, err)
			}
			now := w.connection()
			if n := w.acme.Stats().Revocations; n != 0 {
				t.Errorf("%d revocations, and one ends all that the client has of the account", n)
			}
			if n := w.store.count("revocation"); n != 0 {
				t.Errorf("%d are left to be revoked", n)
			}
			b.undo(t, now.ID, "disconnect").says(t, "taken back at the other service too")
			w.wantWorking(t, now, false)
		})
	}
}

// The revocation is on paper, and then the connection cannot be removed.
func TestAConnectionThatStayedIsNotRevokedBehindItsUsersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is tried for seconds
		for _, c := range []struct {
			style   toolkit.RevokeStyle
			renewed bool
		}{{"", false}, {"", true}, {toolkit.RevokeItself, false}} {
			w := newWorld(t, behindASite, nameless)
			w.cfg.Toolkits["acme"].Toolkit.OAuth.RevokeStyle = c.style
			b := newBrowserAs(w, alice.User)
			b.connect(w.link(alice), "alice")
			w.clock.pass(1)
			p := b.get(mine)
			w.store.failWith(func(op, key string) error {
				if op == "delete" && strings.HasPrefix(key, "connection/") {
					return store.ErrUnavailable
				}
				return nil
			})
			b.press(p).want(t, http.StatusServiceUnavailable, sorry)
			w.store.works()
			if w.store.count("revocation") != 1 {
				t.Fatal("nothing is on paper")
			}
			if now := w.connection(); c.renewed {
				now.AccessToken, now.RefreshToken = secret.New("new"), secret.New("newer")
				if _, err := w.vault.Save(t.Context(), now); err != nil {
					t.Fatal(err)
				}
			}
			w.clock.pass(revokePause)
			w.reload(func(cfg *connect.Config) {
				cfg.Revoker = revoker(func(_, _ string) error { t.Errorf("%+v: revoked", c); return nil })
			})
			if _, left, err := w.service.RetryRevocations(t.Context()); left != 0 || err != nil {
				t.Errorf("%d left, %v", left, err)
			}
		}
	})
}

// Another gateway's job must not strike a revocation while somebody is still at work on it.
func TestARevocationIsLeftToWhoHasJustWrittenIt(t *testing.T) {
	w, b := connected(t)
	p := b.get(mine)
	before := w.connection()
	w.store.before("delete", "connection", func() {
		if done, left, err := w.service.RetryRevocations(t.Context()); done != 0 || left != 1 || err != nil {
			t.Errorf("%d done, %d left, %v", done, left, err)
		}
		w.away = true
	})
	b.press(p).says(t, "could not be told yet")
	w.away = false
	w.clock.pass(revokePause)
	if done, _, err := w.service.RetryRevocations(t.Context()); done != 1 || err != nil {
		t.Errorf("%d done, %v", done, err)
	}
	w.wantWorking(t, before, false)
}
