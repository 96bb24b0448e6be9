// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/tokencache/vault"
)

const calledOff = "This link was called off"

func (w *world) links() *connect.Links {
	return &connect.Links{Vault: w.vault, Audit: w.audit, Now: w.clock.now}
}

func (b *browser) cancels(p *page) *page {
	b.w.t.Helper()
	return b.press(p, "go", "cancel")
}

func TestWhoDidNotAskForALinkCallsItOff(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	for name, link := range map[string]string{"one": w.link(alice), "several": w.linkFor(alice, "acme", "keys"), "a key": w.linkFor(alice, "keys")} {
		b := newBrowser(w)
		open := b.get(link)
		p := b.cancels(open)
		p.want(t, http.StatusGone, calledOff)
		if p.address != link {
			t.Errorf("%s: it ends at %s", name, p.address)
		}
		newBrowser(w).get(link).want(t, http.StatusGone, calledOff)
		b.press(open).want(t, http.StatusGone, calledOff)
	}
	w.wantReported("cancelled")
	if got := w.audit.text(); got != strings.TrimSuffix(strings.Repeat("link_cancelled user, ", 4), ", ") {
		t.Errorf("audit: %s", got)
	}
	w.connectedTo()
	newBrowser(w).get(w.linkFor(alice, "acme", "keys")).want(t, http.StatusOK, "Connect 2 services") // a fresh one
	newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
}

func TestASignInThatIsUnderWayEndsWithItsLink(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	callback := b.consent(link, "alice")
	w.wantStatus(t, connection.Pending, connection.ConnectPending)
	b.cancels(b.get(link))
	w.wantStatus(t, connection.NotConnected, connection.NoConnection)
	b.get(callback).want(t, http.StatusGone, calledOff)
	if n := w.acme.Stats().TokenRequests; n != 0 {
		t.Error("the code was spent")
	}
	w.notConnected()
}

func TestASignInThatIsUnderWayEndsWithALinkForSeveral(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second")
	b.pressFor(b.get(link), "acme")
	w.wantStatus(t, connection.Pending, connection.ConnectPending)
	b.cancels(b.get(link))
	w.wantStatus(t, connection.NotConnected, connection.NoConnection)
}

func TestCancellingHasTheLastWord(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	callback := b.consent(link, "alice")
	exchange := w.cfg.Exchanger
	w.reload(func(cfg *connect.Config) {
		cfg.Exchanger = exchanger(func(ctx context.Context, code, verifier string) (oauth.Grant, error) {
			// While the code is being spent, the operator forgets the user.
			if n, err := w.links().RevokeOf(ctx, alice.Tenant, alice.User); n != 1 || err != nil {
				t.Errorf("%d links ended, %v", n, err)
			}
			return exchange.Exchange(ctx, cfg.Toolkits["acme"].Toolkit.OAuth, code, verifier, connect.RedirectURI(cfg.PublicURL, "acme"))
		})
	})
	b.get(callback).want(t, http.StatusGone, calledOff)
	w.notConnected()
	if n := w.acme.Stats().Revocations; n != 1 {
		t.Errorf("%d grants were given back", n)
	}
	if !slices.Contains(w.gone, aliceKey) {
		t.Error("nobody was told that the connection is gone")
	}
}

func TestOnlyItsOwnUserCallsALinkOff(t *testing.T) {
	w := newWorld(t, behindASite)
	link := w.link(alice)
	b := newBrowserAs(w, alice.User)
	open := b.get(link)
	b.as("mallory")
	b.cancels(open).want(t, http.StatusForbidden, "This link is for somebody else")
	other := newBrowserAs(w, alice.User)
	other.get(link)
	fields := url.Values{"go": {"cancel"}, "token": formOf(t, open).fields["token"]}
	other.navigate("POST", link, fields, "same-origin").want(t, http.StatusForbidden, "Connect Acme?") // another browser's token
	other.navigate("POST", link, fields, "cross-site").want(t, http.StatusForbidden, "This was not sent from our page")
	b.as(alice.User)
	b.connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	b.press(open, "go", "cancel").want(t, http.StatusGone, "This link has done its work")
}

func TestWhatIsConnectedStaysWhenTheRestIsCalledOff(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second")
	b.connectFor(link, "acme", "alice")
	b.cancels(b.get(link)).want(t, http.StatusGone, calledOff)
	w.connectedTo("acme")
}

func TestALinkThatIsCalledOffDoesNotGoOnLater(t *testing.T) {
	w := newWorld(t, behindASite)
	link := w.link(alice)
	w.clock.pass(time.Hour)
	b := newBrowserAs(w, alice.User)
	open := b.get(link)
	b.cancels(open).want(t, http.StatusGone, calledOff)
	b.press(open).want(t, http.StatusGone, calledOff)
}

func TestCancellingIsRecordedOrNotDone(t *testing.T) {
	w := newWorld(t)
	link := w.link(alice)
	open := newBrowser(w)
	p := open.get(link)
	w.audit.fail = func(audit.Event) error { return errors.New("the disk is full") }
	open.cancels(p).want(t, http.StatusServiceUnavailable, "That did not work just now")
	w.wantReported("trouble cancel")
	w.audit.fail = nil
	open.get(link).want(t, http.StatusOK, "Connect Acme?")
}

func TestEveryLinkOfAUserEndsWhenTheyAreForgotten(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	bot := caller.Caller{Tenant: alice.Tenant, Agent: "other-bot", User: alice.User}
	theirs := []string{w.link(alice), w.link(bot), w.linkFor(alice, "acme", "keys")}
	used := w.linkFor(alice, "second")
	b := newBrowser(w)
	b.connect(used, "alice")
	others := []string{w.link(caller.Caller{Tenant: alice.Tenant, Agent: alice.Agent, User: "user-2"}), w.link(caller.Caller{Tenant: "other-inc", Agent: alice.Agent, User: alice.User})}

	if n, err := w.links().RevokeOf(t.Context(), alice.Tenant, alice.User); n != 3 || err != nil {
		t.Errorf("%d links ended, %v", n, err)
	}
	for _, link := range theirs {
		newBrowser(w).get(link).want(t, http.StatusGone, calledOff)
	}
	for _, link := range others {
		newBrowser(w).get(link).want(t, http.StatusOK, "Connect Acme?")
	}
	b.get(used).want(t, http.StatusOK, "Connected as alice@acme.example")
	if n, err := w.links().RevokeOf(t.Context(), alice.Tenant, alice.User); n != 0 || err != nil {
		t.Errorf("once more: %d links ended, %v", n, err)
	}
}

// The index is in the hands of who can write to the store.
func TestALinkThatIsListedUnderAnotherUserStays(t *testing.T) {
	w := newWorld(t)
	link := w.link(caller.Caller{Tenant: alice.Tenant, Agent: alice.Agent, User: "user-2"})
	r, err := w.store.Get(t.Context(), linkRecordName(link))
	if err != nil {
		t.Fatal(err)
	}
	r.Version, r.Index = r.Version+1, []string{vault.Name("links-of", alice.Tenant, alice.User)}
	if err := w.store.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if n, err := w.links().RevokeOf(t.Context(), alice.Tenant, alice.User); n != 0 || err != nil {
		t.Errorf("%d links ended, %v", n, err)
	}
	newBrowser(w).get(link).want(t, http.StatusOK, "Connect Acme?")
}

func TestMoreLinksThanOneListHoldsEndToo(t *testing.T) {
	w := newWorld(t)
	for range 120 {
		w.link(alice)
		w.clock.pass(15 * time.Minute)
	}
	live := w.link(alice)
	if _, err := w.links().RevokeOf(t.Context(), alice.Tenant, alice.User); err != nil {
		t.Fatal(err)
	}
	newBrowser(w).get(live).want(t, http.StatusGone, calledOff)
}

func TestTheVersionBeforeTakesACancelledLinkForAUsedOne(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	b.cancels(b.get(link))
	if stored := storedLink(t, w, link); stored["used"] == nil || stored["used"] != stored["ended"] || stored["browser"] != nil {
		t.Errorf("stored: %v", stored)
	}
}

func TestAnOperatorSeesLinksAndNotTheirAddresses(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	link := w.linkFor(alice, "acme", "second")
	look := func(state string) {
		t.Helper()
		i, err := w.links().About(t.Context(), linkRecordName(link))
		if err != nil || i.State != state || i.User != alice.User || i.Agent != alice.Agent || i.Tenant != alice.Tenant || strings.Join(i.Toolkits, " ") != "acme second" {
			t.Errorf("%+v %v, want %s", i, err, state)
		}
		if id := link[strings.LastIndex(link, "/")+1:]; strings.Contains(i.Ref, id) || len(i.Ref) != 64 {
			t.Errorf("it is called %s", i.Ref)
		}
	}
	look("waiting")
	b := newBrowser(w)
	b.pressFor(b.get(link), "acme")
	look("started")
	w.clock.pass(10 * time.Minute)
	look("waiting")
	b.connectFor(link, "acme", "alice")
	b.connectFor(link, "second", "alice")
	look("done")
	link = w.linkFor(alice, "acme", "second")
	w.clock.pass(15 * time.Minute)
	look("expired")
	if did, err := w.links().Revoke(t.Context(), linkRecordName(link)); !did || err != nil {
		t.Errorf("ending it: %v %v", did, err)
	}
	look("cancelled")
	if did, err := w.links().Revoke(t.Context(), "link/nothing"); did || err != nil {
		t.Errorf("ending nothing: %v %v", did, err)
	}
}
