// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/toolkit"
)

var bots = []string{
	"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slack-ImgProxy (+https://api.slack.com/robots)",
	"Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "TelegramBot (like TwitterBot)", "WhatsApp/2.23.20.0",
	"facebookexternalhit/1.1", "Twitterbot/1.0", "LinkedInBot/1.0", "SkypeUriPreview Preview/0.5",
	"Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "Microsoft Office/16.0 (Microsoft Outlook)",
	"Iframely/1.3.1", "Googlebot/2.1", "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (iMessage preview)", "curl/8.5.0", "",
}

func TestPreviewsChangeNothing(t *testing.T) {
	w := newWorld(t)
	link := w.link(alice)
	newBrowser(w).toProvider(link) // also not for one who is on the way
	before, writes := w.store.dump(), w.store.writes
	for _, agent := range bots {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r := httptest.NewRequest(method, link, nil)
			r.Header.Set("User-Agent", agent)
			r.Header.Set("Sec-Purpose", "prefetch;prerender")
			if res := w.serve(r); res.StatusCode != http.StatusOK {
				t.Errorf("%s by %q: %d", method, agent, res.StatusCode)
			}
		}
	}
	if w.store.dump() != before || w.store.writes != writes {
		t.Error("a preview has changed the store")
	}
	if got := w.audit.text(); got != "link_started" {
		t.Errorf("audit: %s", got)
	}
	newBrowser(w).connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
}

func TestTheButtonWorksOnlyOnItsPage(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(w *world, r *http.Request)
		status  int
		heading string
	}{
		{"no cookie", func(_ *world, r *http.Request) { r.Header.Del("Cookie") }, 403, "Please open the link once more"},
		{"two cookies", func(_ *world, r *http.Request) { r.Header.Add("Cookie", r.Header.Get("Cookie")) }, 403, "Please open the link once more"},
		{"a cookie that we did not make", func(_ *world, r *http.Request) { r.Header.Set("Cookie", "__Host-toolgate=x") }, 403, "Please open the link once more"},
		{"another browser's cookie", func(_ *world, r *http.Request) {
			r.Header.Set("Cookie", "__Host-toolgate="+strings.Repeat("A", 24))
		}, 403, "Connect Acme?"},
		{"no token", func(_ *world, r *http.Request) { setBody(r, url.Values{}) }, 403, "Connect Acme?"},
		{"a wrong token", func(_ *world, r *http.Request) { setBody(r, url.Values{"token": {"wrong"}}) }, 403, "Connect Acme?"},
		{"the token in the address", func(_ *world, r *http.Request) {
			r.URL.RawQuery = url.Values{"token": {tokenIn(r)}}.Encode()
			setBody(r, url.Values{})
		}, 403, "Connect Acme?"},
		{"another link's token", func(w *world, r *http.Request) {
			b := newBrowser(w)
			b.cookies["connect.example.com"] = map[string]kept{"__Host-toolgate": {cookieIn(r), w.clock.now().Add(time.Hour)}}
			p := b.get(w.link(caller.Caller{Tenant: "t", Agent: "a", User: "somebody-else"}))
			setBody(r, formOf(w.t, p).fields)
		}, 403, "Connect Acme?"},
		{"JSON", func(_ *world, r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 403, "Connect Acme?"},
		{"text", func(_ *world, r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 403, "Connect Acme?"},
		{"another site", func(_ *world, r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "This was not sent from our page"},
		{"a sibling site", func(_ *world, r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403, "This was not sent from our page"},
		{"another origin, in an old browser", func(_ *world, r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "https://evil.example")
		}, 403, "This was not sent from our page"},
		{"a frame without an origin", func(_ *world, r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "null")
		}, 403, "This was not sent from our page"},
		{"a huge body", func(_ *world, r *http.Request) {
			setBody(r, url.Values{"token": {tokenIn(r)}, "x": {strings.Repeat("x", 1<<20)}})
		}, 400, "This was not sent from our page"},
		{"a broken body", func(_ *world, r *http.Request) { r.Body = io.NopCloser(strings.NewReader("token=%zz")) }, 400, "This was not sent from our page"},
		{"too late", func(w *world, _ *http.Request) { w.clock.pass(15 * time.Minute) }, 410, "This link has expired"},
		{"a link that is not there", func(_ *world, r *http.Request) { r.URL.Path = "/connect/c_" + strings.Repeat("A", 24) }, 404, "This link is not known here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			r := pressing(w, w.link(alice))
			c.change(w, r)
			writes := w.store.writes
			showing(w.serve(r), r).want(t, c.status, c.heading)
			if w.store.writes != writes || w.audit.text() != "" {
				t.Error("something was begun")
			}
		})
	}
	w := newWorld(t)
	if res := w.serve(pressing(w, w.link(alice))); res.StatusCode != http.StatusSeeOther {
		t.Errorf("and unchanged: %d", res.StatusCode)
	}
}

// pressing is the request that the button makes.
func pressing(w *world, link string) *http.Request {
	b := newBrowser(w)
	p := b.get(link)
	r := httptest.NewRequest(http.MethodPost, link, nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", public)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	setBody(r, formOf(w.t, p).fields)
	b.addCookies(r)
	return r
}

func setBody(r *http.Request, form url.Values) {
	r.Body = io.NopCloser(strings.NewReader(form.Encode()))
}

func tokenIn(r *http.Request) string {
	text, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(text))
	return form.Get("token")
}

func cookieIn(r *http.Request) string {
	c, _ := r.Cookie("__Host-toolgate")
	return c.Value
}

func showing(res *http.Response, r *http.Request) *page {
	text, _ := io.ReadAll(res.Body)
	return &page{status: res.StatusCode, header: res.Header, text: string(text), address: public + r.URL.RequestURI()}
}

func TestTwoTabsThatOpenAtOnceBothWork(t *testing.T) {
	w := newWorld(t)
	link := w.link(alice)
	b := newBrowser(w)
	first := b.get(link)
	delete(b.cookies, "connect.example.com") // the second was asked for before the first had set its cookie
	second := b.get(link)
	p := b.press(first)
	p.want(t, http.StatusForbidden, "Connect Acme?")
	if !strings.Contains(p.text, "press the button once more") {
		t.Error("the page does not say what to do")
	}
	for _, tab := range []*page{p, second} {
		if p := b.press(tab); !strings.HasPrefix(p.address, acmeURL) {
			t.Errorf("the button leads to %s", p.address)
		}
	}
}

func TestATabThatWasOpenForTheWholeLinkWorks(t *testing.T) {
	w := newWorld(t, func(cfg *connect.Config) { cfg.LinkLife = 3 * time.Hour })
	b := newBrowser(w)
	p := b.get(w.link(alice))
	w.clock.pass(3*time.Hour - time.Minute)
	if p = b.press(p); !strings.HasPrefix(p.address, acmeURL) {
		t.Errorf("the button leads to %s", p.address)
	}
}

func TestWhoOpensALinkTooLateIsToldWhy(t *testing.T) {
	w := newWorld(t)
	link := w.link(alice)
	w.clock.pass(15 * time.Minute)
	newBrowser(w).get(link).want(t, http.StatusGone, "This link has expired")
	w.clock.pass(24 * time.Hour)
	newBrowser(w).get(link).want(t, http.StatusNotFound, "This link is not known here")
}

func TestAUsedLinkTellsOthersNothing(t *testing.T) {
	w := newWorld(t)
	link := w.link(alice)
	newBrowser(w).connect(link, "alice")
	p := newBrowser(w).get(link)
	p.want(t, http.StatusGone, "This link has done its work")
	if strings.Contains(p.text, "alice@") || strings.Contains(p.text, "user-1") {
		t.Error("the page names the account")
	}
}

func TestAnythingElseIsNoLink(t *testing.T) {
	w := newWorld(t)
	link := w.link(alice)
	id := link[strings.LastIndex(link, "/")+1:]
	for _, path := range []string{
		"/connect", "/connect/", "/connect//", "/connect/../" + id, "/connect/..%2f" + id, "/connect/" + id + "/", "/connect/" + id + "%00",
		"/connect/%00", "/connect/x/" + id, "/connect/" + strings.Repeat("a", 8<<10), "/connect/" + strings.ToUpper(id), "/connect/c_", "/connect/%ff",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			r := httptest.NewRequest(method, path, nil)
			r.Host = "connect.example.com"
			res := w.serve(r)
			if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("%s %.40s: %d", method, path, res.StatusCode)
			}
		}
	}
}

func TestALinkWhoseToolkitIsGoneSaysSo(t *testing.T) {
	for name, change := range map[string]func(e *connect.Endpoint){
		"not configured any more": func(e *connect.Endpoint) { e.Toolkit = nil },
		"a draft now":             func(e *connect.Endpoint) { e.Toolkit.Missing = []string{"client_id"} },
		"with a key now":          func(e *connect.Endpoint) { e.Toolkit.OAuth, e.Toolkit.Auth = nil, toolkit.Auth{Kind: toolkit.APIKey} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			link := w.link(alice)
			r := pressing(w, link)
			w.reload(func(cfg *connect.Config) {
				e := cfg.Toolkits["acme"]
				change(&e)
				if cfg.Toolkits["acme"] = e; e.Toolkit == nil {
					delete(cfg.Toolkits, "acme")
				}
			})
			newBrowser(w).get(link).want(t, http.StatusNotFound, "This service was set up anew meanwhile")
			showing(w.serve(r), r).want(t, http.StatusNotFound, "This service was set up anew meanwhile")
		})
	}
}

// Each press makes a record, and whoever has a link may press for as long as it lives.
func TestWhoPressesAgainAndAgainMakesNoMoreRecords(t *testing.T) {
	for name, link := range map[string]func(*world) string{
		"one":     func(w *world) string { return w.link(alice) },
		"several": func(w *world) string { return w.linkFor(alice, "acme", "second") + "/acme" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, threeToolkits(t))
			b, at := newBrowser(w), link(w)
			var callbacks []string
			for range 12 {
				callbacks = append(callbacks, b.consent(at, "alice"))
				if n := w.store.count("flow"); n > 5 {
					t.Fatalf("%d flows are kept", n)
				}
			}
			b.get(callbacks[0]).want(t, http.StatusBadRequest, "This sign-in cannot be finished")
			b.get(callbacks[7]) // of another tab
			if w.connection().AccountLabel != "alice@acme.example" {
				t.Error("one of the latest cannot be finished")
			}
		})
	}
}

func TestAPressThatComesToNothingLeavesNoFlow(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	p := b.get(link)
	w.store.failing("put", "link")
	b.press(p).want(t, http.StatusServiceUnavailable, sorry)
	w.store.works()
	w.store.before("put", "flow", func() { newBrowser(w).connect(link, "alice") })
	b.press(p)
	if n := w.store.count("flow"); n != 1 {
		t.Errorf("%d flows are kept, want that of who was faster", n)
	}
}
