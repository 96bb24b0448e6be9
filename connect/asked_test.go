// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/demo"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// shopToolkit is Acme as a provider that has a host for each shop, its authorization
// server too, which only the user can name.
func shopToolkit(t testing.TB, id string, changes ...func(*toolkit.Definition)) *toolkit.Toolkit {
	t.Helper()
	const shop = "https://{shop}.shops.example"
	d := toolkit.Definition{
		ID: id, Name: "Acme Shops", BaseURL: shop + "/v1",
		Variables: map[string]toolkit.VariableDefinition{"shop": {
			From: toolkit.FromUser, Ask: "Your shop's name", Help: "It is in the address of your admin.", HelpURL: helpURL,
		}},
		Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth: toolkit.OAuthDefinition{
			AuthorizeURL: shop + "/authorize", TokenURL: shop + "/token", RevokeURL: shop + "/revoke",
			ClientID: "toolgate", ClientSecret: secret.New("acme-client-secret"), Scopes: []string{"read", "offline_access"},
		},
		Identity: &toolkit.Identity{Path: "/me", Field: "email"},
	}
	for _, change := range changes {
		change(&d)
	}
	tk, err := d.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

// newShops is a world with two shops, each a server of its own.
func newShops(t testing.TB, changes ...func(*toolkit.Definition)) *world {
	t.Helper()
	w := newWorld(t)
	w.openShops(t)
	w.reload(func(cfg *connect.Config) {
		cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: shopToolkit(t, "acme", changes...), Upstream: w}
	})
	return w
}

// askingForShops has two toolkits at the shops, and one whose users have keys there.
func askingForShops(t testing.TB) func(*connect.Config) {
	return func(cfg *connect.Config) {
		upstream := cfg.Toolkits["acme"].Upstream
		key := func(d *toolkit.Definition) {
			d.Auth, d.OAuth = toolkit.AuthDefinition{Kind: toolkit.APIKey, PerUser: true}, toolkit.OAuthDefinition{}
		}
		cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: shopToolkit(t, "acme"), Upstream: upstream}
		cfg.Toolkits["second"] = connect.Endpoint{Toolkit: shopToolkit(t, "second"), Upstream: upstream}
		cfg.Toolkits["keys"] = connect.Endpoint{Toolkit: shopToolkit(t, "keys", key), Upstream: new(keyDesk)}
	}
}

func (w *world) openShops(t testing.TB) {
	t.Helper()
	w.tenants = map[string]*demo.Provider{}
	for _, host := range []string{"north.shops.example", "south.shops.example"} {
		p, err := demo.New(demo.Config{
			Origin: "https://" + host, ClientID: "toolgate", ClientSecret: "acme-client-secret", AccessTTL: time.Hour, Now: w.clock.now,
			RedirectURIs: []string{connect.RedirectURI(w.cfg.PublicURL, "acme"), connect.RedirectURI(w.cfg.PublicURL, "second")},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.tenants[host] = p
	}
}

func (w *world) north() *demo.Provider { return w.tenants["north.shops.example"] }
func (w *world) south() *demo.Provider { return w.tenants["south.shops.example"] }

// say enters a shop on a link's page, and gives what follows.
func (b *browser) say(link, shop string) *page {
	b.w.t.Helper()
	return b.press(b.get(link), "said.shop", shop)
}

// connectAt goes the whole way with a shop.
func (b *browser) connectAt(link, shop, user string) *page {
	b.w.t.Helper()
	return b.get(b.answer(b.say(link, shop), user, "allow"))
}

// field is the one that asks for the shop, or nil.
func field(t testing.TB, p *page) *html.Node {
	t.Helper()
	for n := range parseHTML(t, p.text).Descendants() {
		if n.Data == "input" && attribute(n, "name") == "said.shop" {
			return n
		}
	}
	return nil
}

// describedBy are the texts that the field says more of it.
func describedBy(t testing.TB, p *page, field *html.Node) (texts []string) {
	t.Helper()
	root := parseHTML(t, p.text)
	for id := range strings.FieldsSeq(attribute(field, "aria-describedby")) {
		text := "nothing"
		for n := range root.Descendants() {
			if attribute(n, "id") == id {
				text = textOf(n)
			}
		}
		texts = append(texts, text)
	}
	return texts
}

func TestAUserNamesTheirShopBeforeTheyAreSentAnywhere(t *testing.T) {
	w := newShops(t)
	b, link := newBrowser(w), w.link(alice)
	p := b.get(link)
	p.want(t, http.StatusOK, "Connect Acme Shops?")
	p.says(t, "Your shop's name", "Such as your-shop.shops.example", "It is in the address of your admin.", "Where do I find this?", "You sign in at shops.example")
	if csp := p.header.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "form-action 'self' https://*.shops.example https:") {
		t.Errorf("Content-Security-Policy is %s", csp)
	}
	if f := field(t, p); f == nil || attribute(f, "value") != "" || attribute(f, "aria-invalid") != "" || len(describedBy(t, p, f)) != 2 {
		t.Errorf("the field: %+v", f)
	}
	p = b.press(p, "said.shop", " https://North.Shops.example/admin\n")
	if at := mustParse(t, p.address); at.Host != "north.shops.example" || at.Path != "/authorize" {
		t.Fatalf("the browser is sent to %s", p.address)
	}
	p = b.get(b.answer(p, "alice", "allow"))
	p.want(t, http.StatusOK, "Connected as alice@acme.example")
	p.says(t, "Your shop's name", "north")
	conn := w.connection()
	if !maps.Equal(conn.Variables, map[string]string{"shop": "north"}) || !slices.Equal(conn.Granted.Hosts, []string{"https://{shop}.shops.example"}) || conn.Granted.Issuer != "https://north.shops.example/token" {
		t.Errorf("kept %v, %+v", conn.Variables, conn.Granted)
	}
	if n, s := w.north().Stats(), w.south().Stats(); n.TokenRequests != 1 || n.APICalls != 1 || s != (demo.Stats{}) {
		t.Errorf("north %+v, south %+v", n, s)
	}
	w.wantStatus(t, connection.Active, "")
	if got := w.audit.text(); got != "link_started, connected" {
		t.Errorf("audit: %s", got)
	}
}

// What is not a value goes nowhere, and says how it would be one.
func TestWhatIsNoShopIsAskedForAgain(t *testing.T) {
	w := newShops(t)
	b, link := newBrowser(w), w.link(alice)
	for text, says := range map[string]string{
		"": "Something is missing", "  ": "Something is missing", "my shop": "does not fit here", "evil.example": "does not fit here", "https://evil.example/": "does not fit here",
		"north.shops.example.evil.example": "does not fit here", "u@north": "does not fit here", "north:443": "does not fit here", "../north": "does not fit here", "north%2e": "does not fit here",
		"north\r\nLocation: https://evil.example": "does not fit here", `"><script>alert(1)</script>`: "does not fit here", "{shop}": "does not fit here", "xn--north": "does not fit here", "127.0.0.1": "does not fit here",
		strings.Repeat("n", 64): "does not fit here", strings.Repeat("n", 20000): "does not fit here",
	} {
		p := b.say(link, text)
		p.want(t, http.StatusUnprocessableEntity, "Connect Acme Shops?")
		f := field(t, p)
		if f == nil || attribute(f, "aria-invalid") != "true" || !slices.ContainsFunc(f.Attr, func(a html.Attribute) bool { return a.Key == "autofocus" }) {
			t.Fatalf("%q: the field %+v", text, f)
		}
		if said := describedBy(t, p, f); len(said) != 3 || !strings.Contains(said[0], says) {
			t.Errorf("%q: the field says %q", text, said)
		}
		if kept := attribute(f, "value"); len(text) < 100 && kept != strings.ReplaceAll(strings.TrimSpace(text), "\r", "") || len(text) > 300 && kept != "" {
			t.Errorf("%q: it has to be entered all again: %q", text, kept)
		}
		for _, fault := range faultsOf(p.text) {
			t.Errorf("%q: %s", text, fault)
		}
		if b.trail[len(b.trail)-1] != link {
			t.Errorf("%q leads to %s", text, b.trail[len(b.trail)-1])
		}
	}
	// Nor is it a value where the form has several, or none.
	form := formOf(t, b.get(link))
	form.fields["said.shop"] = []string{"north", "north"}
	b.navigate("POST", link, form.fields, "same-origin").want(t, http.StatusUnprocessableEntity, "Connect Acme Shops?")
	b.press(b.get(link)).want(t, http.StatusUnprocessableEntity, "Connect Acme Shops?")
	if got := w.audit.text(); got != "" || len(w.reported()) != 0 {
		t.Errorf("something happened: audit %s, reported %q", got, w.reported())
	}
	b.connectAt(link, "north", "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
}

// A shop's owner may be the one who attacks: they have a true code and a true answer of
// their own server, and a victim's flow.
func TestACallbackIsGoodForTheShopThatWasNamed(t *testing.T) {
	for name, change := range map[string]func(*toolkit.Definition){
		"without an issuer": func(*toolkit.Definition) {},
		"with one":          func(d *toolkit.Definition) { d.OAuth.Issuer = "https://{shop}.shops.example" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newShops(t, change)
			b, link := newBrowser(w), w.link(alice)
			b.halt = "/authorize"
			atNorth := b.say(link, "north").next
			b.halt = ""
			state := mustParse(t, atNorth).Query().Get("state")
			elsewhere := strings.Replace(atNorth, "https://north.", "https://south.", 1)
			callback := mustParse(t, b.answer(b.get(elsewhere), "alice", "allow"))
			if callback.Query().Get("state") != state {
				t.Fatal("the test is wrong")
			}
			q := callback.Query()
			q.Del("iss") // as at a server that does not send it, or where somebody took it away
			callback.RawQuery = q.Encode()
			b.get(callback.String())
			w.notConnected()
			if s := w.south().Stats(); s.TokenRequests != 0 {
				t.Errorf("the secret went to the shop that was not named: %+v", s)
			}
			q.Set("iss", "https://south.shops.example")
			callback.RawQuery = q.Encode()
			p := b.get(callback.String())
			w.notConnected()
			if w.south().Stats().TokenRequests != 0 {
				t.Errorf("%s", p.text)
			}
		})
	}
}

func TestAnAnswerOfAnotherShopsServerIsRefusedByItsIssuer(t *testing.T) {
	w := newShops(t, func(d *toolkit.Definition) { d.OAuth.Issuer = "https://{shop}.shops.example" })
	b, link := newBrowser(w), w.link(alice)
	callback := b.answer(b.say(link, "north"), "alice", "allow")
	b.get(strings.Replace(callback, "north.shops", "south.shops", 1)).want(t, http.StatusBadRequest, "The answer came from another service")
	w.wantReported("refused issuer_mismatch")
	b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
	if got := w.connection().Granted.Issuer; got != "https://north.shops.example" {
		t.Errorf("granted by %s", got)
	}
}

func TestAConnectionThatIsMadeAnewKeepsItsShop(t *testing.T) {
	w := newShops(t)
	b := newBrowser(w)
	b.connectAt(w.link(alice), "north", "alice")
	before := w.connection()
	w.clock.pass(time.Hour)
	link := w.link(alice)
	p := b.get(link)
	if field(t, p) != nil {
		t.Error("it is asked again")
	}
	p.says(t, "Your shop's name", "north", "You sign in at north.shops.example")

	// A page from before there was a connection still asks.
	p = b.press(p, "said.shop", "south")
	p.want(t, http.StatusUnprocessableEntity, "Connect Acme Shops?")
	p.says(t, "That is another account than the one that is connected here")
	if w.connection().Version != before.Version || w.south().Stats() != (demo.Stats{}) {
		t.Error("something was changed")
	}
	p = b.press(b.get(link), "said.shop", "https://north.shops.example")
	if !strings.HasPrefix(p.address, "https://north.shops.example/authorize") {
		t.Fatalf("the same one leads to %s", p.address)
	}
	b.get(b.answer(p, "alice", "allow")).want(t, http.StatusOK, "Connected as alice@acme.example")
	if now := w.connection(); now.ID != before.ID || now.Version <= before.Version || now.Variables["shop"] != "north" {
		t.Errorf("%+v", now)
	}
}

// Of two tabs with one link, each comes back to where it was sent.
func TestEachTabComesBackFromItsOwnShop(t *testing.T) {
	w := newShops(t)
	b, link := newBrowser(w), w.link(alice)
	first := b.answer(b.say(link, "north"), "alice", "allow")
	b.say(link, "south")
	p := b.get(first)
	p.want(t, http.StatusOK, "Connected as alice@acme.example")
	p.says(t, "north")
	p.hides(t, "south")
	if c := w.connection(); c.Variables["shop"] != "north" || w.south().Stats().TokenRequests != 0 {
		t.Errorf("connected to %v, south %+v", c.Variables, w.south().Stats())
	}
}

// Two tabs, each with another shop: whichever comes second is another account.
func TestAnotherShopDoesNotTakeTheFirstOnesPlace(t *testing.T) {
	w := newShops(t)
	b, other := newBrowser(w), newBrowser(w)
	link := w.link(alice)
	callback := b.answer(b.say(link, "north"), "alice", "allow")
	w.clock.pass(16 * time.Minute)
	late := other.answer(other.say(w.link(alice), "south"), "alice", "allow")
	w.clock.pass(-16 * time.Minute)
	b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
	w.clock.pass(16 * time.Minute)
	other.get(late).says(t, "That is another account than the one that is connected here")
	if c := w.connection(); c.Variables["shop"] != "north" {
		t.Errorf("connected to %v", c.Variables)
	}
	if n, s := w.north().Stats(), w.south().Stats(); n.Revocations != 0 || s.Revocations != 1 {
		t.Errorf("what is not kept is given back there, and nothing elsewhere: north %+v, south %+v", n, s)
	}
}

func TestASecondShopIsASecondAccount(t *testing.T) {
	w := newShops(t)
	w.reload(behindASite)
	b := newBrowserAs(w, alice.User)
	b.connectAt(w.link(alice), "north", "alice")
	p := b.get(w.linkTo("the other shop"))
	if field(t, p) == nil {
		t.Fatalf("it is not asked:\n%s", p.text)
	}
	b.connectAt(w.linkTo("the other shop"), "south", "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	second := w.named("the other shop")
	if w.connection().Variables["shop"] != "north" || second.Variables["shop"] != "south" || second.Granted.Issuer != "https://south.shops.example/token" {
		t.Errorf("%v and %v", w.connection().Variables, second.Variables)
	}
	b.get(mine).says(t, "north", "south", "Your shop's name")

	// One grant has nothing to do with the other, though both are of one address and one client.
	b.undo(t, w.connection().ID, "disconnect").says(t, "taken back at the other service too")
	if n, s := w.north().Stats(), w.south().Stats(); n.Revocations != 1 || s.Revocations != 0 {
		t.Errorf("north %+v, south %+v", n, s)
	}
}

func TestWhatCannotBeRevokedAtOnceIsRevokedAtItsOwnShopLater(t *testing.T) {
	w := newShops(t)
	w.reload(behindASite)
	b := newBrowserAs(w, alice.User)
	b.connectAt(w.link(alice), "south", "alice")
	w.away = true
	b.undo(t, w.connection().ID, "disconnect").says(t, "could not be told yet")
	w.away = false
	w.clock.pass(time.Hour)
	if done, left, err := w.service.RetryRevocations(t.Context()); done != 1 || left != 0 || err != nil {
		t.Errorf("%d done, %d left, %v", done, left, err)
	}
	if n, s := w.north().Stats(), w.south().Stats(); n != (demo.Stats{}) || s.Revocations != 1 {
		t.Errorf("north %+v, south %+v", n, s)
	}
}

func TestAFlowForAShopThatIsNotAllowedAnyMoreEnds(t *testing.T) {
	w := newShops(t)
	b := newBrowser(w)
	callback := b.answer(b.say(w.link(alice), "north"), "alice", "allow")
	narrow := shopToolkit(t, "acme", only("south"))
	w.reload(func(cfg *connect.Config) { cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: narrow, Upstream: w} })
	b.get(callback).want(t, http.StatusConflict, "This service was set up anew meanwhile")
	w.wantReported("refused configured_anew")
	if w.north().Stats().TokenRequests != 0 {
		t.Error("the code was spent")
	}
}

// only allows some shops.
func only(shops ...string) func(*toolkit.Definition) {
	return func(d *toolkit.Definition) {
		v := d.Variables["shop"]
		v.Pattern, v.Example = "^("+strings.Join(shops, "|")+")$", shops[0]
		d.Variables["shop"] = v
	}
}

func TestAShopThatIsNotAllowedAnyMoreIsAskedForAnew(t *testing.T) {
	w := newShops(t)
	b := newBrowser(w)
	b.connectAt(w.link(alice), "north", "alice")
	w.wantStatus(t, connection.Active, "")
	narrow := shopToolkit(t, "acme", only("south"))
	w.reload(func(cfg *connect.Config) { cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: narrow, Upstream: w} })
	w.wantStatus(t, connection.NotConnected, connection.GrantMoved)
	link := w.link(alice)
	b.say(link, "north").want(t, http.StatusUnprocessableEntity, "Connect Acme Shops?")
	b.connectAt(link, "south", "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	if w.connection().Variables["shop"] != "south" {
		t.Errorf("%v", w.connection().Variables)
	}
}

func TestWhoDeclinesFindsTheirShopEnteredStill(t *testing.T) {
	w := newShops(t)
	b, link := newBrowser(w), w.link(alice)
	p := b.get(comeBack(t, b.say(link, "https://north.shops.example/x").address, "error", "access_denied"))
	p.says(t, "You declined")
	if f := field(t, p); f == nil || attribute(f, "value") != "north" {
		t.Errorf("the field: %+v", f)
	}
	if f := field(t, newBrowser(w).get(link)); f == nil || attribute(f, "value") != "" {
		t.Errorf("another browser is told: %+v", f)
	}
}

func TestTheStoreBeingAwayIsNoReasonToAskAgain(t *testing.T) {
	w := newShops(t)
	b := newBrowser(w)
	b.connectAt(w.link(alice), "north", "alice")
	w.clock.pass(time.Hour)
	link := w.link(alice)
	w.store.failing("get", "connection")
	b.get(link).want(t, http.StatusServiceUnavailable, "That did not work just now")
	w.store.works()
	b.get(link).says(t, "north")
}
