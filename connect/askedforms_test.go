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

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

func TestALinkForSeveralAsksInEachRow(t *testing.T) {
	w := newShops(t)
	w.reload(func(cfg *connect.Config) {
		cfg.Toolkits["second"] = connect.Endpoint{Toolkit: shopToolkit(t, "second"), Upstream: w}
	})
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second", "other")
	p := b.get(link)
	if fields, forms := strings.Count(p.text, `name="said.shop"`), strings.Count(p.text, "<form"); fields != 2 || forms != 4 {
		t.Errorf("%d fields in %d forms:\n%s", fields, forms, p.text)
	}
	for _, fault := range faultsOf(p.text) {
		t.Error(fault)
	}
	if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, " https://*.shops.example ") {
		t.Errorf("Content-Security-Policy is %s", csp)
	}
	wrong := b.pressFor(p, "second", "said.shop", "evil.example")
	wrong.want(t, http.StatusUnprocessableEntity, "Connect Acme Shops?")
	b.get(b.answer(b.press(wrong, "said.shop", "south"), "alice", "allow")).says(t, "1 of 3 connected", "south")
	p = b.get(b.answer(b.pressFor(b.get(link), "acme", "said.shop", "north.shops.example"), "alice", "allow"))
	p.says(t, "2 of 3 connected")
	if c, err := w.vault.Load(t.Context(), connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: "second"}); err != nil || c.Variables["shop"] != "south" || w.connection().Variables["shop"] != "north" {
		t.Errorf("%v (%v) and %v", c.Variables, err, w.connection().Variables)
	}
}

// A key of the user's own, at a host of their own.
func TestAFormForAKeyAsksForTheShopToo(t *testing.T) {
	w, desk := newKeyWorld(t)
	tk := shopToolkit(t, "acme", func(d *toolkit.Definition) {
		d.Auth, d.OAuth = toolkit.AuthDefinition{Kind: toolkit.APIKey, PerUser: true, Header: "X-Acme-Key"}, toolkit.OAuthDefinition{}
	})
	w.reload(func(cfg *connect.Config) { cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: tk, Upstream: desk} })
	b, link := newBrowser(w), w.link(alice)
	p := b.get(link)
	p.says(t, "Your shop's name", "It is checked with shops.example first")
	p = b.press(p, "said.shop", "evil.example", "key.key", goodKey)
	p.want(t, http.StatusUnprocessableEntity, "Connect Acme Shops?")
	p.hides(t, goodKey)
	if desk.times() != 0 {
		t.Fatalf("the key went to %s", desk.asked[0].URL)
	}
	b.press(p, "said.shop", "North", "key.key", goodKey).want(t, http.StatusOK, "Connected as ada@acme.example")
	if desk.times() != 1 || desk.asked[0].URL.String() != "https://north.shops.example/v1/me" {
		t.Errorf("asked %s", desk.asked[0].URL)
	}
	conn := w.connection()
	if !maps.Equal(conn.Variables, map[string]string{"shop": "north"}) || !slices.Equal(conn.Granted.Hosts, []string{"https://{shop}.shops.example"}) {
		t.Errorf("kept %v, %+v", conn.Variables, conn.Granted)
	}
	w.clock.pass(time.Hour)
	p = b.get(w.link(alice))
	p.says(t, "north", "It is checked with shops.example first")
	b.press(p, "key.key", goodKey).want(t, http.StatusOK, "Connected as ada@acme.example")
}

// While a key is tried out at one shop, another tab may have connected another one.
func TestAKeyOfAnotherShopDoesNotTakeTheFirstOnesPlace(t *testing.T) {
	w, desk := newKeyWorld(t)
	tk := shopToolkit(t, "acme", func(d *toolkit.Definition) {
		d.Auth, d.OAuth = toolkit.AuthDefinition{Kind: toolkit.APIKey, PerUser: true, Header: "X-Acme-Key"}, toolkit.OAuthDefinition{}
	})
	w.reload(func(cfg *connect.Config) { cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: tk, Upstream: desk} })
	desk.answer = func(*http.Request) (*http.Response, error) {
		_, err := w.vault.Save(t.Context(), connection.Connection{
			Key: aliceKey, ID: "conn_x", Status: connection.Active, AccessToken: secret.New("south's"), Variables: map[string]string{"shop": "south"},
			Granted: connection.Grantee{Issuer: "api_key", Hosts: tk.Origins()},
		})
		return says(http.StatusOK, `{"email":"ada@acme.example"}`), err
	}
	b := newBrowser(w)
	b.press(b.get(w.link(alice)), "said.shop", "north", "key.key", goodKey).says(t, "That is another account than the one that is connected here")
	if c := w.connection(); c.Variables["shop"] != "south" || c.AccessToken.Reveal() != "south's" {
		t.Errorf("replaced by %v", c.Variables)
	}
}

func TestTheProjectsPageShowsWhichShopItIs(t *testing.T) {
	w := newShops(t)
	w.reload(func(cfg *connect.Config) { behindASite(cfg); aProject("acme")(cfg) })
	b := newBrowserAs(w, alice.User)
	b.connectAt(w.link(alice), "north", "alice")
	b.get(projectLink).says(t, "Connected as alice@acme.example", "north")
}

func TestALinkThatHasExpiredAsksOnItsOwnPage(t *testing.T) {
	w := newShops(t)
	w.reload(behindASite)
	b, link := newBrowserAs(w, alice.User), w.link(alice)
	p := b.get(link)
	w.clock.pass(16 * time.Minute)
	p = b.press(p, "said.shop", "evil.example")
	p.want(t, http.StatusUnprocessableEntity, "Connect Acme Shops?")
	p = b.press(p, "said.shop", "north")
	if !strings.HasPrefix(p.address, "https://north.shops.example/authorize") {
		t.Fatalf("it leads to %s:\n%s", p.address, p.text)
	}
	b.get(b.answer(p, "alice", "allow")).want(t, http.StatusOK, "Connected as alice@acme.example")
}
