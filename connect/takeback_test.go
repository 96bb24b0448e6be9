// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
)

// callsOff ends every link of alice's.
func (w *world) callsOff() {
	if _, err := w.links().RevokeOf(w.t.Context(), alice.Tenant, alice.User); err != nil {
		w.t.Error(err)
	}
}

// Whoever says "this was not me" to a link that connects anew does not mean to disconnect.
func TestCallingOffAReconnectKeepsWhatWasConnected(t *testing.T) {
	for name, change := range map[string]func(*connection.Connection){
		"that works":                         func(*connection.Connection) {},
		"that has ended":                     func(c *connection.Connection) { c.Status, c.Reason = connection.Expired, connection.RefreshRejected },
		"of an account that nobody can name": func(c *connection.Connection) { c.AccountLabel = "" },
	} {
		t.Run(name, func(t *testing.T) {
			var stopped []connection.Key
			w, _ := twoAgents(t, func(cfg *connect.Config) { cfg.Stopped = func(k connection.Key) { stopped = append(stopped, k) } })
			before := w.connection()
			change(&before)
			before, err := w.vault.Save(t.Context(), before)
			if err != nil {
				t.Fatal(err)
			}
			b := newBrowserAs(w, alice.User)
			w.reload(func(cfg *connect.Config) { cfg.Agents = roster{alice.Agent} }) // so that the page is the one that connects
			callback := b.consent(w.link(otherBot), "alice")
			w.meanwhile(w.callsOff)
			b.get(callback).want(t, http.StatusGone, calledOff)

			now := w.connection()
			if now.ID != before.ID || now.Status != before.Status || now.Reason != before.Reason || !now.AccessToken.Equal(before.AccessToken) || !now.RefreshToken.Equal(before.RefreshToken) {
				t.Errorf("was %+v and is %+v", before, now)
			}
			if now.Version <= before.Version+1 {
				t.Errorf("the callback had saved nothing: version %d", now.Version)
			}
			if !slices.Equal(now.Agents, before.Agents) {
				t.Errorf("it is for %q", now.Agents)
			}
			if told := w.told[len(w.told)-1]; told.Version != now.Version || len(w.gone) != 0 || !slices.Equal(stopped, []connection.Key{aliceKey}) {
				t.Errorf("told of %+v, gone %v, stopped %v", told, w.gone, stopped)
			}
			if n := w.acme.Stats().Revocations; n != 0 {
				t.Errorf("%d grants were revoked, and what stands may live on them", n)
			}
			if got := w.audit.text(); got[len(got)-len("connection_restored"):] != "connection_restored" {
				t.Errorf("audit: %s", got)
			}
		})
	}
}

// Most providers end all that a client has of an account, and the connection that stands
// again may live on that.
func TestTheGrantOfACalledOffReconnectIsRevokedWhereNothingLivesOnIt(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*connection.Connection)
		revoked int
	}{
		"of another client before":      {func(c *connection.Connection) { c.Granted.ClientID = "the old one" }, 1},
		"whose name cannot be compared": {func(c *connection.Connection) { c.AccountLabel = "alice" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := connected(t)
			before := w.connection()
			c.change(&before)
			before, err := w.vault.Save(t.Context(), before)
			if err != nil {
				t.Fatal(err)
			}
			b := newBrowserAs(w, alice.User)
			callback := b.consent(w.link(alice), "alice")
			w.meanwhile(w.callsOff)
			b.get(callback).want(t, http.StatusGone, calledOff)
			if now := w.connection(); now.Granted.ClientID != before.Granted.ClientID || !now.AccessToken.Equal(before.AccessToken) || now.AccountLabel != before.AccountLabel {
				t.Errorf("was %+v and is %+v", before, now)
			}
			if n := w.acme.Stats().Revocations; n != c.revoked {
				t.Errorf("%d grants were revoked", n)
			}
		})
	}
}

func TestWhatIsDisconnectedMeanwhileStaysAway(t *testing.T) {
	w, _ := connected(t)
	b := newBrowserAs(w, alice.User)
	callback := b.consent(w.link(alice), "alice")
	w.meanwhile(w.callsOff)
	// The callback has saved, and before it looks at its link, the user disconnects.
	saved := 0
	w.reload(func(cfg *connect.Config) {
		told := cfg.Connected
		cfg.Connected = func(c connection.Connection) {
			told(c)
			if saved++; saved == 1 {
				if err := w.vault.Remove(t.Context(), w.connection()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	b.get(callback).want(t, http.StatusGone, calledOff)
	w.notConnected()
}

func TestWhoIsForgottenDuringAReconnectStaysForgotten(t *testing.T) {
	for name, op := range map[string]string{"before it is saved": "put", "while it is being looked up": "get"} {
		t.Run(name, func(t *testing.T) {
			w, _ := connected(t)
			b := newBrowserAs(w, alice.User)
			callback := b.consent(w.link(alice), "alice")
			w.meanwhile(func() { w.store.before(op, "connection", func() { w.forget(t, alice.User) }) })
			b.get(callback)
			if all := w.accounts(); len(all.All) != 0 {
				t.Errorf("back: %+v", all)
			}
		})
	}
}

func TestCallingOffAnotherKeyKeepsTheOneThatWorks(t *testing.T) {
	w := newWorld(t, threeToolkits(t), behindASite)
	b := newBrowserAs(w, alice.User)
	b.press(b.get(w.linkFor(alice, "keys")), "key.key", goodKey)
	key := connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: "keys"}
	before, err := w.vault.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Minute)
	p := b.get(w.linkFor(alice, "keys"))
	w.store.before("put", "connection", w.callsOff)
	b.press(p, "key.key", goodKey).want(t, http.StatusGone, calledOff)
	now, err := w.vault.Load(t.Context(), key)
	if err != nil || now.Version != before.Version+2 || !now.IssuedAt.Equal(before.IssuedAt) || !now.AccessToken.Equal(before.AccessToken) {
		t.Errorf("was %+v and is %+v, %v", before, now, err)
	}
}

// The traces of a user who is forgotten are removed before their connections are.
func TestNothingIsPutBackForWhoIsBeingForgotten(t *testing.T) {
	w, _ := connected(t)
	b, link := newBrowserAs(w, alice.User), w.link(alice)
	callback := b.consent(link, "alice")
	w.meanwhile(func() {
		r, err := w.store.Get(t.Context(), linkRecordName(link))
		if err == nil {
			err = w.store.Delete(t.Context(), r.Key, r.Version)
		}
		if err != nil {
			t.Error(err)
		}
	})
	b.get(callback)
	w.notConnected()
}

// The account is asked for its name between the saving and the end, which takes seconds at
// a slow provider, and the user may be at another page meanwhile.
func TestWhatIsDecidedDuringAReconnectHoldsWhenItIsCalledOff(t *testing.T) {
	for name, c := range map[string]struct {
		do             func(t *testing.T, b *browser, id string)
		agents, barred []string
		status         connection.Status
		label          string
	}{
		"an agent taken out": {func(t *testing.T, b *browser, id string) { b.lets(t, id, alice.Agent, "withdraw") }, []string{}, []string{alice.Agent}, connection.Active, ""},
		"switched off":       {func(t *testing.T, b *browser, id string) { b.undo(t, id, "off") }, []string{alice.Agent}, nil, connection.Inactive, ""},
		"renamed":            {func(t *testing.T, b *browser, id string) { b.renames(t, id, "work") }, []string{alice.Agent}, nil, connection.Active, "work"},
		"the one that came":  {func(t *testing.T, b *browser, id string) { b.lets(t, id, otherBot.Agent, "withdraw") }, []string{alice.Agent}, []string{otherBot.Agent}, connection.Active, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := twoAgents(t)
			before := w.connection()
			b := newBrowserAs(w, alice.User)
			w.reload(func(cfg *connect.Config) { cfg.Agents = roster{alice.Agent} }) // so that the page is the one that connects
			callback := b.consent(w.link(otherBot), "alice")
			w.meanwhile(w.callsOff)
			saved := 0
			w.reload(func(cfg *connect.Config) {
				cfg.Agents = roster{alice.Agent, otherBot.Agent}
				told := cfg.Connected
				cfg.Connected = func(conn connection.Connection) {
					told(conn)
					if saved++; saved == 1 {
						c.do(t, newBrowserAs(w, alice.User), conn.ID)
					}
				}
			})
			b.get(callback).want(t, http.StatusGone, calledOff)
			now := w.connection()
			if !now.AccessToken.Equal(before.AccessToken) || now.Status != c.status || now.Label != c.label {
				t.Errorf("was %+v and is %+v", before, now)
			}
			w.wantAgents(t, c.agents, c.barred)
		})
	}
}
