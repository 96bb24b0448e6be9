// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
)

// everyPage gives one of each kind of page.
func everyPage(t *testing.T, changes ...func(*connect.Config)) map[string]*page {
	newWorld := func(t *testing.T, more ...func(*connect.Config)) *world {
		return newWorld(t, append(more, changes...)...)
	}
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	all := map[string]*page{"confirm": b.get(link), "unknown": b.get(public + "/connect/c_nothing")}
	callback := b.consent(link, "alice")
	all["no state"] = b.get(public + "/callback/acme?code=secret-code-marker")
	all["other issuer"] = b.get(callback + "&iss=https%3A%2F%2Fevil.example")
	all["other browser"] = newBrowser(w).get(callback)
	w.store.failing("get", "link")
	all["trouble"] = b.get(callback)
	w.store.works()
	all["done"] = b.get(callback)
	all["used"] = newBrowser(w).get(link)
	next := w.link(alice)
	stale := pressing(w, next)
	stale.Header.Del("Cookie")
	all["no cookie"] = showing(w.serve(stale), stale)
	foreign := httptest.NewRequest(http.MethodPost, next, nil)
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	all["foreign"] = showing(w.serve(foreign), foreign)
	put := httptest.NewRequest(http.MethodPut, next, nil)
	all["method"] = showing(w.serve(put), put)
	all["declined"] = b.get(comeBack(t, b.toProvider(next).address, "error", "access_denied"))
	all["called off"] = b.cancels(b.get(w.link(caller.Caller{Tenant: "t", Agent: "a", User: "u"})))
	w.clock.pass(time.Hour)
	all["expired"] = b.get(next)
	all["nobody asks"] = b.get(mine)

	w = newWorld(t, threeToolkits(t), backToTheApp)
	link, b = w.linkFor(alice, "keys"), newBrowser(w)
	all["form"] = b.get(link)
	all["form, refused"] = b.press(b.get(link), "key.key", badKey)
	all["form, done"] = b.press(b.get(link), "key.key", goodKey)
	link, b = w.linkBack("acme"), newBrowser(w)
	all["declined, and the way back"] = b.get(comeBack(t, b.toProvider(link).address, "error", "server_error"))
	link, b = w.linkFor(alice, "acme", "keys"), newBrowser(w)
	all["several"] = b.get(link)
	all["several, declined"] = b.get(comeBack(t, b.pressFor(b.get(link), "acme").address, "error", "access_denied"))
	all["several, part way"] = b.press(b.get(link+"/keys"), "key.key", goodKey)
	all["several, done"] = b.connectFor(link, "acme", "alice")

	w = newWorld(t, askingForShops(t), behindASite)
	w.openShops(t)
	b, link = newBrowserAs(w, alice.User), w.link(alice)
	all["asked"], all["asked, nothing said"], all["asked, wrong"] = b.get(link), b.press(b.get(link)), b.say(link, "elsewhere.example")
	all["asked, declined"] = b.get(comeBack(t, b.say(link, "north").address, "error", "access_denied"))
	together := w.linkFor(alice, "acme", "second", "keys")
	all["asked, several"], all["form, asked"] = b.get(together), b.get(together+"/keys")
	all["form, asked, wrong"] = b.press(b.get(together+"/keys"), "said.shop", "?")
	all["asked, done"] = b.connectAt(link, "north", "alice")
	all["asked, part way"], all["asked before"] = b.get(together), b.get(w.linkTo(w.connection().ID))
	all["asked before, another"] = b.press(all["asked before"], "said.shop", "south")
	all["mine, asked"] = b.get(mine)

	w = newWorld(t, threeToolkits(t), behindASite, tellsReads)
	b, link = newBrowserAs(w, alice.User), w.link(alice)
	all["reads"], all["reads, several"] = b.get(link), b.get(w.linkFor(alice, "acme", "second"))
	all["reads, done"], all["mine, unlimited"] = b.connectReading(link, "only"), b.undo(t, w.connection().ID, "writing")
	if _, _, err := w.service.Stage(t.Context(), "request", aliceKey, "work"); err != nil {
		t.Fatal(err)
	}
	all["mine, set up"] = b.get(mine)
	all["mine, limited"], all["reads, again"] = b.undo(t, w.connection().ID, "reading"), b.get(w.link(alice))

	w = newWorld(t, behindASite)
	link, b = w.link(alice), newBrowserAs(w, "mallory")
	all["somebody else"], all["nobody"] = b.get(link), newBrowser(w).get(link)
	b.as(alice.User)
	all["done, verified"] = b.connect(link, "alice")
	all["mine"] = b.get(mine)
	all["mine, empty"] = b.press(all["mine"])
	b.connect(w.link(alice), "alice")
	all["another account"] = newBrowserAs(w, alice.User).connect(w.link(alice), "bob")
	all["an account by its name"] = b.get(w.linkTo("bob@acme.example"))
	newBrowserAs(w, alice.User).connect(w.linkTo("home"), "bob")
	all["mine, two accounts"] = b.get(mine)
	w.reload(func(cfg *connect.Config) { cfg.Tokens = &tokens{w: w} })
	for _, deed := range []string{"default", "test", "refresh", "off", "on"} {
		all["mine, "+deed] = b.undo(t, w.named("home").ID, deed)
	}
	w.away = true
	for _, deed := range []string{"test", "refresh"} {
		all["mine, not "+deed] = b.undo(t, w.named("home").ID, deed)
	}
	w = newWorld(t, threeToolkits(t), aProject("acme", "keys"), behindASite, withAgents(alice.Agent, otherBot.Agent))
	b = newBrowserAs(w, alice.User)
	b.connect(w.link(alice), "alice")
	newBrowserAs(w, alice.User).connect(w.linkTo("bob@acme.example"), "bob")
	all["form, approve"], all["approve, several"] = b.get(w.link(otherBot)), b.get(w.linkFor(otherBot, "acme", "second"))
	all["done, approved"] = b.press(all["form, approve"])
	all["mine, agents"] = b.get(mine)
	all["mine, withdraw"] = b.lets(t, w.connection().ID, otherBot.Agent, "withdraw")
	all["mine, allow"] = b.lets(t, w.connection().ID, otherBot.Agent, "allow")
	all["mine, rename"], all["mine, not rename"] = b.renames(t, w.connection().ID, "<b>Work & more</b>"), b.renames(t, w.connection().ID, "bob@acme.example")
	all["another account by oneself"] = b.undo(t, w.connection().ID, "another")
	b.lets(t, w.connection().ID, alice.Agent, "withdraw")
	all["mine, the project's agent"] = b.get(projectLink)
	w = newWorld(t, aProject("acme"), behindASite)
	all["mine, the project"], all["not for you"] = newBrowserAs(w, alice.User).get(projectLink), newBrowserAs(w, "mallory").get(projectLink)
	w = newWorld(t, atTheApplication, aProject("acme"))
	b = newBrowser(w)
	all["sign in for the project"] = b.get(projectLink)
	all["sign in"], all["sign in for mine"] = b.get(w.link(alice)), b.get(mine)
	all["not recognised"] = b.get(public + "/signin?state=" + b.toApplication(w.link(alice)))
	all["no sign-in"] = b.get(public + "/signin?state=nothing")
	return all
}

func TestEveryPageIsLockedDown(t *testing.T) {
	for name, p := range everyPage(t) {
		h := p.header
		for header, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "DENY", "X-Robots-Tag": "noindex, nofollow", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := h.Get(header); got != want {
				t.Errorf("%s: %s is %q", name, header, got)
			}
		}
		// A form has to say where it comes from; all other pages tell nobody.
		form, policy, actions := formOf(t, p), "no-referrer", "'none'"
		if form != nil {
			policy, actions = "same-origin", "'self' "+acmeURL+" https:"
		}
		switch {
		case strings.HasSuffix(name, "the way back"):
			actions = "'self' " + acmeURL + " https://app.example https:"
		case strings.HasPrefix(name, "mine") || strings.HasPrefix(name, "form") && form != nil:
			policy, actions = "same-origin", "'self'"
		case name == "asked, part way":
			actions = "'self' https://north.shops.example https://*.shops.example https:"
		case strings.HasPrefix(name, "asked before"):
			actions = "'self' https://north.shops.example https:"
		case strings.HasPrefix(name, "asked") && form != nil:
			actions = "'self' https://*.shops.example https:"
		case strings.HasPrefix(name, "sign in"):
			actions = "'self' https://app.example https:"
		}
		if got := h.Get("Referrer-Policy"); got != policy {
			t.Errorf("%s: Referrer-Policy is %q", name, got)
		}
		want := "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action " + actions
		if got := h.Get("Content-Security-Policy"); got != want {
			t.Errorf("%s: Content-Security-Policy is %q", name, got)
		}
		if id := h.Get("X-Toolgate-Request-Id"); id == "" || !strings.Contains(p.text, id) {
			t.Errorf("%s: the request's id is not on the page", name)
		}
		if p.status >= 500 != (h.Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After is %q", name, h.Get("Retry-After"))
		}
	}
}

func TestNoPageRunsOrLoadsAnything(t *testing.T) {
	for name, p := range everyPage(t) {
		if strings.Contains(p.text, "code-marker") || strings.Contains(p.text, "evil") {
			t.Errorf("%s: something of the address is on the page", name)
		}
		wantPlain(t, name, p)
	}
}

// plain are the elements that a page may be made of, and the attributes they may have.
var plain = []string{
	"html", "head", "meta", "title", "link", "body", "header", "main", "footer", "h1", "p", "span", "strong", "dl", "div", "dt", "dd", "ul", "li",
	"code", "form", "label", "input", "button", "section", "h2", "h3", "details", "summary", "time", "a", "img",
}

func wantPlain(t *testing.T, name string, p *page) {
	t.Helper()
	for n := range parseHTML(t, p.text).Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if !slices.Contains(plain, n.Data) {
			t.Errorf("%s: there is a <%s>", name, n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.Contains(a.Val, "javascript:") {
				t.Errorf("%s: <%s %s=%q>", name, n.Data, a.Key, a.Val)
			}
			onward := (n.Data == "form" || n.Data == "a") && strings.HasPrefix(a.Val, public+"/connect/c_") || a.Val == projectLink || strings.HasPrefix(a.Val, theApp) || n.Data == "a" && a.Val == helpURL || a.Val == mine
			if (a.Key == "href" || a.Key == "src" || a.Key == "action") && a.Val != "/connect/style.css" && a.Val != "/connect/icon.svg" && a.Val != "/connect/brand.css" && a.Val != "/connect/logo" && !onward {
				t.Errorf("%s: <%s> leads to %q", name, n.Data, a.Val)
			}
			if a.Key == "http-equiv" {
				t.Errorf("%s: <meta http-equiv=%q>", name, a.Val)
			}
		}
	}
}

func findElement(t *testing.T, p *page, name string) *html.Node {
	t.Helper()
	for n := range parseHTML(t, p.text).Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			return n
		}
	}
	t.Fatalf("there is no <%s> on %s", name, p.address)
	return nil
}

func TestWhatOthersWroteIsOnlyEverText(t *testing.T) {
	evil := func(n int) string {
		return fmt.Sprintf(`"'><script>alert(%d)</script><img src=x onerror=alert(1)>&lt;{{.Token}}`, n)
	}
	w := newWorld(t, func(cfg *connect.Config) {
		tk := cfg.Toolkits["acme"].Toolkit
		tk.Name, tk.OAuth.Scopes = evil(1), []string{evil(2), "read"}
		cfg.Exchanger = granting
		cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: tk, Upstream: upstream(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(fmt.Sprintf(`{"email":%q}`, evil(3))))}, nil
		})}
	})
	who := caller.Caller{Tenant: evil(4), Agent: evil(5), User: evil(6)}
	b, link := newBrowser(w), w.link(who)
	p := b.get(link)
	wantPlain(t, "confirm", p)
	for _, n := range []int{1, 2, 5, 6} {
		if text := textOf(parseHTML(t, p.text)); !strings.Contains(text, evil(n)) {
			t.Errorf("text no. %d is not shown as it is", n)
		}
	}
	r := httptest.NewRequest(http.MethodPost, link, nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	setBody(r, formOf(t, p).fields)
	b.addCookies(r)
	res := w.serve(r) // Acme does not know such scopes
	p = b.get(comeBack(t, res.Header.Get("Location"), "code", "c"))
	wantPlain(t, "done", p)
	p.want(t, http.StatusOK, "Connected as "+evil(3))
}

func TestARedirectSaysNothingBesidesWhere(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	for name, res := range map[string]*http.Response{
		"the button":   w.serve(pressing(w, link)),
		"the callback": b.send(http.MethodGet, b.consent(link, "alice"), nil, "cross-site"),
	} {
		text, _ := io.ReadAll(res.Body)
		h := res.Header
		if res.StatusCode != http.StatusSeeOther || len(text) != 0 || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %d %v %q", name, res.StatusCode, h, text)
		}
		if name == "the callback" && h.Get("Location") != link {
			t.Errorf("%s leads to %s", name, h.Get("Location"))
		}
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.Host = "connect.example.com"
		w.service.ServeHTTP(rw, r)
	}))
	defer server.Close()
	link := mustParse(t, w.link(alice))
	res, err := http.Head(server.URL + link.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.ContentLength < 500 {
		t.Errorf("%d, %d bytes", res.StatusCode, res.ContentLength)
	}
}

func TestAProviderOnPlainHTTPIsTheOnlyPlaceTheFormLeadsTo(t *testing.T) {
	w := newWorld(t, func(cfg *connect.Config) {
		cfg.Toolkits["acme"].Toolkit.OAuth.AuthorizeURL = "http://127.0.0.1:9090/authorize"
	})
	p := newBrowser(w).get(w.link(alice))
	if got := p.header.Get("Content-Security-Policy"); !strings.HasSuffix(got, "; form-action 'self' http://127.0.0.1:9090") {
		t.Errorf("Content-Security-Policy is %q", got)
	}
}
