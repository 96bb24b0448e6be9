// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package oidc runs Toolgate against an OpenID provider that its authors did not
// write: the example server of github.com/zitadel/oidc. It is a module of its own, so
// that Toolgate's stays small.
package oidc

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// The provider rotates refresh tokens, and ends an access token the moment its refresh
// token is used. So calls that are under way while another one renews get a real 401.
func TestARealProviderThatEndsTheOldTokenAtOnce(t *testing.T) {
	w := newWorld(t, "", "/me email")
	if page := w.connect(w.refusedLink()); !strings.Contains(page, "Connected as test-user@zitadel.ch") {
		t.Fatalf("the result page:\n%s", page)
	}
	w.works()

	// A token that ended early is renewed on the way.
	const rounds = 10
	for range rounds {
		w.revoke()
		w.works()
	}
	if refreshes, refused := w.counts(); refreshes != rounds || refused != rounds {
		t.Errorf("after %d tokens that ended: %d refreshes, %d answers 401", rounds, refreshes, refused)
	}

	// Fifty calls are at the provider's door with a token that ends there. One
	// refresh mends them all.
	before, _ := w.counts()
	const calls = 50
	release := w.holdCalls()
	var all sync.WaitGroup
	for range calls {
		all.Go(w.works)
	}
	for range calls {
		<-w.held
	}
	w.revoke()
	release()
	all.Wait()
	if refreshes, _ := w.counts(); refreshes != before+1 {
		t.Errorf("fifty calls with one token that ended made %d refreshes", refreshes-before)
	}

	// And those that are late find the token of the first ones replaced already.
	release = w.holdCalls()
	for range calls {
		all.Go(w.works)
	}
	for range calls {
		<-w.held
	}
	w.revoke()
	w.mu.Lock()
	w.hold = nil // a new call passes
	w.mu.Unlock()
	w.works()
	release()
	all.Wait()
	if refreshes, _ := w.counts(); refreshes != before+2 {
		t.Errorf("latecomers made %d refreshes", refreshes-before-1)
	}
}

// People sign in with the same provider before they may connect. The one whom the link
// is not for is told so, and can sign in as another.
func TestPeopleSignInWithARealProvider(t *testing.T) {
	w := newWorld(t, `verify_user oidc ISSUER {
			client_id web
			client_secret {env.PROVIDER_SECRET}
		}`, "/me email")
	w.user = "id1" // the provider's sub of test-user
	link := w.refusedLink()
	browser := newBrowser()
	page, _ := w.page(browser.Get(link))
	signIn := func() url.Values { return url.Values{"token": {found(t, formToken, page)}, "go": {"signin"}} }
	page = w.logIn(browser, link, signIn(), "test-user2", http.StatusForbidden)
	if !strings.Contains(page, "You are signed in as <strong>id2</strong>") {
		t.Fatalf("the other one:\n%s", page)
	}
	page = w.logIn(browser, link, signIn(), "test-user@localhost", http.StatusOK)
	if !strings.Contains(page, "Connect zitadel?") {
		t.Fatalf("after signing in:\n%s", page)
	}
	page = w.logIn(browser, link, url.Values{"token": {found(t, formToken, page)}}, "test-user@localhost", http.StatusOK)
	if !strings.Contains(page, "Connected as test-user@zitadel.ch") {
		t.Fatalf("the result page:\n%s", page)
	}
	w.works()
}

// The provider's own ID token says which account it is, and no call has to.
func TestARealIDTokenNamesTheAccount(t *testing.T) {
	w := newWorld(t, "", "id_token sub\n\t\t\texpect_account id1")
	link := w.refusedLink()
	browser := newBrowser()
	page, _ := w.page(browser.Get(link))
	start := func() url.Values { return url.Values{"token": {found(t, formToken, page)}} }
	page = w.logIn(browser, link, start(), "test-user2", http.StatusOK)
	if !strings.Contains(page, "not the one that is expected") {
		t.Fatalf("another account:\n%s", page)
	}
	page = w.logIn(browser, link, start(), "test-user@localhost", http.StatusOK)
	if !strings.Contains(page, "Connected as id1") {
		t.Fatalf("the result page:\n%s", page)
	}
	w.works()
}

// works wants a call to come through.
func (w *world) works() {
	w.t.Helper()
	if status, body := w.call(); status != http.StatusOK || !strings.Contains(body, "test-user@zitadel.ch") {
		w.t.Errorf("%d %s", status, body)
	}
}
