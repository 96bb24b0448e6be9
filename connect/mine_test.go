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
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/toolkit"
)

const mine = public + "/connections"

// connected is a world where alice has connected Acme, and her browser.
func connected(t *testing.T, changes ...func(*connect.Config)) (*world, *browser) {
	t.Helper()
	w := newWorld(t, append([]func(*connect.Config){behindASite}, changes...)...)
	b := newBrowserAs(w, alice.User)
	b.connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	return w, b
}

func TestAPersonSeesAndTakesBackWhatIsConnected(t *testing.T) {
	w, b := connected(t)
	token := w.connection().AccessToken.Reveal()
	p := b.get(mine)
	p.want(t, http.StatusOK, "What you have connected")
	for _, text := range []string{"Acme", "alice@acme.example", "works", "20 November 2026", "offline_access", "user-1"} {
		if !strings.Contains(p.text, text) {
			t.Errorf("the page does not say %q:\n%s", text, p.text)
		}
	}
	if strings.Contains(p.text, token) || strings.Contains(p.text, "Mine") {
		t.Errorf("the page says too much:\n%s", p.text)
	}
	p = b.press(p)
	p.want(t, http.StatusOK, "What you have connected")
	if !strings.Contains(p.text, "taken back at the other service too") || !strings.Contains(p.text, "Nothing is connected") {
		t.Errorf("afterwards:\n%s", p.text)
	}
	w.notConnected()
	if !slices.Equal(w.gone, []connection.Key{aliceKey}) {
		t.Errorf("told of %v", w.gone)
	}
	if r, _ := http.NewRequest("GET", acmeURL+"/v1/me", nil); w.apiStatus(r, token) != http.StatusUnauthorized {
		t.Error("the token still works at Acme")
	}
	if got := w.audit.text(); !strings.HasSuffix(got, "connected, disconnected") {
		t.Errorf("audit: %s", got)
	}
	w.wantReported("disconnected")
	if d, _, err := w.vault.OfTerm(t.Context(), "revocation", "", 10); err != nil || len(d) != 0 {
		t.Errorf("left to revoke: %d, %v", len(d), err)
	}
}

func (w *world) apiStatus(r *http.Request, token string) int {
	w.t.Helper()
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := w.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode
}

func TestNobodySeesOrTakesBackWhatIsAnothers(t *testing.T) {
	w, b := connected(t)
	page := b.get(mine)
	id := w.connection().ID
	mallory := newBrowserAs(w, "mallory")
	p := mallory.get(mine)
	if !strings.Contains(p.text, "Nothing is connected") {
		t.Errorf("mallory sees:\n%s", p.text)
	}
	form := formOf(t, page)
	if form.fields.Get("id") != id {
		t.Fatalf("the form holds %v", form.fields)
	}
	// With alice's browser's cookie and form, and still as herself.
	mallory.cookies["connect.example.com"]["__Host-toolgate"] = b.cookies["connect.example.com"]["__Host-toolgate"]
	mallory.navigate("POST", mine, form.fields, "same-origin").want(t, http.StatusOK, "What you have connected")
	newBrowser(w).get(mine).want(t, http.StatusForbidden, "Please sign in first")
	// And nobody makes alice do it.
	b.navigate("POST", mine, form.fields, "cross-site").want(t, http.StatusForbidden, "This was not sent from our page")
	form.fields.Set("token", "x")
	p = b.navigate("POST", mine, form.fields, "same-origin")
	if !strings.Contains(p.text, "press the button once more") {
		t.Errorf("with another token:\n%s", p.text)
	}
	w.connection() // is there
	if !slices.Equal(w.gone, nil) {
		t.Errorf("gone: %v", w.gone)
	}
}

func TestADoubleClickDisconnectsOnce(t *testing.T) {
	w, b := connected(t)
	p := b.get(mine)
	b.press(p)
	b.press(p).want(t, http.StatusOK, "What you have connected")
	if len(w.gone) != 1 || strings.Count(w.audit.text(), "disconnected") != 1 {
		t.Errorf("gone %v, audit %s", w.gone, w.audit.text())
	}
}

func TestAProviderThatIsAwayIsToldLater(t *testing.T) {
	w, b := connected(t)
	token := w.connection().AccessToken.Reveal()
	w.away = true
	p := b.press(b.get(mine))
	if !strings.Contains(p.text, "could not be told yet") {
		t.Errorf("afterwards:\n%s", p.text)
	}
	w.notConnected()
	w.wantReported("revocation_pending")
	for range 3 {
		w.clock.pass(revokePause)
		if done, left, err := w.service.RetryRevocations(t.Context()); done != 0 || left != 1 || err != nil {
			t.Errorf("while it is away: %d done, %d left, %v", done, left, err)
		}
	}
	w.away = false
	if done, left, _ := w.service.RetryRevocations(t.Context()); done != 0 || left != 1 {
		t.Errorf("it is asked without a pause: %d done, %d left", done, left)
	}
	w.clock.pass(revokePause)
	if done, left, err := w.service.RetryRevocations(t.Context()); done != 1 || left != 0 || err != nil {
		t.Errorf("once it is back: %d done, %d left, %v", done, left, err)
	}
	if r, _ := http.NewRequest("GET", acmeURL+"/v1/me", nil); w.apiStatus(r, token) != http.StatusUnauthorized {
		t.Error("the token still works at Acme")
	}
	if done, left, err := w.service.RetryRevocations(t.Context()); done != 0 || left != 0 || err != nil {
		t.Errorf("afterwards: %d done, %d left, %v", done, left, err)
	}
}

// revokePause is longer than the first pauses between tries.
const revokePause = 10 * time.Minute

func TestOnlyTheClientThatGotItRevokesAGrant(t *testing.T) {
	for name, change := range map[string]func(*world){
		"no endpoint":     func(w *world) { w.cfg.Toolkits["acme"].Toolkit.OAuth.RevokeURL = "" },
		"another client":  func(w *world) { w.cfg.Toolkits["acme"].Toolkit.OAuth.ClientID = "new" },
		"another issuer":  func(w *world) { w.cfg.Toolkits["acme"].Toolkit.OAuth.Issuer = "https://new.example" },
		"toolkit is gone": func(w *world) { delete(w.cfg.Toolkits, "acme") },
	} {
		w, b := connected(t)
		w.reload(func(*connect.Config) { change(w) })
		p := b.press(b.get(mine))
		if !strings.Contains(p.text, "remove it from the connected apps there") {
			t.Errorf("%s: afterwards:\n%s", name, p.text)
		}
		w.notConnected()
		if len(w.gone) != 1 {
			t.Errorf("%s: gone %v", name, w.gone)
		}
	}
}

func TestNothingIsTakenAwayThatCannotBeRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := connected(t)
		w.audit.fail = func(e audit.Event) error {
			if e == audit.Disconnected {
				return errors.New("the disk is full")
			}
			return nil
		}
		b.press(b.get(mine)).want(t, http.StatusServiceUnavailable, "That did not work just now")
		w.connection()
	})
}

func TestOfTwoConnectionsOneIsTakenBack(t *testing.T) {
	w, b := connected(t)
	other, err := w.vault.Save(t.Context(), connection.Connection{
		Key: connection.Key{Tenant: "other-inc", User: alice.User, Toolkit: "other"}, ID: "conn_other", Status: connection.Expired, CreatedAt: w.clock.now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	p := b.get(mine)
	if acme, other := strings.Index(p.text, ">Acme<"), strings.Index(p.text, ">Other<"); acme < 0 || other < acme || !strings.Contains(p.text, "connect again from your chat") {
		t.Errorf("the page:\n%s", p.text)
	}
	b.press(p, "id", other.ID)
	w.connection()
	if !slices.Equal(w.gone, []connection.Key{other.Key}) {
		t.Errorf("gone: %v", w.gone)
	}
	b.press(b.get(mine), "id", "conn_unknown").want(t, http.StatusOK, "What you have connected")
	w.connection()
}

// A refresh in the same moment gives the grant another token, and that one is revoked.
func TestTheTokenThatIsRevokedIsTheLatest(t *testing.T) {
	w, b := connected(t)
	p := b.get(mine)
	var renewed connection.Connection
	w.store.before("delete", "connection", func() {
		conn := w.connection()
		conn.RefreshToken = secret.New("the-latest")
		var err error
		if renewed, err = w.vault.Save(t.Context(), conn); err != nil {
			t.Error(err)
		}
	})
	var sent []string
	w.reload(func(cfg *connect.Config) {
		cfg.Revoker = revoker(func(_, refresh string) error { sent = append(sent, refresh); return nil })
	})
	b.press(p)
	w.notConnected()
	if renewed.ID == "" || !slices.Equal(sent, []string{"the-latest"}) {
		t.Errorf("revoked %q", sent)
	}
	if d, _, err := w.vault.OfTerm(t.Context(), "revocation", "", 10); err != nil || len(d) != 0 {
		t.Errorf("left to revoke: %d, %v", len(d), err)
	}
}

func TestAStoreThatIsAwayLosesNoGrant(t *testing.T) {
	for _, op := range []string{"put revocation", "delete connection"} {
		synctest.Test(t, func(t *testing.T) { // it is tried for seconds
			w, b := connected(t)
			p := b.get(mine)
			w.store.failWith(func(o, key string) error {
				if kind, _, _ := strings.Cut(key, "/"); o+" "+kind == op {
					return store.ErrUnavailable
				}
				return nil
			})
			b.press(p).want(t, http.StatusServiceUnavailable, "That did not work just now")
			w.store.works()
			w.connection() // is there, and works
			b.press(b.get(mine))
			w.notConnected()
		})
	}
}

func TestTheListIsForThoseWhoSignIn(t *testing.T) {
	idp := &signIn{user: alice.User}
	w := newWorld(t, func(cfg *connect.Config) { cfg.SignIn = idp })
	b := newBrowser(w)
	p := b.get(mine)
	p.want(t, http.StatusOK, "Is it you?")
	b.signedIn(p).want(t, http.StatusOK, "What you have connected")
	plain := newWorld(t)
	newBrowser(plain).get(mine).want(t, http.StatusForbidden, "This page is not available here")
}

func TestTheOperatorsApplicationOpensTheListToo(t *testing.T) {
	w := newWorld(t, atTheApplication)
	b := newBrowser(w)
	b.halt = "/verify"
	flow := mustParse(t, b.press(b.get(mine)).next).Query().Get("flow_id")
	b.halt = ""
	b.get(w.confirm(flow, alice.User)).want(t, http.StatusOK, "What you have connected")
}

// revoker is a revocation endpoint by hand.
type revoker func(access, refresh string) error

func (f revoker) Revoke(_ context.Context, _ *toolkit.OAuth2, access, refresh secret.String) error {
	return f(access.Reveal(), refresh.Reveal())
}

// Of one client and one account, there is one grant at the provider, and RFC 7009 ends
// all of it.
func TestAGrantThatOthersUseIsEndedByTheLastOne(t *testing.T) {
	for _, style := range []toolkit.RevokeStyle{"", toolkit.RevokeDelete} {
		var sent []string
		w, b := connected(t, func(cfg *connect.Config) {
			cfg.Revoker = revoker(func(access, _ string) error { sent = append(sent, access); return nil })
			cfg.Toolkits["acme"].Toolkit.OAuth.RevokeStyle = style
		})
		first := w.connection()
		second := first
		second.Key, second.ID, second.Version, second.AccessToken = connection.Key{Tenant: "other-inc", User: alice.User, Toolkit: "acme"}, "conn_2", 0, secret.New("second")
		stranger := second // another account of the same client shares nothing
		stranger.User, stranger.ID, stranger.AccountLabel = "stranger", "conn_3", "bob@acme.example"
		for _, c := range []connection.Connection{second, stranger} {
			if _, err := w.vault.Save(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		b.press(b.get(mine), "id", first.ID)
		if (len(sent) == 1) != (style == toolkit.RevokeDelete) {
			t.Errorf("%q: while another one uses it: revoked %q", style, sent)
		}
		b.press(b.get(mine), "id", second.ID)
		if sent[len(sent)-1] != "second" {
			t.Errorf("%q: of the last one: revoked %q", style, sent)
		}
	}
}
