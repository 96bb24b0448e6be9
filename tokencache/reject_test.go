// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
)

// refuse plays a call that the provider refuses, also with a new token.
func (w *world) refuse(g *Source, k connection.Key, path string) {
	w.t.Helper()
	conn := w.token(g, k)
	if fresh, err := g.Renew(context.Background(), w.toolkit, conn); err == nil {
		conn = fresh
	} else {
		wantUnusable(w.t, err, connection.Active, connection.ProviderRejected)
	}
	g.Rejected(context.Background(), conn, path)
}

func TestOneEndpointsWhimCostsARefreshAMinuteAndNoGrant(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		g := w.gateway()
		for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(5 * time.Second) {
			w.refuse(g, key("ada"), "/whim")
		}
		w.wantCalls(10, "once a minute, however often it is called")
		w.token(g, key("ada"))
		if got := w.stored(key("ada")).Status; got != connection.Active {
			t.Errorf("stored: %s", got)
		}
	})
}

func TestThreePathsInARowEndTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		g := w.gateway()
		w.refuse(g, key("ada"), "/a")
		w.refuse(g, key("ada"), "/b")
		w.refuse(g, key("ada"), "/a")
		w.token(g, key("ada"))
		w.refuse(g, key("ada"), "/c")
		w.unusable(g, key("ada"), connection.Error, connection.ProviderRejected)
		w.unusable(w.gateway(), key("ada"), connection.Error, connection.ProviderRejected)
		w.wantCalls(1, "one for all three")
		g.Put(w.connect(key("ada")))
		w.refuse(g, key("ada"), "/d")
		w.token(g, key("ada")) // a new grant begins anew
	})
}

func TestPathsCountAcrossRefreshes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		g := w.gateway()
		for _, path := range []string{"/a", "/b", "/c"} {
			w.refuse(g, key("ada"), path)
			time.Sleep(2 * time.Minute)
		}
		w.unusable(g, key("ada"), connection.Error, connection.ProviderRejected)
		w.wantCalls(3, "a new token each time, and no better")
	})
}

func TestACallThatWorksBeginsTheCountAnew(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		g := w.gateway()
		for _, path := range []string{"/a", "/b", "/c", "/d", "/e"} {
			w.refuse(g, key("ada"), path)
			g.Worked(key("ada"))
		}
		w.token(g, key("ada"))
		w.wantCalls(1, "and the calm stays")
		g.Worked(key("nobody"))
	})
}

func TestARefusalOfAnOldTokenSaysNothingOfTheNewOne(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		g := w.gateway()
		old := w.token(g, key("ada"))
		if _, err := g.Renew(t.Context(), w.toolkit, old); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/a", "/b", "/c", "/d"} {
			g.Rejected(t.Context(), old, path)
		}
		if fresh := w.token(g, key("ada")); fresh.Status != connection.Active || len(w.told(Rejected)) != 0 {
			t.Errorf("%s, told %v", fresh.Status, w.told(Rejected))
		}
	})
}

func TestAnExpiredTokenIsRenewedEvenInTheCalm(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.provider.life = 20 * time.Second
		w.connect(key("ada"))
		g := w.gateway()
		w.refuse(g, key("ada"), "/whim")
		conn := w.token(g, key("ada"))
		time.Sleep(30 * time.Second)
		if _, err := g.Renew(t.Context(), w.toolkit, conn); err != nil {
			t.Errorf("its time had passed, and it was not renewed: %v", err)
		}
	})
}

func TestATokenThatComesAfterThreeRefusalsOfTheOldOneIsTried(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := nearItsEnd(t, w)
		old, _ := g.peek(key("ada"))
		w.provider.before = func(int, string) error {
			for _, path := range []string{"/a", "/b", "/c"} {
				g.Rejected(t.Context(), old.conn, path) // calls that were under way
			}
			if got := w.stored(key("ada")).Status; got != connection.Error {
				t.Errorf("before: %s", got)
			}
			return nil
		}
		if c := w.token(g, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		if c := w.stored(key("ada")); c.Status != connection.Active || c.Reason != "" {
			t.Errorf("stored: %s, %s, with a token that nobody has tried", c.Status, c.Reason)
		}
	})
}
