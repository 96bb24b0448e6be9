// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// placing is a token endpoint that names an instance.
type placing struct {
	*provider
	says   map[string]string
	strays []string
}

func (p *placing) Refresh(ctx context.Context, o *toolkit.OAuth2, token secret.String) (oauth.Grant, error) {
	g, err := p.provider.Refresh(ctx, o, token)
	g.Variables, g.Strays = p.says, p.strays
	return g, err
}

func (w *world) withInstances(patterns ...string) {
	w.t.Helper()
	d := toolkit.Definition{
		ID: "acme", BaseURL: "https://{instance}",
		Variables: map[string]toolkit.VariableDefinition{"instance": {From: toolkit.FromReply, Field: "instance_url", Hosts: patterns}},
		Auth:      toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth:     toolkit.OAuthDefinition{AuthorizeURL: "https://id.example/authorize", TokenURL: "https://id.example/token", ClientID: "client"},
	}
	var err error
	if w.toolkit, err = d.Toolkit(); err != nil {
		w.t.Fatal(err)
	}
}

// instances is a world in which ada is connected at an instance, and its gateway.
func instances(t *testing.T, test func(t *testing.T, w *world, p *placing, g *Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withInstances("*.acme.example")
		w.connect(key("ada"))
		w.change(key("ada"), func(c *connection.Connection) {
			c.Variables = map[string]string{"instance": "na1.acme.example", "kept": "too"}
		})
		p := &placing{provider: w.provider}
		g := w.gateway()
		g.refresher = p
		test(t, w, p, g)
	})
}

func TestARefreshMovesAConnectionToAnotherInstance(t *testing.T) {
	instances(t, func(t *testing.T, w *world, p *placing, g *Source) {
		before := w.token(g, key("ada"))
		p.says = map[string]string{"instance": "na2.acme.example"}
		time.Sleep(2 * time.Hour)
		for what, c := range map[string]connection.Connection{"used": w.token(g, key("ada")), "stored": w.stored(key("ada"))} {
			if c.Variables["instance"] != "na2.acme.example" || c.Variables["kept"] != "too" || c.AccessToken.Equal(before.AccessToken) {
				t.Errorf("%s: %v", what, c.Variables)
			}
		}
		if before.Variables["instance"] != "na1.acme.example" {
			t.Error("what a call is using was changed under it")
		}
	})
}

func TestARefreshThatNamesAStrangerKeepsTheOldInstance(t *testing.T) {
	instances(t, func(t *testing.T, w *world, p *placing, g *Source) {
		p.strays = []string{"instance"}
		time.Sleep(2 * time.Hour)
		c := w.token(g, key("ada"))
		if c.Variables["instance"] != "na1.acme.example" || c.AccessToken.Reveal() == "" || !c.Usable(time.Now()) {
			t.Errorf("%v", c.Variables)
		}
		if e := w.told(Strayed); len(e) != 1 || !slices.Equal(e[0].Variables, []string{"instance"}) || e[0].Key != key("ada") {
			t.Errorf("told %v", e)
		}
	})
}

func TestAMoveThatCannotBeSavedIsUsedAndSavedLater(t *testing.T) {
	instances(t, func(t *testing.T, w *world, p *placing, g *Source) {
		p.says = map[string]string{"instance": "na2.acme.example"}
		w.token(g, key("ada"))
		p.after = func(int, string) error { w.store.down("put"); return nil }
		time.Sleep(2 * time.Hour)
		if c := w.token(g, key("ada")); c.Variables["instance"] != "na2.acme.example" {
			t.Errorf("while the store is away: %v", c.Variables)
		}
		w.store.up()
		time.Sleep(2 * saveAgain)
		if c := w.stored(key("ada")); c.Variables["instance"] != "na2.acme.example" {
			t.Errorf("stored: %v", c.Variables)
		}
	})
}

func TestAnInstanceThatIsNotAllowedAnyMoreIsNotUsed(t *testing.T) {
	instances(t, func(t *testing.T, w *world, p *placing, g *Source) {
		w.token(g, key("ada"))
		w.withInstances("*.elsewhere.example")
		w.unusable(g, key("ada"), connection.Active, connection.GrantMoved)
		time.Sleep(2 * time.Hour)
		w.unusable(g, key("ada"), connection.Active, connection.GrantMoved)
		w.wantCalls(0, "its refresh token stays here")
		w.withInstances("*.acme.example")
		if c := w.token(g, key("ada")); c.Variables["instance"] != "na1.acme.example" {
			t.Errorf("put back: %v", c.Variables)
		}
	})
}

func TestAConnectionFromBeforeTheToolkitHadVariablesIsNotUsed(t *testing.T) {
	instances(t, func(t *testing.T, w *world, p *placing, g *Source) {
		w.change(key("ada"), func(c *connection.Connection) { c.Variables = nil })
		w.unusable(g, key("ada"), connection.Active, connection.GrantMoved)
	})
}

// server notes at which address tokens are renewed.
type server struct {
	*provider
	asked []string
}

func (p *server) Refresh(ctx context.Context, o *toolkit.OAuth2, token secret.String) (oauth.Grant, error) {
	p.asked = append(p.asked, o.TokenURL+" "+o.RevokeURL)
	return p.provider.Refresh(ctx, o, token)
}

func (w *world) withShops(pattern string) {
	w.t.Helper()
	d := toolkit.Definition{
		ID: "acme", BaseURL: "https://{shop}.shops.example",
		Variables: map[string]toolkit.VariableDefinition{"shop": {From: toolkit.FromUser, Ask: "Shop", Pattern: pattern, Example: "north-x"}},
		Auth:      toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth:     toolkit.OAuthDefinition{AuthorizeURL: "https://{shop}.shops.example/a", TokenURL: "https://{shop}.shops.example/t", RevokeURL: "https://{shop}.shops.example/r", ClientID: "client"},
	}
	var err error
	if w.toolkit, err = d.Toolkit(); err != nil {
		w.t.Fatal(err)
	}
}

func TestATokenIsRenewedWhereItsUserHasSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withShops("")
		for user, shop := range map[string]string{"ada": "north", "bob": "south"} {
			w.connect(key(user))
			w.change(key(user), func(c *connection.Connection) {
				c.Variables = map[string]string{"shop": shop}
				c.Granted.Issuer, c.Granted.ClientID = w.toolkit.GranteeOf(c.Variables)
			})
		}
		p := &server{provider: w.provider}
		g := w.gateway()
		g.refresher = p
		w.token(g, key("ada"))
		w.token(g, key("bob"))
		time.Sleep(2 * time.Hour)
		w.token(g, key("ada"))
		w.token(g, key("bob"))
		if want := []string{"https://north.shops.example/t https://north.shops.example/r", "https://south.shops.example/t https://south.shops.example/r"}; !slices.Equal(p.asked, want) {
			t.Errorf("asked %q", p.asked)
		}
	})
}

// A record whose value and grant do not belong together is of no server that is known.
func TestATokenOfOneServerIsNotRenewedAtAnother(t *testing.T) {
	for name, change := range map[string]func(w *world, c *connection.Connection){
		"another server's grant":           func(_ *world, c *connection.Connection) { c.Granted.Issuer = "https://south.shops.example/t" },
		"a grant of nobody's":              func(_ *world, c *connection.Connection) { c.Granted.Issuer = "https://{shop}.shops.example/t" },
		"no value":                         func(_ *world, c *connection.Connection) { c.Variables = nil },
		"a value that is none":             func(_ *world, c *connection.Connection) { c.Variables = map[string]string{"shop": "evil.example/x"} },
		"another value":                    func(_ *world, c *connection.Connection) { c.Variables = map[string]string{"shop": "south"} },
		"one that is not allowed any more": func(w *world, _ *connection.Connection) { w.withShops(`^north-[a-z]+$`) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withShops("")
				w.connect(key("ada"))
				w.change(key("ada"), func(c *connection.Connection) {
					c.Variables = map[string]string{"shop": "north"}
					c.Granted.Issuer, c.Granted.ClientID = w.toolkit.GranteeOf(c.Variables)
					change(w, c)
				})
				p := &server{provider: w.provider}
				g := w.gateway()
				g.refresher = p
				w.unusable(g, key("ada"), connection.Active, connection.GrantMoved)
				time.Sleep(2 * time.Hour)
				w.unusable(g, key("ada"), connection.Active, connection.GrantMoved)
				if len(p.asked) != 0 {
					t.Errorf("asked %q", p.asked)
				}
			})
		})
	}
}
