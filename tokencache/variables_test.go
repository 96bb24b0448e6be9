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
