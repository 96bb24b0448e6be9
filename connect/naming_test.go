// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/vault"
)

func TestAPersonRenamesAConnection(t *testing.T) {
	w, b := twoAccounts(t)
	id := w.named("bob@acme.example").ID
	said := map[string]string{
		"Work":                  "Work",
		"  Work & <b>play</b> ": "Work & <b>play</b>",
		"Überstunden 日本":        "Überstunden 日本",
		"":                      "",
		"BOB@acme.example":      "", // its account's own
		strings.Repeat("é", 60): strings.Repeat("é", 60),
	}
	for entered, want := range said {
		p := b.renames(t, id, entered)
		p.says(t, "The name was changed.", want)
		if c := w.named(id); c.Label != want || c.AccountLabel != "bob@acme.example" {
			t.Errorf("%q: it is called %q", entered, c.Label)
		}
		if p.hides(t, "<b>play"); t.Failed() {
			return
		}
	}
	b.renames(t, id, "home")
	for _, wrong := range []string{strings.Repeat("x", 61), "two\nlines", "conn_ABCDEFGHIJKLMNOPQRSTUVWXYZ", "a\x00b", "a\u202eb", "a\ufffdb", "\xff"} {
		b.renames(t, id, wrong).says(t, "That cannot be a name")
	}
	b.renames(t, id, "alice@ACME.example").says(t, "Another one of your accounts is called that")
	b.renames(t, id, w.connection().ID).says(t, "That cannot be a name")
	if c := w.named(id); c.Label != "home" {
		t.Errorf("it is called %q", c.Label)
	}
	w.gets(t, "home", id)
	w.wantReported("renamed")
	if told := w.told[len(w.told)-1]; told.Label != "home" {
		t.Errorf("told of %+v", told)
	}
}

// gets wants that an agent which names an account means that one.
func (w *world) gets(t *testing.T, name, id string) {
	t.Helper()
	if c := w.named(name); c.ID != id {
		t.Errorf("%s is %s", name, c.ID)
	}
}

func TestARenameKeepsWhatChangesMeanwhile(t *testing.T) {
	w, b := connected(t)
	id := w.connection().ID
	w.store.before("put", "connection", func() {
		c := w.connection()
		c.AccessToken = secret.New("renewed meanwhile")
		if _, err := w.vault.Save(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	b.renames(t, id, "Work")
	if c := w.connection(); c.Label != "Work" || c.AccessToken.Reveal() != "renewed meanwhile" {
		t.Errorf("%+v", c)
	}
	w.store.before("put", "connection", func() { // ErrConflict, and then it is another one
		c := w.connection()
		c.ID = "conn_another"
		if _, err := w.vault.Save(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	b.renames(t, id, "Home")
	if c := w.connection(); c.Label != "Work" {
		t.Errorf("%+v", c)
	}
	w.store.before("get", "connection", func() { _ = w.vault.Remove(t.Context(), w.connection()) })
	b.renames(t, "conn_another", "Home")
	w.notConnected()
}

func TestARenameIsRecordedOrNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := connected(t)
		w.audit.fail = func(audit.Event) error { return errors.New("the disk is full") }
		b.renames(t, w.connection().ID, "Work").want(t, http.StatusServiceUnavailable, "That did not work just now")
		if c := w.connection(); c.Label != "" {
			t.Errorf("it is called %s", c.Label)
		}
	})
}

func TestAPersonConnectsAnotherAccountByThemselves(t *testing.T) {
	w, _ := twoAgents(t)
	first, b := w.connection(), newBrowserAs(w, alice.User) // which is not signed in at Acme
	p := b.undo(t, first.ID, "another")
	p.want(t, http.StatusOK, "Connect Acme?")
	p.says(t, "You asked for an account of Acme to be connected.", "is ever given to an assistant")
	if !strings.Contains(p.address, "/connect/ca_") {
		t.Errorf("at %s", p.address)
	}
	done := b.get(b.answer(b.press(p), "bob", "allow"))
	done.want(t, http.StatusOK, "Connected as bob@acme.example")
	done.says(t, "Your assistants can use it when they ask for it.")
	second := w.named("bob@acme.example")
	if second.ID == first.ID || second.Label != "" || second.Agents == nil || len(second.Agents) != 0 {
		t.Errorf("the second is %+v", second)
	}
	if all := w.accounts(); all.Default != "" || all.Nobody || len(all.All) != 2 {
		t.Errorf("%+v", all)
	}
	if now := w.connection(); now.Version != first.Version {
		t.Error("the first was touched")
	}
	if strings.Count(b.get(mine).text, `value="another"`) != 1 {
		t.Error("there is not one button for the toolkit")
	}
	// And once more with the account that is there: it is renewed, and no third one made.
	b.get(b.answer(b.press(b.undo(t, first.ID, "another")), "bob", "allow"))
	if all := w.accounts(); len(all.All) != 2 {
		t.Errorf("%+v", all)
	}
}

// invent asks for an account that is not there.
func (w *world) invent(who string, name string) error {
	asking := alice
	asking.Agent = who
	_, err := w.service.LinkFor(w.t.Context(), asking, connect.Ask{Toolkits: []string{"acme"}, Account: name})
	return err
}

func TestAnAgentThatInventsAccountsDoesNotFillTheStore(t *testing.T) {
	w, b := twoAccounts(t)
	w.clock.pass(15 * time.Minute) // the link for bob's account is over
	for i := range 20 {
		if err := w.invent(alice.Agent, fmt.Sprint("made-up-", i)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	w.clock.pass(time.Minute)
	records := w.store.count("account-link") + w.store.count("link-for")
	for i := range 50 {
		err := w.invent([]string{alice.Agent, "other-bot"}[i%2], fmt.Sprint("too-many-", i))
		p, ok := errors.AsType[*problem.Problem](err)
		if !ok || p.Code != problem.TooManyLinks || p.HTTPStatus() != http.StatusTooManyRequests || p.RetryAfter != 14*time.Minute {
			t.Fatalf("%v", err)
		}
	}
	if n := w.store.count("account-link") + w.store.count("link-for"); n != records {
		t.Errorf("%d records, and then %d", records, n)
	}
	for name, ask := range map[string]error{
		"a link that is there": w.invent(alice.Agent, "made-up-3"),
		"an account that is":   w.invent(alice.Agent, "bob@acme.example"),
		"the default":          w.invent(alice.Agent, ""),
		"another toolkit's": func() error {
			_, err := w.service.LinkFor(t.Context(), alice, connect.Ask{Toolkits: []string{"other"}, Account: "x"})
			return err
		}(),
	} {
		if ask != nil {
			t.Errorf("%s: %v", name, ask)
		}
	}
	if l, err := w.service.LinkFor(t.Context(), alice, connect.Ask{Toolkits: []string{"acme"}, Account: "made-up-5"}); err != nil {
		t.Error(err)
	} else if b.cancels(b.get(l.URL)); w.invent(alice.Agent, "made-up-5") != nil {
		t.Error("one that was called off is counted twice")
	}
	// What the agents do is no reason to refuse the person, and the other way round.
	b.undo(t, w.connection().ID, "another").want(t, http.StatusOK, "Connect Acme?")
	for range 19 {
		b.undo(t, w.connection().ID, "another")
	}
	b.undo(t, w.connection().ID, "another").want(t, http.StatusTooManyRequests, "Too many links are open")
	w.clock.pass(14 * time.Minute)
	if err := w.invent(alice.Agent, "later"); err != nil {
		t.Errorf("when they are over: %v", err)
	}
}

func TestManyWhoInventAccountsAtOnceKeepTheBound(t *testing.T) {
	w, _ := connected(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	given := 0
	for i := range 60 {
		all.Go(func() {
			if w.invent(alice.Agent, fmt.Sprint("made-up-", i)) == nil {
				mu.Lock()
				given++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if given > 20 || given == 0 {
		t.Errorf("%d links", given)
	}
}

func TestWhatWasCountedOfAUserIsATraceOfTheirs(t *testing.T) {
	w, _ := connected(t)
	if err := w.invent(alice.Agent, "made-up"); err != nil {
		t.Fatal(err)
	}
	name := vault.Name("invented", alice.Tenant, alice.User, "acme", "agents")
	if _, err := w.vault.Get(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if !connect.TraceOf(alice.Tenant, alice.User, name, nil) || connect.TraceOf(alice.Tenant, "user", name, nil) || connect.TraceOf("acme", alice.User, name, nil) {
		t.Error("it is not known for whose it is")
	}
}
