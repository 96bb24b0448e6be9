// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// waitingDesk answers the first when it is let go.
func waitingDesk(desk *keyDesk) (asked, letGo chan struct{}) {
	asked, letGo = make(chan struct{}, 10), make(chan struct{})
	desk.answer = func(*http.Request) (*http.Response, error) {
		asked <- struct{}{}
		if desk.times() == 1 {
			<-letGo
		}
		return says(200, `{"email":"ada@acme.example"}`), nil
	}
	return asked, letGo
}

func TestADoubleClickAndASecondTabAskOnce(t *testing.T) {
	w, desk := newKeyWorld(t)
	asked, letGo := waitingDesk(desk)
	b, link := newBrowser(w), w.link(alice)
	tab, secondTab := b.get(link), b.get(link)
	other := newBrowser(w)
	other.cookies = b.cookies
	done := make(chan *page)
	go func() { done <- other.press(tab, "key.key", goodKey) }()
	<-asked
	for name, p := range map[string]*page{"the link": b.get(link), "the button": b.press(tab, "key.key", goodKey), "the other tab": b.press(secondTab, "key.key", badKey), "somebody else": newBrowser(w).get(link)} {
		if headingOf(t, p) != "One moment" || p.header.Get("Refresh") == "" || p.address != link {
			t.Errorf("%s: %q at %s", name, headingOf(t, p), p.address)
		}
	}
	close(letGo)
	(<-done).want(t, http.StatusOK, "Connected as ada@acme.example")
	b.press(secondTab, "key.key", badKey).want(t, http.StatusGone, "This link has done its work")
	if conn := w.connection(); desk.times() != 1 || conn.Version != 1 || conn.AccessToken.Reveal() != goodKey {
		t.Errorf("asked %d times, version %d", desk.times(), conn.Version)
	}
}

func TestOfManyFormsAtOnceOneIsKept(t *testing.T) {
	w, desk := newKeyWorld(t)
	b, link := newBrowser(w), w.link(alice)
	form := formOf(t, b.get(link)).fields
	form.Set("key.key", goodKey)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, link, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			b.addCookies(r)
			if res, err := w.RoundTrip(r); err != nil || res.StatusCode != http.StatusSeeOther && res.StatusCode != http.StatusGone {
				t.Errorf("got %v, %v", res, err)
			}
		})
	}
	all.Wait()
	if desk.times() != 1 || w.connection().Version != 1 {
		t.Errorf("asked %d times, version %d", desk.times(), w.connection().Version)
	}
}

func TestABrowserThatIsClosedWhileTheKeyIsCheckedLosesNothing(t *testing.T) {
	w, desk := newKeyWorld(t)
	ctx, hangUp := context.WithCancel(t.Context())
	desk.answer = func(r *http.Request) (*http.Response, error) {
		hangUp()
		return says(200, "{}"), r.Context().Err()
	}
	b, link := newBrowser(w), w.link(alice)
	r := pressing(w, link).WithContext(ctx)
	form := formOf(t, b.get(link)).fields
	form.Set("key.key", goodKey)
	setBody(r, form)
	r.Header.Del("Cookie")
	b.addCookies(r)
	w.serve(r)
	if w.connection().AccessToken.Reveal() != goodKey {
		t.Error("the key is lost")
	}
}

func TestAKeyIsTakenFromTheRightFormAlone(t *testing.T) {
	keyed := func(r *http.Request, change func(url.Values)) {
		text, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(text))
		form.Set("key.key", goodKey)
		change(form)
		setBody(r, form)
	}
	for _, c := range []struct {
		name    string
		change  func(w *world, r *http.Request)
		status  int
		heading string
	}{
		{"no cookie", func(_ *world, r *http.Request) { r.Header.Del("Cookie") }, 403, "Please open the link once more"},
		{"another browser", func(_ *world, r *http.Request) { r.Header.Set("Cookie", "__Host-toolgate="+strings.Repeat("A", 24)) }, 403, "Connect Acme?"},
		{"no token", func(_ *world, r *http.Request) { keyed(r, func(f url.Values) { f.Del("token") }) }, 403, "Connect Acme?"},
		{"a wrong token", func(_ *world, r *http.Request) { keyed(r, func(f url.Values) { f.Set("token", "x") }) }, 403, "Connect Acme?"},
		{"all of it in the address", func(_ *world, r *http.Request) {
			keyed(r, func(f url.Values) { r.URL.RawQuery = f.Encode(); clear(f) })
		}, 403, "Connect Acme?"},
		{"the key in the address", func(_ *world, r *http.Request) {
			keyed(r, func(f url.Values) { r.URL.RawQuery = f.Encode(); f.Del("key.key") })
		}, 422, "Connect Acme?"},
		{"another site", func(_ *world, r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "This was not sent from our page"},
		{"too late", func(w *world, _ *http.Request) { w.clock.pass(15 * time.Minute) }, 410, "This link has expired"},
		{"too much", func(_ *world, r *http.Request) {
			keyed(r, func(f url.Values) { f.Set("key.key", strings.Repeat("k", 1<<20)) })
		}, 400, "This was not sent from our page"},
		{"another person", func(w *world, r *http.Request) { r.AddCookie(&http.Cookie{Name: "site", Value: "mallory"}) }, 403, "This link is for somebody else"},
		{"nobody", func(w *world, r *http.Request) {
			w.reload(behindASite)
		}, 403, "Please sign in first"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, desk := newKeyWorld(t)
			r := pressing(w, w.link(alice))
			keyed(r, func(url.Values) {})
			if c.name == "another person" {
				w.reload(behindASite)
			}
			c.change(w, r)
			writes := w.store.writes
			showing(w.serve(r), r).want(t, c.status, c.heading)
			if desk.times() != 0 || w.store.writes != writes || w.audit.text() != "" {
				t.Errorf("asked %d times, %d writes, audit: %s", desk.times(), w.store.writes-writes, w.audit.text())
			}
			w.notConnected()
		})
	}
	w, _ := newKeyWorld(t)
	r := pressing(w, w.link(alice))
	keyed(r, func(url.Values) {})
	if res := w.serve(r); res.StatusCode != http.StatusSeeOther || w.connection().AccessToken.Reveal() != goodKey {
		t.Errorf("and unchanged: %d", res.StatusCode)
	}
}

func TestTheRightPersonMayBeLate(t *testing.T) {
	w, _ := newKeyWorld(t, behindASite)
	b, link := newBrowser(w), w.link(alice)
	b.as(alice.User)
	w.clock.pass(time.Hour)
	b.as(alice.User)
	p := b.enter(link, badKey)
	p.wantNotice(t, http.StatusOK, notAccepted)
	if p.address == link {
		t.Error("an expired link did some work")
	}
	b.press(p, "key.key", goodKey).want(t, http.StatusOK, "Connected as ada@acme.example")
}

func TestTwoTabsThatOpenAtOnceAskForTheKeyAgain(t *testing.T) {
	w, desk := newKeyWorld(t)
	b, link := newBrowser(w), w.link(alice)
	first := b.get(link)
	delete(b.cookies, "connect.example.com")
	b.get(link)
	p := b.press(first, "key.key", goodKey)
	p.wantNotice(t, http.StatusForbidden, "Please enter it once more.")
	if desk.times() != 0 {
		t.Error("the provider was asked")
	}
	b.press(p, "key.key", goodKey).want(t, http.StatusOK, "Connected as ada@acme.example")
}

func TestWhileAKeyIsCheckedTheConnectionIsPending(t *testing.T) {
	w, desk := newKeyWorld(t)
	asked, letGo := waitingDesk(desk)
	b, link := newBrowser(w), w.link(alice)
	p := b.get(link)
	done := make(chan *page)
	go func() { done <- b.press(p, "key.key", goodKey) }()
	<-asked
	if l, err := w.service.Link(t.Context(), alice, w.cfg.Toolkits["acme"].Toolkit); err != nil || !l.Pending {
		t.Errorf("%+v, %v", l, err)
	}
	close(letGo)
	<-done
}
