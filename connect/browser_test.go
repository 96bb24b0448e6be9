// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// browser is a person's browser: it keeps cookies by the rules, sends Origin and
// Sec-Fetch-Site, follows redirects and fills in forms. It stops before a callback
// where it is told to, so that tests can do with that address what they like.
type browser struct {
	w       *world
	cookies map[string]map[string]kept // by host and name
	trail   []string                   // every address that it asked for
	halt    string                     // a part of a path before which it stops
}

type kept struct {
	value string
	until time.Time
}

// page is where a browser ended up.
type page struct {
	status  int
	header  http.Header
	text    string
	address string // without what the halt kept it from
	next    string // the address that it was kept from
}

func newBrowser(w *world) *browser {
	return &browser{w: w, cookies: map[string]map[string]kept{}}
}

func (b *browser) get(address string) *page { return b.navigate("GET", address, nil, "none") }

// navigate asks for an address and follows where that leads.
func (b *browser) navigate(method, address string, form url.Values, site string) *page {
	b.w.t.Helper()
	for range 10 {
		res := b.send(method, address, form, site)
		text, _ := io.ReadAll(res.Body)
		p := &page{status: res.StatusCode, header: res.Header, text: string(text), address: address}
		location, err := res.Location()
		if err != nil {
			return p
		}
		if res.StatusCode != http.StatusSeeOther {
			b.w.t.Fatalf("%s redirects with %d", address, res.StatusCode)
		}
		if location.Host != mustParse(b.w.t, address).Host {
			site = "cross-site"
		}
		method, address, form = "GET", location.String(), nil
		if b.halt != "" && strings.Contains(location.Path, b.halt) {
			p.next = address
			return p
		}
	}
	b.w.t.Fatalf("redirects without end: %q", b.trail)
	return nil
}

func (b *browser) send(method, address string, form url.Values, site string) *http.Response {
	b.w.t.Helper()
	b.trail = append(b.trail, address)
	r, err := http.NewRequestWithContext(b.w.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.w.t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", site)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
	}
	b.addCookies(r)
	res, err := b.w.RoundTrip(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	res.Request = r
	for _, c := range res.Cookies() {
		b.take(r.URL, c)
	}
	return res
}

func (b *browser) addCookies(r *http.Request) {
	for name, c := range b.cookies[r.URL.Host] {
		if b.w.clock.now().Before(c.until) {
			r.AddCookie(&http.Cookie{Name: name, Value: c.value})
		}
	}
}

// take keeps a cookie or, as browsers do, silently does not (RFC 6265bis §5.7).
func (b *browser) take(from *url.URL, c *http.Cookie) {
	prefixed := strings.HasPrefix(c.Name, "__Host-")
	switch {
	case c.Secure && from.Scheme != "https",
		prefixed && (!c.Secure || c.Path != "/" || c.Domain != ""):
		return
	}
	if b.cookies[from.Host] == nil {
		b.cookies[from.Host] = map[string]kept{}
	}
	until := b.w.clock.now().Add(24 * time.Hour)
	if c.MaxAge > 0 {
		until = b.w.clock.now().Add(time.Duration(c.MaxAge) * time.Second)
	}
	b.cookies[from.Host][c.Name] = kept{c.Value, until}
}

// cookie is the one that our pages set.
func (b *browser) cookie() string { return b.cookies["connect.example.com"]["__Host-toolgate"].value }

// press submits the page's form, with these fields besides its own.
func (b *browser) press(p *page, more ...string) *page {
	b.w.t.Helper()
	form := formOf(b.w.t, p)
	if form == nil {
		b.w.t.Fatalf("%s has no form:\n%s", p.address, p.text)
	}
	for i := 0; i < len(more); i += 2 {
		form.fields.Set(more[i], more[i+1])
	}
	return b.navigate("POST", form.action, form.fields, "same-origin")
}

// toProvider opens a link and presses the button.
func (b *browser) toProvider(link string) *page {
	b.w.t.Helper()
	p := b.get(link)
	if p.status != http.StatusOK {
		b.w.t.Fatalf("the link's page: %d\n%s", p.status, p.text)
	}
	return b.press(p)
}

// consent goes from a link to Acme, signs in, allows, and gives the address that Acme
// sends the browser back to.
func (b *browser) consent(link, user string) (callback string) {
	b.w.t.Helper()
	b.halt = "/callback/"
	defer func() { b.halt = "" }()
	return b.answer(b.toProvider(link), user, "allow")
}

// answer does at Acme what a person does there.
func (b *browser) answer(p *page, user, action string) (callback string) {
	b.w.t.Helper()
	b.halt = "/callback/"
	defer func() { b.halt = "" }()
	if strings.Contains(p.text, `name="password"`) {
		p = b.press(p, "action", "login", "user", user, "password", "demo")
	}
	p = b.press(p, "action", action)
	if p.next == "" {
		b.w.t.Fatalf("Acme does not send the browser back:\n%s", p.text)
	}
	return p.next
}

// connect walks the whole way and gives the last page.
func (b *browser) connect(link, user string) *page {
	b.w.t.Helper()
	return b.get(b.consent(link, user))
}

// comeBack makes the callback address for the flow of an authorize address.
func comeBack(t testing.TB, authorize string, answer ...string) string {
	t.Helper()
	asked := mustParse(t, authorize).Query()
	q := url.Values{"state": {asked.Get("state")}}
	for i := 0; i < len(answer); i += 2 {
		q.Set(answer[i], answer[i+1])
	}
	return asked.Get("redirect_uri") + "?" + q.Encode()
}

// wantPage checks status and heading of a page.
func (p *page) want(t testing.TB, status int, heading string) {
	t.Helper()
	if got := headingOf(t, p); p.status != status || got != heading {
		t.Errorf("got %d %q at %s, want %d %q", p.status, got, p.address, status, heading)
	}
}

func headingOf(t testing.TB, p *page) string {
	t.Helper()
	for n := range parseHTML(t, p.text).Descendants() {
		if n.Type == html.ElementNode && n.Data == "h1" {
			return strings.TrimSpace(textOf(n))
		}
	}
	return ""
}

type form struct {
	action string
	fields url.Values
}

func formOf(t testing.TB, p *page) *form {
	t.Helper()
	for n := range parseHTML(t, p.text).Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		f := &form{action: p.address, fields: url.Values{}}
		if action := attribute(n, "action"); action != "" {
			f.action = mustParse(t, p.address).ResolveReference(mustParse(t, action)).String()
		}
		for field := range n.Descendants() {
			if field.Data == "input" && attribute(field, "type") == "hidden" {
				f.fields.Set(attribute(field, "name"), attribute(field, "value"))
			}
			if slices.Contains(field.Attr, html.Attribute{Key: "checked"}) {
				f.fields.Add(attribute(field, "name"), attribute(field, "value"))
			}
		}
		return f
	}
	return nil
}

func parseHTML(t testing.TB, text string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var all strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			all.WriteString(d.Data)
		}
	}
	return all.String()
}
