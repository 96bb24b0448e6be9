// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"errors"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
)

var errStranger = errors.New("not for this one")

// only admits an agent that may use the connection.
func only(agent string) func(connection.Connection) error {
	return func(c connection.Connection) error {
		if !c.Admits(agent, true) {
			return errStranger
		}
		return nil
	}
}

func TestNothingIsRenewedForAnAgentThatMayNotUseIt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.change(key("ada"), func(c *connection.Connection) { c.Agents = []string{"bot"} })
		g := w.gateway()
		time.Sleep(2 * time.Hour) // the access token has ended
		for range 3 {
			if c, err := g.TokenFor(t.Context(), w.toolkit, key("ada"), only("clerk")); !errors.Is(err, errStranger) || !c.AccessToken.IsZero() {
				t.Errorf("the clerk gets %v, %v", c.AccessToken, err)
			}
		}
		w.wantCalls(0, "for an agent that may not use it")
		if _, err := g.TokenFor(t.Context(), w.toolkit, key("ada"), only("bot")); err != nil {
			t.Errorf("the bot: %v", err)
		}
		w.wantCalls(1, "for the one that may")
		if got := w.stored(key("ada")); len(got.Agents) != 1 || got.Agents[0] != "bot" {
			t.Errorf("the renewal left %q", got.Agents)
		}
	})
}

func TestAnApprovalElsewhereIsFeltAtOnceAlsoWhereNothingIsTold(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		w.connect(key("ada"))
		w.change(key("ada"), func(c *connection.Connection) { c.Agents = []string{"bot"} })
		if _, err := source.TokenFor(t.Context(), w.toolkit, key("ada"), only("clerk")); !errors.Is(err, errStranger) {
			t.Fatal(err)
		}
		g.line(true)
		w.change(key("ada"), func(c *connection.Connection) { *c = c.Admit("clerk") })
		if _, err := source.TokenFor(t.Context(), w.toolkit, key("ada"), only("clerk")); err != nil {
			t.Errorf("once it is approved: %v", err)
		}
	})
}

// A store that is away must not send anybody to their user.
func TestWhoCannotBeLookedUpIsNotRefused(t *testing.T) {
	shared(t, func(t *testing.T, w *world, _ *gossip, source *Source) {
		w.connect(key("ada"))
		w.change(key("ada"), func(c *connection.Connection) { c.Agents = []string{"bot"} })
		w.token(source, key("ada"))
		w.store.down("get")
		_, err := source.TokenFor(t.Context(), w.toolkit, key("ada"), only("clerk"))
		if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Code != problem.StorageUnavailable {
			t.Errorf("%v", err)
		}
	})
}
