// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// forget is what `toolgate users forget` does.
func (w *world) forget(t *testing.T, user string) (connect.Forgotten, int) {
	t.Helper()
	if _, err := w.links().RevokeOf(t.Context(), alice.Tenant, user); err != nil {
		t.Fatal(err)
	}
	ring, err := seal.ParseRing(strings.Repeat("0123456789abcdef", seal.KeySize/8))
	if err != nil {
		t.Fatal(err)
	}
	traces, err := custody.New(w.store, ring, w.clock.now).Remove(t.Context(), custody.Step{}, func(name string, open func() []byte) bool {
		return connect.TraceOf(alice.Tenant, user, name, open)
	})
	if err != nil || !traces.Done {
		t.Fatalf("%+v, %v", traces, err)
	}
	done, err := w.service.Forget(t.Context(), "req", alice.Tenant, user)
	if err != nil {
		t.Fatal(err)
	}
	return done, traces.Removed
}

// all is every record that there is, in the clear where the vault can.
func (w *world) all(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	records, err := w.store.Scan(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		d, err := w.vault.Get(t.Context(), r.Key)
		if err == nil {
			text.WriteString(r.Key + " " + strings.Join(r.Index, " ") + " " + string(d.Plain) + "\n")
		} else {
			text.WriteString(r.Key + "\n")
		}
	}
	return text.String()
}

func TestNothingIsLeftOfAUserWhoIsForgotten(t *testing.T) {
	w, b := twoAccounts(t)
	b.undo(t, w.named("bob@acme.example").ID, "default")
	w.link(alice)
	w.linkTo("club")
	underWay := newBrowserAs(w, alice.User).consent(w.linkTo("carol@acme.example"), "carol")
	other := caller.Caller{Tenant: alice.Tenant, Agent: alice.Agent, User: "user-2"}
	othersLink := w.link(other)
	newBrowserAs(w, other.User).connect(othersLink, "carol").want(t, http.StatusOK, "Connected as carol@acme.example")
	w.link(caller.Caller{Tenant: "other-inc", Agent: alice.Agent, User: alice.User}) // of the same name elsewhere
	w.damage(t, connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: "acme", Account: "conn_damaged"})

	done, traces := w.forget(t, alice.User)
	if done.Connections != 2 || done.Revoked != 2 || done.Pending != 0 || done.Records != 2 || traces < 6 {
		t.Errorf("%+v and %d traces", done, traces)
	}
	for line := range strings.Lines(w.all(t)) {
		if strings.Contains(line, alice.User) && !strings.Contains(line, "other-inc") {
			t.Errorf("left: %s", line)
		}
	}
	if got := w.audit.text(); !strings.Contains(got, "user_forgotten, disconnected, disconnected") {
		t.Errorf("audit: %s", got)
	}
	// Who was on the way does not come back by it.
	newBrowserAs(w, alice.User).get(underWay).want(t, http.StatusNotFound, "This link is not known here")
	w.notConnected()
	// Nobody else was touched.
	if conn, err := w.vault.Load(t.Context(), connection.Key{Tenant: other.Tenant, User: other.User, Toolkit: "acme"}); err != nil || conn.AccountLabel != "carol@acme.example" {
		t.Errorf("%+v, %v", conn, err)
	}
	if text := w.all(t); strings.Count(text, `"tenant":"other-inc"`) != 2 || !strings.Contains(text, `"user":"user-2"`) {
		t.Errorf("others' links:\n%s", text)
	}
	// And once more is no error.
	if done, traces := w.forget(t, alice.User); done != (connect.Forgotten{}) || traces != 0 {
		t.Errorf("again: %+v and %d", done, traces)
	}
}

// damage puts a record in a connection's place that no key opens.
func (w *world) damage(t *testing.T, key connection.Key) {
	t.Helper()
	name := vault.Name("connection", key.Tenant, key.User, key.Toolkit, key.Account)
	err := w.store.Put(t.Context(), store.Record{Key: name, Value: []byte("damaged"), Version: 1, Index: []string{vault.Name("user", key.Tenant, key.User)}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAGrantOfAForgottenUserIsTakenBackLaterWhereTheProviderIsAway(t *testing.T) {
	w, _ := connected(t)
	token := w.connection().AccessToken.Reveal()
	w.away = true
	if done, _ := w.forget(t, alice.User); done.Connections != 1 || done.Revoked != 0 || done.Pending != 1 {
		t.Errorf("%+v", done)
	}
	w.notConnected()
	w.away = false
	w.clock.pass(2 * time.Minute)
	if done, left, err := w.service.RetryRevocations(t.Context()); done != 1 || left != 0 || err != nil {
		t.Errorf("%d, %d, %v", done, left, err)
	}
	if r, _ := http.NewRequest("GET", acmeURL+"/v1/me", nil); w.apiStatus(r, token) != http.StatusUnauthorized {
		t.Error("the token still works at Acme")
	}
	if text := w.all(t); strings.Contains(text, alice.User) {
		t.Errorf("left:\n%s", text)
	}
}

// lateVault is one to which a callback, at another gateway say, saves what it has after the
// last look at what the user has.
type lateVault struct {
	connect.Vault
	late func()
}

func (v *lateVault) EraseUser(ctx context.Context, tenant, user string) (int, error) {
	if late := v.late; late != nil {
		v.late = nil
		late()
	}
	return v.Vault.EraseUser(ctx, tenant, user)
}

func TestWhatIsConnectedInTheLastMomentIsTakenBackToo(t *testing.T) {
	w, _ := connected(t)
	conn := w.connection()
	conn.Version = 0
	w.damage(t, connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: "acme", Account: "conn_damaged"})
	w.reload(func(cfg *connect.Config) {
		cfg.Vault = &lateVault{w.vault, func() {
			if _, err := w.vault.Save(t.Context(), conn); err != nil {
				t.Error(err)
			}
		}}
	})
	if done, _ := w.forget(t, alice.User); done.Connections != 2 || done.Revoked != 2 || done.Records != 1 {
		t.Errorf("%+v", done)
	}
	w.notConnected()
	if len(w.gone) != 2 {
		t.Errorf("told that these are gone: %v", w.gone)
	}
}

func TestWithoutAuditNobodyIsForgotten(t *testing.T) {
	w, _ := connected(t)
	w.audit.fail = func(audit.Event) error { return errors.New("the disk is full") }
	if _, err := w.service.Forget(t.Context(), "req", alice.Tenant, alice.User); err == nil {
		t.Error("it was done")
	}
	w.connection() // is there
}

// What was set aside has its old name within the new one. Names can be made to look alike.
func TestTracesAreOfOneUserAlone(t *testing.T) {
	never := func() []byte { return nil }
	link := func() []byte { return []byte(`{"tenant":"acme","user":"ada"}`) }
	for name, want := range map[string]bool{
		"link-for/acme/bot/ada/github": true, "link-for/acme/bot/ada/github/work": true, "link-for/acme/ada/bob/github": false,
		"link-for/ada/bot/acme/github": false, "link-for/acme/bot/ada%2Fx/github": false, "link-for/acme/bot": false,
		"aside/0123/connection/acme/ada/github/": true, "aside/0123/7/connection/acme/ada/github/conn_2": true,
		"aside/0123/connection/connection/acme/ada/": false, "aside/0123/1/connection/connection/acme/ada/": false,
		"aside/0123/connection/acme/adam/github/": false, "aside/0123/link/acme/ada": false, "aside/0123/flow/x": false,
		"connection/acme/ada/github/": false, "canary": false, "flow/x": false, "revocation/x": false, "": false,
	} {
		if got := connect.TraceOf("acme", "ada", name, never); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for user, want := range map[string]bool{"ada": true, "bob": false} {
		for _, kind := range []string{"link/x", "account-link/x"} {
			if got := connect.TraceOf("acme", user, kind, link); got != want {
				t.Errorf("%s of %s: %v", kind, user, got)
			}
		}
	}
	if connect.TraceOf("", "", "link/x", never) {
		t.Error("what cannot be opened is anybody's")
	}
}
