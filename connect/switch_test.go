// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

func TestAConnectionIsSwitchedOffAndOnAgain(t *testing.T) {
	var stopped []connection.Key
	w, b := connected(t, func(cfg *connect.Config) {
		cfg.Stopped = func(k connection.Key) { stopped = append(stopped, k) }
	})
	before := w.connection()
	p := b.undo(t, before.ID, "off")
	if p.want(t, http.StatusOK, "What you have connected"); !strings.Contains(p.text, "is switched off") || !strings.Contains(p.text, `value="on"`) || strings.Contains(p.text, `value="off"`) {
		t.Errorf("the page says\n%s", p.text)
	}
	off := w.connection()
	if off.Status != connection.Inactive || off.Reason != connection.SwitchedOff || !off.AccessToken.Equal(before.AccessToken) || !off.RefreshToken.Equal(before.RefreshToken) {
		t.Errorf("off: %+v", off)
	}
	if told := w.told[len(w.told)-1]; told.Status != connection.Inactive || len(stopped) != 1 || stopped[0] != aliceKey || len(w.gone) != 0 {
		t.Errorf("told of %s, stopped %v, gone %v", told.Status, stopped, w.gone)
	}
	w.wantStatus(t, connection.Inactive, connection.SwitchedOff)

	b.undo(t, off.ID, "off") // a second click
	if p = b.undo(t, off.ID, "on"); !strings.Contains(p.text, `value="off"`) {
		t.Errorf("the page says\n%s", p.text)
	}
	if on := w.connection(); on.Status != connection.Active || on.Reason != "" || !on.AccessToken.Equal(before.AccessToken) || len(stopped) != 1 {
		t.Errorf("on: %+v, stopped %v", on, stopped)
	}
	if got := w.audit.text(); !strings.HasSuffix(got, "connected, switched_off, switched_on") {
		t.Errorf("audit: %s", got)
	}
}

func TestWhatHasEndedIsNotSwitchedOn(t *testing.T) {
	w, b := connected(t)
	c := w.connection()
	c.Status, c.Reason = connection.Expired, connection.RefreshRejected
	if _, err := w.vault.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, deed := range []string{"on", "off"} {
		if p := b.undo(t, c.ID, deed); strings.Contains(p.text, `name="do" value="o`) {
			t.Errorf("there is a button:\n%s", p.text)
		}
		if now := w.connection(); now.Status != connection.Expired || now.Reason != connection.RefreshRejected {
			t.Errorf("%s: %s", deed, now.Status)
		}
	}
}

func TestARefreshThatComesBetweenKeepsItsTokenWhenItIsSwitchedOff(t *testing.T) {
	w, b := connected(t)
	w.store.before("put", "connection", func() {
		c := w.connection()
		c.AccessToken = secret.New("renewed meanwhile")
		if _, err := w.vault.Save(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	b.undo(t, w.connection().ID, "off")
	if c := w.connection(); c.Status != connection.Inactive || c.AccessToken.Reveal() != "renewed meanwhile" {
		t.Errorf("%s with %s", c.Status, c.AccessToken.Reveal())
	}
	if n := strings.Count(w.audit.text(), "switched_off"); n != 1 {
		t.Errorf("%d lines in the audit log", n)
	}
}

func TestWithoutAuditNothingIsSwitched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := connected(t)
		id := w.connection().ID
		w.audit.fail = func(audit.Event) error { return errors.New("the disk is full") }
		for _, deed := range []string{"off", "default"} {
			b.undo(t, id, deed).want(t, http.StatusServiceUnavailable, sorry)
		}
		if c := w.connection(); c.Status != connection.Active {
			t.Errorf("%s", c.Status)
		}
	})
}

func TestConnectingAgainInPlaceKeepsEverythingButTheGrant(t *testing.T) {
	w, b := twoAccounts(t)
	bob := w.named("bob@acme.example")
	bob.Label = "home"
	if _, err := w.vault.Save(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	b.undo(t, bob.ID, "default")
	b.undo(t, bob.ID, "off")
	newBrowserAs(w, alice.User).connect(w.linkTo("home"), "bob").want(t, http.StatusOK, "Connected as bob@acme.example")
	after := w.named("home")
	if after.ID != bob.ID || after.Key != bob.Key || after.AccountLabel != bob.AccountLabel || !after.CreatedAt.Equal(bob.CreatedAt) || after.AccessToken.Equal(bob.AccessToken) || after.Status != connection.Active {
		t.Errorf("was %+v, is %+v", bob, after)
	}
	if all := w.accounts(); all.Default != bob.ID {
		t.Errorf("the default is %q", all.Default)
	}
	newBrowserAs(w, alice.User).connect(w.link(alice), "alice")
	if all := w.accounts(); all.Default != bob.ID || !w.connection().NotDefault {
		t.Errorf("after the first was connected again, the default is %q", all.Default)
	}
}

func TestAnotherAccountIsNotPutInThePlaceOfWhatIsConnected(t *testing.T) {
	w, _ := connected(t)
	before := w.connection()
	b := newBrowserAs(w, alice.User)
	p := b.connect(w.link(alice), "bob")
	if p.want(t, http.StatusOK, "Connect Acme?"); !strings.Contains(p.text, "another account than the one that is connected here") {
		t.Errorf("the page says\n%s", p.text)
	}
	if after := w.connection(); after.Version != before.Version || !after.AccessToken.Equal(before.AccessToken) || len(w.accounts().All) != 1 {
		t.Errorf("was %+v, is %+v", before, after)
	}
	if got := w.acme.Stats().Revocations; got != 1 {
		t.Errorf("%d revocations: the new grant is kept by nobody", got)
	}
	w.wantReported("failed not_this_one")
	if got := w.audit.text(); !strings.HasSuffix(got, "link_started, connect_failed not_this_one") {
		t.Errorf("audit: %s", got)
	}
	// With the right account the same link still works.
	right := newBrowserAs(w, alice.User)
	right.connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
}

func TestAnAccountThatCannotBeComparedIsLetIn(t *testing.T) {
	for name, change := range map[string]func(*connection.Connection){
		"a name from an import": func(c *connection.Connection) { c.AccountLabel = "al" },
		"no name":               func(c *connection.Connection) { c.AccountLabel = "" },
		"a grant of another provider's": func(c *connection.Connection) {
			c.AccountLabel, c.Granted.Issuer = "al@old.example", "https://old.example"
		},
	} {
		w, _ := connected(t)
		c := w.connection()
		change(&c)
		if _, err := w.vault.Save(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		newBrowserAs(w, alice.User).connect(w.link(alice), "bob").want(t, http.StatusOK, "Connected as bob@acme.example")
		if now := w.connection(); now.ID != c.ID || now.AccountLabel != "bob@acme.example" {
			t.Errorf("%s: %+v", name, now)
		}
	}
}

// tokens are the token cache by hand.
type tokens struct {
	w     *world
	err   error
	asked []connection.Key
}

func (k *tokens) Token(ctx context.Context, _ *toolkit.Toolkit, key connection.Key) (connection.Connection, error) {
	k.asked = append(k.asked, key)
	if k.err != nil {
		return connection.Connection{}, k.err
	}
	return k.w.named(key.Account), nil
}

func (k *tokens) Refresh(ctx context.Context, tk *toolkit.Toolkit, seen connection.Connection) (connection.Connection, error) {
	k.asked = append(k.asked, seen.Key)
	if k.err != nil {
		return connection.Connection{}, k.err
	}
	g, err := (&oauth.Client{Transport: k.w, Now: k.w.clock.now}).Refresh(ctx, tk.OAuth, seen.RefreshToken)
	if err != nil {
		return connection.Connection{}, err
	}
	seen.AccessToken, seen.RefreshToken = g.AccessToken, g.RefreshToken
	return k.w.vault.Save(ctx, seen)
}

func TestAPersonTriesAConnectionOut(t *testing.T) {
	w, b := twoAccounts(t)
	k := &tokens{w: w}
	w.reload(func(cfg *connect.Config) { cfg.Tokens = k })
	bob := w.named("bob@acme.example")
	press := func(want string) {
		t.Helper()
		if p := b.undo(t, bob.ID, "test"); !strings.Contains(p.text, want) {
			t.Errorf("the page does not say %q:\n%s", want, p.text)
		}
	}
	press("It works")
	if len(k.asked) != 1 || k.asked[0].Account != bob.ID {
		t.Errorf("asked for %+v", k.asked)
	}
	w.away = true
	press("could not be asked")
	w.away = false
	k.err = problem.New(problem.RefreshUnavailable, "refresh", "Later.")
	press("could not be asked")
	k.err = &connection.Unusable{Status: connection.Expired, Reason: connection.RefreshRejected}
	press("does not take the access")
	k.err = nil
	// Taken back at the provider: nothing here changes for it.
	if err := (&oauth.Client{Transport: w, Now: w.clock.now}).Revoke(t.Context(), w.cfg.Toolkits["acme"].Toolkit.OAuth, bob.AccessToken, bob.RefreshToken); err != nil {
		t.Fatal(err)
	}
	press("does not take the access")
	if c := w.named(bob.ID); c.Version != bob.Version {
		t.Errorf("was %+v, is %+v", bob, c)
	}
}

// What is tried out goes where the grant is for, whatever the configuration says today.
func TestATokenIsTriedOutNowhereElse(t *testing.T) {
	w, b := connected(t)
	w.reload(func(cfg *connect.Config) { cfg.Tokens = &tokens{w: w} })
	c := w.connection()
	c.Granted.Hosts = []string{"https://elsewhere.example"}
	if _, err := w.vault.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	calls := w.acme.Stats().APICalls
	if p := b.undo(t, c.ID, "test"); !strings.Contains(p.text, "does not take the access") || w.acme.Stats().APICalls != calls {
		t.Errorf("%d calls more, and\n%s", w.acme.Stats().APICalls-calls, p.text)
	}
}

func TestAPersonRenewsTheAccessNow(t *testing.T) {
	w, b := connected(t)
	k := &tokens{w: w}
	w.reload(func(cfg *connect.Config) { cfg.Tokens = k })
	before := w.connection()
	if p := b.undo(t, before.ID, "refresh"); !strings.Contains(p.text, "The access was renewed") {
		t.Errorf("the page says\n%s", p.text)
	}
	if now := w.connection(); now.AccessToken.Equal(before.AccessToken) || w.acme.Stats().Refreshes != 1 {
		t.Errorf("%d refreshes, %+v", w.acme.Stats().Refreshes, now)
	}
	k.err = problem.New(problem.RefreshUnavailable, "refresh", "Later.").Because(errors.New("the endpoint is away"))
	if p := b.undo(t, before.ID, "refresh"); !strings.Contains(p.text, "could not be renewed just now") {
		t.Errorf("the page says\n%s", p.text)
	}
	w.wantReported("trouble refresh")
	b.undo(t, before.ID, "off")
	asked := len(k.asked)
	if p := b.undo(t, before.ID, "refresh"); strings.Contains(p.text, `value="refresh"`) || len(k.asked) != asked {
		t.Errorf("what rests is renewed:\n%s", p.text)
	}
}

func TestAPersonSeesWhenAConnectionWasLastUsed(t *testing.T) {
	w, b := connected(t)
	if p := b.get(mine); !strings.Contains(p.text, "Not yet") {
		t.Errorf("the page says\n%s", p.text)
	}
	c := w.connection()
	c.LastUsed = time.Date(2026, 11, 19, 14, 5, 0, 0, time.UTC)
	if _, err := w.vault.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if p := b.get(mine); !strings.Contains(p.text, "19 November 2026, 14:05") || strings.Contains(p.text, "Not yet") {
		t.Errorf("the page says\n%s", p.text)
	}
	newBrowserAs(w, alice.User).connect(w.link(alice), "alice") // in place
	if got := w.connection().LastUsed; !got.Equal(c.LastUsed) {
		t.Errorf("connected again, last used %s", got)
	}
}

// An agent asks for an account of one toolkit by the id of another toolkit's, and the user
// connects. What the user then takes back is what the button stands at.
func TestAButtonIsOfTheConnectionThatItStandsAt(t *testing.T) {
	w, _ := connected(t, threeToolkits(t))
	acme := w.connection()
	newBrowserAs(w, alice.User).connect(w.ask(connect.Ask{Toolkits: []string{"second"}, Account: acme.ID}).URL, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	key := connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: "second"}
	if second, err := w.vault.Load(t.Context(), key); err != nil || second.ID != acme.ID {
		t.Fatalf("%+v, %v", second, err)
	}
	b := newBrowserAs(w, alice.User)
	b.undo(t, acme.ID, "disconnect").want(t, http.StatusOK, "What you have connected") // by what two are called
	if len(w.gone) != 0 {
		t.Errorf("gone: %v", w.gone)
	}
	p := b.get(mine)
	_, row, _ := strings.Cut(p.text, "<h2>Second</h2>")
	_, row, _ = strings.Cut(row, `name="id" value="`)
	id, _, _ := strings.Cut(row, `"`)
	b.undo(t, id, "disconnect")
	if !slices.Equal(w.gone, []connection.Key{key}) {
		t.Errorf("gone: %v", w.gone)
	}
	b.undo(t, acme.ID, "off") // which is the only one now
	if w.connection().Status != connection.Inactive {
		t.Error("the one that is left cannot be switched off")
	}
}
