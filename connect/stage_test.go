// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/toolkit"
)

// stages sets Acme up for alice.
func (w *world) stages(t *testing.T, name string) connection.Connection {
	t.Helper()
	conn, added, err := w.service.Stage(t.Context(), "request", aliceKey, name)
	if err != nil || !added {
		t.Fatalf("added: %v, %v", added, err)
	}
	return conn
}

func TestWhatIsSetUpIsConnectedByItsUser(t *testing.T) {
	w := newWorld(t, behindASite, withAgents(alice.Agent, otherBot.Agent))
	staged := w.stages(t, "")
	if c := w.connection(); c.Status != connection.Added || c.ID != staged.ID || !c.AccessToken.IsZero() || c.Agents == nil || len(c.Agents) != 0 {
		t.Errorf("%+v", c)
	}
	if w.audit.text() != "connection_added" || len(w.told) != 1 || w.told[0].Status != connection.Added {
		t.Errorf("audit: %s; told of %v", w.audit.text(), w.told)
	}
	w.wantStatus(t, connection.Added, connection.NoConnection)

	w.clock.pass(time.Hour)
	b := newBrowserAs(w, alice.User)
	p := b.get(mine)
	p.says(t, "is added, and not connected yet", "Connect", "Remove")
	p.hides(t, "Last used", `value="test"`, `value="off"`)
	p = b.undo(t, staged.ID, "connect")
	p.want(t, http.StatusOK, "Connect Acme?")
	p.says(t, "You asked for an account of Acme to be connected")
	w.wantStatus(t, connection.Added, connection.NoConnection)
	b.get(b.answer(b.press(p), "alice", "allow")).want(t, http.StatusOK, "Connected as alice@acme.example")
	c := w.connection()
	if c.Status != connection.Active || c.ID != staged.ID || !c.CreatedAt.Equal(w.clock.now()) || len(w.accounts().All) != 1 {
		t.Errorf("%+v", c)
	}
	w.wantAgents(t, nil, nil) // it was for none that they connected
	if p := b.undo(t, staged.ID, "connect"); p.status != http.StatusOK || !strings.Contains(p.text, "What you have connected") {
		t.Errorf("a second click: %d", p.status)
	}
}

func TestAnAgentsLinkConnectsWhatIsSetUpToo(t *testing.T) {
	w := newWorld(t, withAgents(alice.Agent, otherBot.Agent))
	staged := w.stages(t, "")
	b, link := newBrowser(w), w.link(alice)
	atAcme := b.toProvider(link)
	w.wantStatus(t, connection.Pending, connection.ConnectPending)
	b.get(comeBack(t, atAcme.address, "error", "access_denied"))
	w.wantStatus(t, connection.Added, connection.NoConnection)
	b.connect(link, "alice")
	if c := w.connection(); c.Status != connection.Active || c.ID != staged.ID || len(w.accounts().All) != 1 {
		t.Errorf("%+v", c)
	}
	w.wantAgents(t, []string{alice.Agent}, nil)
}

func TestWhatIsThereIsNotSetUpAgain(t *testing.T) {
	w, _ := twoAccounts(t)
	for name, want := range map[string]string{"": "", "alice@acme.example": "alice@acme.example", "BOB@acme.example": "bob@acme.example"} {
		conn, added, err := w.service.Stage(t.Context(), "request", aliceKey, name)
		if err != nil || added || conn.Status != connection.Active || want != "" && conn.AccountLabel != want {
			t.Errorf("%q: %+v, added: %v, %v", name, conn, added, err)
		}
	}
	first := w.stages(t, "club")
	if again, added, err := w.service.Stage(t.Context(), "request", aliceKey, "club"); added || err != nil || again.ID != first.ID {
		t.Errorf("a second time: added: %v, %v", added, err)
	}
	for name, key := range map[string]connection.Key{
		"conn_ABCDEFGHIJKLMNOPQRSTUVWXYZ": aliceKey, "a b": aliceKey, "work": {Tenant: alice.Tenant, User: alice.User, Toolkit: "nothing"},
	} {
		if _, added, err := w.service.Stage(t.Context(), "request", key, name); added || err == nil {
			t.Errorf("%s: added: %v, %v", name, added, err)
		}
	}
}

// Calls that name an account must not reach another one under its name.
func TestAnAccountThatIsSetUpByItsAddressIsThatAccount(t *testing.T) {
	w, b := connected(t)
	staged := w.stages(t, "bob@acme.example")
	p := b.undo(t, staged.ID, "connect")
	b.get(b.answer(b.press(p), "alice", "allow")).says(t, "not the one that is expected here")
	if c := w.named("bob@acme.example"); c.Status != connection.Added || len(w.accounts().All) != 2 {
		t.Errorf("%+v", c)
	}
	other := newBrowserAs(w, alice.User)
	p = other.undo(t, staged.ID, "connect")
	other.get(other.answer(other.press(p), "bob", "allow")).want(t, http.StatusOK, "Connected as bob@acme.example")
	if c := w.named("bob@acme.example"); c.Status != connection.Active || c.ID != staged.ID || w.connection().AccountLabel != "alice@acme.example" {
		t.Errorf("%+v", c)
	}
}

func TestWhatIsSetUpIsRemovedByItsUserAndForgottenWithThem(t *testing.T) {
	w := newWorld(t, behindASite)
	staged := w.stages(t, "")
	b := newBrowserAs(w, alice.User)
	b.undo(t, staged.ID, "disconnect").says(t, "Removed. Nothing had been connected.", "Nothing is connected")
	w.notConnected()
	if len(w.gone) != 1 || w.acme.Stats().Revocations != 0 || w.store.count("revocation") != 0 {
		t.Errorf("gone %v, %d revocations", w.gone, w.acme.Stats().Revocations)
	}
	w.stages(t, "")
	w.stages(t, "work")
	if done, err := w.service.Forget(t.Context(), "request", alice.Tenant, alice.User); err != nil || done.Connections != 2 || done.Revoked+done.Pending != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	w.notConnected()
}

func TestCallingOffALinkLeavesWhatWasSetUp(t *testing.T) {
	w := newWorld(t, behindASite)
	staged := w.stages(t, "")
	b := newBrowserAs(w, alice.User)
	callback := b.consent(w.link(alice), "alice")
	w.meanwhile(w.callsOff)
	b.get(callback).want(t, http.StatusGone, calledOff)
	if c := w.connection(); c.Status != connection.Added || c.ID != staged.ID || !c.AccessToken.IsZero() || w.acme.Stats().Revocations != 1 {
		t.Errorf("%+v, %d revocations", c, w.acme.Stats().Revocations)
	}
}

func TestWhoConnectsWhileItIsSetUpIsNotUndone(t *testing.T) {
	w := newWorld(t, behindASite)
	w.store.before("put", "connection", func() { newBrowserAs(w, alice.User).connect(w.link(alice), "alice") })
	conn, added, err := w.service.Stage(t.Context(), "request", aliceKey, "")
	if added || err != nil || conn.Status != connection.Active || w.connection().Status != connection.Active {
		t.Errorf("added: %v, %v, %s", added, err, conn.Status)
	}
}

func TestWithoutAuditNothingIsSetUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.audit.fail = func(audit.Event) error { return errors.New("the disk is full") }
		if _, added, err := w.service.Stage(t.Context(), "request", aliceKey, ""); added || err == nil {
			t.Errorf("added: %v, %v", added, err)
		}
		w.notConnected()
	})
}

func TestNobodySetsUpWhatWorksForEverybody(t *testing.T) {
	w := newWorld(t, change(func(tk *toolkit.Toolkit) { tk.Auth.PerUser = false }))
	if _, added, err := w.service.Stage(t.Context(), "request", aliceKey, ""); added || err == nil || !strings.Contains(err.Error(), "works for everybody") {
		t.Errorf("added: %v, %v", added, err)
	}
}
