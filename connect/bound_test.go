// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connect"
)

// signInFrom presses the sign-in button of the person's own page, from an address.
func (w *world) signInFrom(b *browser, token, peer string) *http.Response {
	r := httptest.NewRequest(http.MethodPost, mine, nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.RemoteAddr = peer
	setBody(r, url.Values{"token": {token}, "go": {"signin"}})
	b.addCookies(r)
	return w.serve(r)
}

func TestWhoHasShownNothingCannotFillTheStoreWithSignIns(t *testing.T) {
	w := newWorld(t, atTheApplication)
	b := newBrowser(w)
	token := formOf(t, b.get(mine)).fields.Get("token")
	begun := func(peer string) bool {
		t.Helper()
		res := w.signInFrom(b, token, peer)
		if res.StatusCode != http.StatusSeeOther && (res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "60") {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		return res.StatusCode == http.StatusSeeOther
	}
	for range 1000 {
		if !begun("203.0.113.1:5000") {
			t.Fatal("refused too soon")
		}
	}
	writes := w.store.writes
	if begun("203.0.113.1:5001") || begun("[::ffff:203.0.113.1]:1") || w.store.writes != writes {
		t.Error("one address began more than it may")
	}
	w.wantReported("refused too_many_sign_ins")
	if !begun("203.0.113.2:5000") {
		t.Error("one address keeps the others out")
	}
	for i := range 1000 { // as many addresses as it likes, all of one customer
		begun(fmt.Sprintf("[2001:db8::%x]:5000", i+1))
	}
	if begun("[2001:db8::ffff:1:1]:1") || !begun("[2001:db8:0:1::1]:1") {
		t.Error("a network of one customer's does not count as one")
	}
	w.clock.pass(10 * time.Minute)
	if !begun("203.0.113.1:5000") {
		t.Error("still refused when the records are gone")
	}
}

func TestOfAllAddressesThereIsABoundToo(t *testing.T) {
	w := newWorld(t, atTheApplication)
	b := newBrowser(w)
	token := formOf(t, b.get(mine)).fields.Get("token")
	last := 0
	for i := range 20_001 {
		last = w.signInFrom(b, token, fmt.Sprintf("198.51.%d.%d:1", i>>8, i&255)).StatusCode
		if i < 20_000 && last != http.StatusSeeOther {
			t.Fatalf("no. %d: %d", i, last)
		}
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("one more: %d", last)
	}
}

func TestBehindAProxyTheClientsAddressCounts(t *testing.T) {
	w := newWorld(t, atTheApplication, func(cfg *connect.Config) {
		cfg.Client = func(r *http.Request) string { return r.Header.Get("X-Real-Ip") }
	})
	b := newBrowser(w)
	token := formOf(t, b.get(mine)).fields.Get("token")
	for i := range 1500 {
		r := httptest.NewRequest(http.MethodPost, mine, nil)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Real-Ip", fmt.Sprintf("198.51.100.%d", i%2))
		setBody(r, url.Values{"token": {token}, "go": {"signin"}})
		b.addCookies(r)
		if res := w.serve(r); res.StatusCode != http.StatusSeeOther {
			t.Fatalf("no. %d: %d", i, res.StatusCode)
		}
	}
}
