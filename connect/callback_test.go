// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/oauth"
)

func TestACallbackThatDoesNotBelongIsStoppedBeforeTheCodeIsSpent(t *testing.T) {
	const wrong, other = "This sign-in cannot be finished", "This sign-in was started in another browser"
	for _, c := range []struct {
		name     string
		change   func(w *world, b *browser, q url.Values)
		status   int
		heading  string
		reported string
	}{
		{"no state", func(_ *world, _ *browser, q url.Values) { q.Del("state") }, 400, wrong, ""},
		{"an empty state", func(_ *world, _ *browser, q url.Values) { q.Set("state", "") }, 400, wrong, ""},
		{"a state twice", func(_ *world, _ *browser, q url.Values) { q.Add("state", q.Get("state")) }, 400, wrong, ""},
		{"a state that we did not make", func(_ *world, _ *browser, q url.Values) { q.Set("state", strings.Repeat("A", 32)) }, 400, wrong, ""},
		{"a huge state", func(_ *world, _ *browser, q url.Values) { q.Set("state", strings.Repeat("A", 1<<16)) }, 400, wrong, ""},
		{"a state with more behind it", func(_ *world, _ *browser, q url.Values) { q.Set("state", q.Get("state")+"\x00") }, 400, wrong, ""},
		{"two codes", func(_ *world, _ *browser, q url.Values) { q.Add("code", "another") }, 400, wrong, ""},
		{"two errors", func(_ *world, _ *browser, q url.Values) { q["error"] = []string{"a", "b"} }, 400, wrong, ""},
		{"two issuers", func(_ *world, _ *browser, q url.Values) { q.Add("iss", acmeURL) }, 400, wrong, ""},
		{"too late", func(w *world, _ *browser, _ url.Values) { w.clock.pass(10*time.Minute + time.Second) }, 400, wrong, ""},
		{"no cookie", func(_ *world, b *browser, _ url.Values) { clear(b.cookies) }, 403, other, "refused other_browser"},
		{"another browser's cookie", func(w *world, b *browser, _ url.Values) {
			b.cookies = map[string]map[string]kept{"connect.example.com": {"__Host-toolgate": {strings.Repeat("A", 24), w.clock.now().Add(time.Hour)}}}
		}, 403, other, "refused other_browser"},
		{"another issuer", func(_ *world, _ *browser, q url.Values) { q.Set("iss", "https://evil.example") }, 400, "The answer came from another service", "refused issuer_mismatch"},
		{"nearly the issuer", func(_ *world, _ *browser, q url.Values) { q.Set("iss", acmeURL+"/") }, 400, "The answer came from another service", "refused issuer_mismatch"},
		{"an empty issuer", func(_ *world, _ *browser, q url.Values) { q.Set("iss", "") }, 400, "The answer came from another service", "refused issuer_mismatch"},
		{"another issuer's error", func(_ *world, _ *browser, q url.Values) {
			q.Set("iss", "https://evil.example")
			q.Set("error", "access_denied")
		}, 400, "The answer came from another service", "refused issuer_mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			b := newBrowser(w)
			callback := mustParse(t, b.consent(w.link(alice), "alice"))
			q := callback.Query()
			c.change(w, b, q)
			callback.RawQuery = q.Encode()
			writes := w.store.writes
			b.get(callback.String()).want(t, c.status, c.heading)
			if w.acme.Stats().TokenRequests != 0 {
				t.Error("the code was spent")
			}
			if w.store.writes != writes {
				t.Error("the store was written to")
			}
			w.notConnected()
			if c.reported != "" {
				w.wantReported(c.reported)
			}
		})
	}
}

func TestWhoTheFlowBelongsToCanStillFinishIt(t *testing.T) {
	w := newWorld(t)
	victim := newBrowser(w)
	callback := victim.consent(w.link(alice), "alice")
	newBrowser(w).get(callback).want(t, http.StatusForbidden, "This sign-in was started in another browser")
	victim.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
}

func TestNobodyFinishesWhatAnAttackerStarted(t *testing.T) {
	w := newWorld(t)
	// The attacker sends the victim the provider's address, past our page.
	attacker, victim := newBrowser(w), newBrowser(w)
	authorize := attacker.toProvider(w.link(alice)).address
	victim.get(w.link(alice)) // has a cookie of ours already
	callback := victim.answer(victim.get(authorize), "bob", "allow")
	victim.get(callback).want(t, http.StatusForbidden, "This sign-in was started in another browser")
	w.notConnected()
	// The attacker sends the victim a callback with the attacker's own code.
	planted := attacker.answer(attacker.get(authorize), "alice", "allow")
	victim.get(planted).want(t, http.StatusForbidden, "This sign-in was started in another browser")
	w.notConnected()
	if w.acme.Stats().TokenRequests != 0 {
		t.Error("a code was spent")
	}
}

func TestACookieThatIsThereTwiceIsNobodys(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	callback := b.consent(w.link(alice), "alice")
	r, _ := http.NewRequest(http.MethodGet, callback, nil)
	r.Header.Set("Cookie", "__Host-toolgate="+b.cookie()+"; __Host-toolgate="+strings.Repeat("A", 24))
	res, err := w.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("got %v, %v", res, err)
	}
	w.notConnected()
}

func TestACodeForOneToolkitIsNotTakenForAnother(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	callback := b.consent(w.link(alice), "alice")
	b.get(strings.Replace(callback, "/callback/acme", "/callback/other", 1)).want(t, http.StatusBadRequest, "This sign-in cannot be finished")
	w.wantReported("refused toolkit_mismatch")
	for _, path := range []string{"/callback", "/callback/", "/callback/acme/", "/callback/ACME", "/callback/acme%2f", "/callback/nothing"} {
		if p := b.get(strings.Replace(callback, "/callback/acme", path, 1)); p.status != http.StatusBadRequest {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	w.notConnected()
	b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
}

func TestAnIssuerIsNotAskedOfProvidersThatDoNotNameThemselves(t *testing.T) {
	for name, iss := range map[string][]string{"right": {"iss", acmeURL}, "absent": nil} {
		w := newWorld(t, func(cfg *connect.Config) { cfg.Exchanger = granting })
		b := newBrowser(w)
		p := b.toProvider(w.link(alice))
		b.get(comeBack(t, p.address, append([]string{"code", "c"}, iss...)...))
		if w.connection().AccessToken.IsZero() {
			t.Errorf("%s: not connected", name)
		}
	}
}

func TestADoubleClickIsOneConnection(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	link := w.link(alice)
	callback := b.consent(link, "alice")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, callback, nil)
			b.addCookies(r)
			res, err := w.RoundTrip(r)
			if err != nil || res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != link {
				t.Errorf("got %v, %v", res, err)
			}
		})
	}
	all.Wait()
	if n := w.acme.Stats().TokenRequests; n != 1 {
		t.Errorf("%d token requests", n)
	}
	if got := w.audit.text(); got != "link_started, connected" {
		t.Errorf("audit: %s", got)
	}
	b.get(link).want(t, http.StatusOK, "Connected as alice@acme.example")
}

// waiting is a token endpoint that answers when it is let go.
func waiting() (e exchanger, asked chan struct{}, letGo chan struct{}) {
	asked, letGo = make(chan struct{}), make(chan struct{})
	return func(ctx context.Context, code, verifier string) (oauth.Grant, error) {
		asked <- struct{}{}
		<-letGo
		return granting(ctx, code, verifier)
	}, asked, letGo
}

func TestWhileACallbackIsAtWorkTheLinkWaits(t *testing.T) {
	e, asked, letGo := waiting()
	w := newWorld(t, func(cfg *connect.Config) { cfg.Exchanger = e })
	b, link := newBrowser(w), w.link(alice)
	form := b.get(link)
	inTime := comeBack(t, b.press(form).address, "code", "first")
	secondTab := comeBack(t, b.press(form).address, "code", "second")

	done := make(chan *page)
	other := newBrowser(w)
	other.cookies = b.cookies
	go func() { done <- other.get(inTime) }()
	<-asked
	for name, p := range map[string]*page{
		"the link": b.get(link), "the same callback": b.get(inTime), "another tab's": b.get(secondTab), "the button": b.press(form), "somebody else": newBrowser(w).get(link),
	} {
		if headingOf(t, p) != "One moment" || p.header.Get("Refresh") == "" || p.address != link {
			t.Errorf("%s: %q at %s", name, headingOf(t, p), p.address)
		}
	}
	close(letGo)
	(<-done).want(t, http.StatusOK, "Acme is connected")
	for name, p := range map[string]*page{
		"the link": b.get(link), "the back button": b.get(inTime), "the tab that came second": b.get(secondTab),
	} {
		if headingOf(t, p) != "Acme is connected" || p.address != link {
			t.Errorf("%s: %q at %s", name, headingOf(t, p), p.address)
		}
	}
	b.press(form).want(t, http.StatusGone, "This link has done its work")
}

func TestOfTwoTabsThatComeBackAtOnceOneConnects(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	first, second := b.consent(link, "alice"), b.consent(link, "alice")
	// The first does all of its work between the second's checks and its claim.
	w.store.before("put", "flow", func() { b.get(first).want(t, http.StatusOK, "Connected as alice@acme.example") })
	b.get(second).want(t, http.StatusOK, "Connected as alice@acme.example")
	if n := w.acme.Stats().TokenRequests; n != 1 {
		t.Errorf("%d token requests", n)
	}
}

func TestOfTwoBrowsersWithOneLinkTheSlowerOneIsToldNothing(t *testing.T) {
	w := newWorld(t)
	b, other, link := newBrowser(w), newBrowser(w), w.link(alice)
	first, second := b.consent(link, "alice"), other.consent(link, "bob")
	b.get(first).want(t, http.StatusOK, "Connected as alice@acme.example")
	other.get(second).want(t, http.StatusGone, "This link has done its work")
	if w.connection().AccountLabel != "alice@acme.example" {
		t.Error("the link did its work twice")
	}
}

func TestALateButtonDoesNotHideTheResult(t *testing.T) {
	w := newWorld(t)
	b, other, link := newBrowser(w), newBrowser(w), w.link(alice)
	callback, form := b.consent(link, "alice"), other.get(link)
	w.store.before("put", "flow", func() { b.get(callback) })
	other.press(form).want(t, http.StatusGone, "This link has done its work")
	b.get(link).want(t, http.StatusOK, "Connected as alice@acme.example")
}

func TestACallbackThatDiedHoldsNobodyUpForLong(t *testing.T) {
	w := newWorld(t, func(cfg *connect.Config) {
		cfg.Exchanger = exchanger(func(context.Context, string, string) (oauth.Grant, error) { panic("killed") })
	})
	b, link := newBrowser(w), w.link(alice)
	callback := comeBack(t, b.toProvider(link).address, "code", "c")
	func() {
		defer func() { _ = recover() }()
		b.get(callback)
	}()
	b.get(link).want(t, http.StatusOK, "One moment")
	w.clock.pass(time.Minute)
	w.reload(func(cfg *connect.Config) { cfg.Exchanger = granting })
	b.get(comeBack(t, b.toProvider(link).address, "code", "c")).want(t, http.StatusOK, "Acme is connected")
}

func TestAReplayedCallbackIsNothingNew(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	callback := b.consent(link, "alice")
	b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
	version := w.connection().Version
	b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
	newBrowser(w).get(callback).want(t, http.StatusForbidden, "This sign-in was started in another browser")
	w.clock.pass(10 * time.Minute)
	b.get(callback).want(t, http.StatusBadRequest, "This sign-in cannot be finished")
	if w.connection().Version != version || w.acme.Stats().TokenRequests != 1 {
		t.Error("something happened again")
	}
}

func TestALinkMayEndWhileItsUserIsAtTheProvider(t *testing.T) {
	w := newWorld(t, func(cfg *connect.Config) { cfg.Exchanger = granting })
	b, link := newBrowser(w), w.link(alice)
	w.clock.pass(14 * time.Minute)
	callback := comeBack(t, b.toProvider(link).address, "code", "c")
	w.clock.pass(9 * time.Minute)
	b.get(callback).want(t, http.StatusOK, "Acme is connected")
}

func TestAToolkitThatWasConfiguredAnewTakesNoOldCodes(t *testing.T) {
	for name, change := range map[string]func(cfg *connect.Config){
		"another client": func(cfg *connect.Config) { cfg.Toolkits["acme"].Toolkit.OAuth.ClientID = "anew" },
		"another issuer": func(cfg *connect.Config) { cfg.Toolkits["acme"].Toolkit.OAuth.Issuer = "https://anew.example" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := newBrowser(w)
			callback := b.consent(w.link(alice), "alice")
			w.reload(change)
			b.get(callback).want(t, http.StatusConflict, "This service was set up anew meanwhile")
			w.wantReported("refused configured_anew")
			w.notConnected()
		})
	}
}

func TestACallbackIsOnlyEverGot(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	callback := b.consent(w.link(alice), "alice")
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		res := b.send(method, callback, nil, "none")
		if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET" {
			t.Errorf("%s: %d, Allow %q", method, res.StatusCode, res.Header.Get("Allow"))
		}
	}
	b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
}
