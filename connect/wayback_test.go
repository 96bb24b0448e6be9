// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/vault"
)

const theApp = "https://app.example/done?from=chat"

func backToTheApp(cfg *connect.Config) {
	cfg.MayCallBack = func(who caller.Caller, address string) bool {
		return who.Agent == alice.Agent && who.Tenant == alice.Tenant && address == theApp
	}
}

func (w *world) linkBack(toolkits ...string) string {
	w.t.Helper()
	l, err := w.service.LinkFor(w.t.Context(), alice, connect.Ask{Toolkits: toolkits, CallbackURL: theApp})
	if err != nil {
		w.t.Fatal(err)
	}
	return l.URL
}

func TestAtTheEndTheBrowserGoesToTheApplication(t *testing.T) {
	w := newWorld(t, threeToolkits(t), backToTheApp)
	b, link := newBrowser(w), w.linkBack("acme")
	p := b.get(link)
	p.says(t, "Afterwards you go back to app.example")
	res := b.send(http.MethodGet, b.consent(link, "alice"), nil, "cross-site")
	if got := res.Header.Get("Location"); got != theApp+"&status=connected&toolkit=acme" {
		t.Errorf("sent to %q", got)
	}
	if res.Header.Get("Referrer-Policy") != "no-referrer" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("with %v", res.Header)
	}
	w.connectedTo("acme")
	p = b.get(link) // the back button
	p.want(t, http.StatusOK, "Connected as alice@acme.example")
	if !strings.Contains(p.text, `href="https://app.example/done?from=chat&amp;status=connected&amp;toolkit=acme"`) {
		t.Errorf("there is no way back on\n%s", p.text)
	}
}

func TestWhoSaysNoGoesToTheApplication(t *testing.T) {
	w := newWorld(t, backToTheApp)
	b, link := newBrowser(w), w.linkBack("acme")
	res := b.send(http.MethodGet, b.answer(b.toProvider(link), "alice", "deny"), nil, "cross-site")
	if got := res.Header.Get("Location"); got != theApp+"&status=denied&toolkit=acme" {
		t.Errorf("sent to %q", got)
	}
	p := b.get(link) // who thinks better of it
	p.says(t, "You declined", "Go back without connecting")
	if !strings.Contains(p.text, "status=denied") {
		t.Error(p.text)
	}
	res = b.send(http.MethodGet, b.consent(link, "alice"), nil, "cross-site")
	if got := res.Header.Get("Location"); got != theApp+"&status=connected&toolkit=acme" {
		t.Errorf("sent to %q", got)
	}
}

func TestWhatElseGoesWrongIsToldBeforeTheUserGoesBack(t *testing.T) {
	w := newWorld(t, threeToolkits(t), backToTheApp)
	b, link := newBrowser(w), w.linkBack("acme")
	p := b.get(comeBack(t, b.toProvider(link).address, "error", "server_error"))
	p.want(t, http.StatusOK, "Connect Acme?")
	if !strings.Contains(p.text, "status=failed&amp;toolkit=acme") || strings.Contains(p.text, "server_error") {
		t.Error(p.text)
	}
	newBrowser(w).get(link).hides(t, "status=") // another browser is not told how it went

	p = b.press(b.get(w.linkBack("keys")), "key.key", badKey)
	p.want(t, http.StatusOK, "Connect Keys?")
	if !strings.Contains(p.text, "status=failed&amp;toolkit=keys") {
		t.Error(p.text)
	}
	form := formOf(t, p).fields
	form.Set("key.key", goodKey)
	res := b.send(http.MethodPost, p.address, form, "same-origin")
	if got := res.Header.Get("Location"); got != theApp+"&status=connected&toolkit=keys" {
		t.Errorf("sent to %q", got)
	}
}

func TestWhoCancelsGoesToTheApplication(t *testing.T) {
	w := newWorld(t, threeToolkits(t), backToTheApp)
	for link, toolkits := range map[string]string{w.linkBack("acme"): "acme", w.linkBack("acme", "keys"): "acme%2Ckeys"} {
		b := newBrowser(w)
		form := formOf(t, b.get(link)).fields
		form.Set("go", "cancel")
		res := b.send(http.MethodPost, link, form, "same-origin")
		if got := res.Header.Get("Location"); got != theApp+"&status=cancelled&toolkit="+toolkits {
			t.Errorf("sent to %q", got)
		}
		b.get(link).want(t, http.StatusGone, calledOff)
	}
}

func TestWithALinkForSeveralTheBrowserGoesBackWhenAllAreConnected(t *testing.T) {
	w := newWorld(t, threeToolkits(t), backToTheApp)
	b, link := newBrowser(w), w.linkBack("acme", "second")
	b.connectFor(link, "acme", "alice").says(t, "1 of 2 connected", "Afterwards you go back to app.example")
	b.get(b.answer(b.pressFor(b.get(link), "second"), "alice", "deny")).says(t, "You declined")
	res := b.send(http.MethodGet, b.answer(b.pressFor(b.get(link), "second"), "alice", "allow"), nil, "cross-site")
	if got := res.Header.Get("Location"); got != theApp+"&status=connected&toolkit=acme%2Csecond" {
		t.Errorf("sent to %q", got)
	}
}

func TestAnAddressThatIsNotAllowedIsNoWayBack(t *testing.T) {
	w := newWorld(t, threeToolkits(t), backToTheApp)
	for _, address := range []string{"https://evil.example/", theApp + "x", "https://app.example/done"} {
		for _, toolkits := range [][]string{{"acme"}, {"acme", "keys"}} {
			_, err := w.service.LinkFor(t.Context(), alice, connect.Ask{Toolkits: toolkits, CallbackURL: address})
			if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Code != problem.BadRequest || !strings.Contains(p.Detail, "callback_urls") {
				t.Errorf("%s: %v", address, err)
			}
		}
	}
	other := alice
	other.Agent = "other-bot"
	if _, err := w.service.LinkFor(t.Context(), other, connect.Ask{Toolkits: []string{"acme"}, CallbackURL: theApp}); err == nil {
		t.Error("another agent's address is taken")
	}
	// And one that is not allowed any more.
	b, link := newBrowser(w), w.linkBack("acme")
	w.reload(func(cfg *connect.Config) { cfg.MayCallBack = nil })
	p := b.get(b.consent(link, "alice"))
	p.want(t, http.StatusOK, "Connected as alice@acme.example")
	p.hides(t, "app.example")
}

func TestTheAddressIsPartOfWhatALinkIsFor(t *testing.T) {
	w := newWorld(t, threeToolkits(t), backToTheApp)
	back, plain := w.linkBack("acme"), w.link(alice)
	if back == plain || back != w.linkBack("acme") || plain != w.linkFor(alice, "acme") {
		t.Error("they are mixed up")
	}
	b := newBrowser(w)
	b.toProvider(back)
	w.wantStatus(t, "pending", "connect_pending")
	if d, err := w.vault.Get(t.Context(), linkRecordName(back)); err != nil || !slices.Contains(d.Index, vault.Name("links-together-of", alice.Tenant, alice.User)) {
		t.Errorf("%v %v", d.Index, err)
	}
}

func TestALateLinkStillLeadsBack(t *testing.T) {
	w := newWorld(t, backToTheApp, behindASite)
	link := w.linkBack("acme")
	w.clock.pass(time.Hour)
	b := newBrowserAs(w, alice.User)
	res := b.send(http.MethodGet, b.consent(link, "alice"), nil, "cross-site")
	if got := res.Header.Get("Location"); got != theApp+"&status=connected&toolkit=acme" {
		t.Errorf("sent to %q", got)
	}
}

// Chromium applies form-action to every redirect that follows the form.
func TestTheFormMayLeadToTheApplication(t *testing.T) {
	w := newWorld(t, threeToolkits(t), func(cfg *connect.Config) {
		cfg.MayCallBack = func(_ caller.Caller, address string) bool { return true }
		for _, id := range []string{"acme", "second"} {
			cfg.Toolkits[id].Toolkit.OAuth.AuthorizeURL = "http://127.0.0.1:9090/authorize"
		}
	})
	for address, origin := range map[string]string{"http://localhost:3000/done": " http://localhost:3000", theApp: " https://app.example https:"} {
		for toolkits, provider := range map[string]string{"acme": " http://127.0.0.1:9090", "keys": "", "acme second": " http://127.0.0.1:9090"} {
			l, err := w.service.LinkFor(t.Context(), alice, connect.Ask{Toolkits: strings.Fields(toolkits), CallbackURL: address})
			if err != nil {
				t.Fatal(err)
			}
			policy := newBrowser(w).get(l.URL).header.Get("Content-Security-Policy")
			if want := "; form-action 'self'" + provider + origin; !strings.HasSuffix(policy, want) {
				t.Errorf("%s: %q, want %q", toolkits, policy, want)
			}
		}
	}
}
