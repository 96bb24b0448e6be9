// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// replica is Ada's record as a replica has it that is about to be left behind.
func (w *world) replica() store.Record {
	w.t.Helper()
	r, err := w.store.Get(context.Background(), vault.Name("connection", "acme", "ada", "acme", ""))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// failOver goes on with what the replica has.
func (g *gossip) failOver(t *testing.T, r store.Record) {
	t.Helper()
	s, last := memstore.New(nil), r.Version
	for r.Version = 1; r.Version <= last; r.Version++ {
		if err := s.Put(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.Store = s
}

// goesBack has a gateway renew Ada's token, and the store lose that. It gives what the
// gateway still has.
func goesBack(t *testing.T, w *world, g *gossip, source *Source) connection.Connection {
	t.Helper()
	behind := w.replica()
	time.Sleep(25 * time.Hour)
	had := w.token(source, key("ada"))
	had = w.token(source, had.Key) // and read once more
	g.failOver(t, behind)
	return had
}

// back is when the subscription is there again after the fail-over.
func (g *gossip) back() {
	g.line(true)
	g.line(false)
}

func TestATokenThatTheStoreHasLostIsUsedAndSavedAgain(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		had := goesBack(t, w, g, source)
		g.back()
		if c := w.token(source, key("ada")); !c.AccessToken.Equal(had.AccessToken) {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		time.Sleep(2 * saveAgain)
		if c := w.stored(key("ada")); !c.RefreshToken.Equal(had.RefreshToken) || !c.ExpiresAt.Equal(had.ExpiresAt) || c.Intent != nil {
			t.Errorf("stored: %s, until %v", c.RefreshToken.Reveal(), c.ExpiresAt)
		}
		time.Sleep(25 * time.Hour)
		w.token(source, key("ada"))
		w.wantCalls(2, "one before, and one a day later")
		if w.provider.reuses != 0 {
			t.Error("the spent token was sent again")
		}
	})
}

func TestALossThatNobodyTellsOfIsSeenBeforeATokenIsSpent(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		had := goesBack(t, w, g, source)
		if _, err := source.Renew(t.Context(), w.toolkit, had); err != nil { // the provider did not like it
			t.Fatal(err)
		}
		if c := w.stored(key("ada")); !strings.HasSuffix(c.RefreshToken.Reveal(), "/3") || w.provider.reuses != 0 {
			t.Errorf("stored: %s, %d spent tokens were sent again", c.RefreshToken.Reveal(), w.provider.reuses)
		}
	})
}

func TestASlowReadingFromBeforeALossWasMendedMendsNothing(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		goesBack(t, w, g, source)
		g.back()
		g.hold = func() {
			g.hold = nil
			if _, err := source.read(t.Context(), key("ada")); err != nil { // as a refresh does
				t.Error(err)
			}
		}
		w.token(source, key("ada")) // reads what the store went back to, and that takes a while
		if source.Unsaved(key("ada")) {
			t.Error("what was saved again since is held")
		}
	})
}

func TestATokenThatWasHeldWhenTheStoreWentBackIsStillHeld(t *testing.T) {
	for what, age := range map[string]time.Duration{"the intent alone": 30 * time.Second, "what was spent as well": 25 * time.Hour} {
		t.Run(what, func(t *testing.T) {
			shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
				time.Sleep(25 * time.Hour)
				behind := w.replica()
				had := w.token(source, key("ada"))
				if what == "the intent alone" {
					behind = w.replica()
				}
				time.Sleep(age)
				w.provider.after = func(int, string) error { w.store.down("put"); return nil }
				held, err := source.Renew(t.Context(), w.toolkit, had)
				if err != nil || !source.Unsaved(key("ada")) {
					t.Fatalf("not held, %v", err)
				}
				g.failOver(t, behind)
				w.store.up()
				g.back()
				time.Sleep(2 * saveAgain)
				if c := w.stored(key("ada")); !strings.HasSuffix(c.RefreshToken.Reveal(), "/3") || !c.AccessToken.Equal(held.AccessToken) {
					t.Errorf("stored: %s", c.RefreshToken.Reveal())
				}
			})
		})
	}
}

func TestATokenThatComesWhenTheStoreHasGoneBackTwiceIsSaved(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		behind := w.replica()
		time.Sleep(25 * time.Hour)
		had := w.token(source, key("ada"))
		time.Sleep(time.Hour)
		w.provider.after = func(int, string) error { g.failOver(t, behind); return nil }
		if _, err := source.Renew(t.Context(), w.toolkit, had); err != nil {
			t.Fatal(err)
		}
		if c := w.stored(key("ada")); !strings.HasSuffix(c.RefreshToken.Reveal(), "/3") {
			t.Errorf("stored: %s", c.RefreshToken.Reveal())
		}
		if c := w.token(source, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/3") {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		w.wantCalls(2, "it is there")
	})
}

func TestWhoConnectsElsewhereAfterALossWins(t *testing.T) {
	for what, how := range map[string]func(*world) connection.Connection{
		"at once": func(w *world) connection.Connection { return w.connect(key("ada")) },
		"by a clock that is behind": func(w *world) connection.Connection {
			w.connect(key("ada"))
			return w.change(key("ada"), func(c *connection.Connection) {
				c.UpdatedAt, c.IssuedAt = c.UpdatedAt.Add(-clocksApart), c.IssuedAt.Add(-clocksApart)
			})
		},
		"with a token that was bought elsewhere long ago": func(w *world) connection.Connection {
			w.connect(key("ada"))
			return w.change(key("ada"), func(c *connection.Connection) { c.IssuedAt = c.IssuedAt.Add(-30 * 24 * time.Hour) })
		},
	} {
		t.Run(what, func(t *testing.T) {
			shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
				for range 5 {
					w.change(key("ada"), func(*connection.Connection) {}) // so that what comes after is of a lower version
				}
				behind := w.replica()
				behind.Version = 1
				time.Sleep(25 * time.Hour)
				w.token(source, key("ada"))
				g.failOver(t, behind)
				theirs := how(w)
				g.back()
				for range 3 {
					if c := w.token(source, key("ada")); !c.AccessToken.Equal(theirs.AccessToken) {
						t.Errorf("still %s", c.AccessToken.Reveal())
					}
					time.Sleep(2 * saveAgain)
				}
				if c := w.stored(key("ada")); !c.RefreshToken.Equal(theirs.RefreshToken) {
					t.Errorf("stored: %s, over what the user has just granted", c.RefreshToken.Reveal())
				}
			})
		})
	}
}

func TestWhoConnectsElsewhereWhileALossIsMendedWins(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		goesBack(t, w, g, source)
		g.back()
		w.store.down("put")
		w.token(source, key("ada"))
		synctest.Wait() // it could not be saved yet
		w.store.up()
		theirs := w.connect(key("ada"))
		time.Sleep(2 * saveAgain)
		if c := w.token(source, key("ada")); !c.AccessToken.Equal(theirs.AccessToken) {
			t.Errorf("still %s", c.AccessToken.Reveal())
		}
	})
}

func TestAConnectionThatWasTakenForDeadAfterALossLives(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		had := goesBack(t, w, g, source)
		w.change(key("ada"), func(c *connection.Connection) { // a gateway has sent the spent token
			c.Status, c.Reason, c.UpdatedAt = connection.Expired, connection.RefreshRejected, time.Now()
		})
		g.back()
		if c := w.token(source, key("ada")); !c.AccessToken.Equal(had.AccessToken) {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		time.Sleep(2 * saveAgain)
		if c := w.stored(key("ada")); c.Status != connection.Active || c.Reason != "" {
			t.Errorf("stored: %s, %s", c.Status, c.Reason)
		}
	})
}

func TestALostTokenGoesToNoOtherAccountAndNoOtherHost(t *testing.T) {
	for what, how := range map[string]func(*connection.Connection){
		"another account": func(c *connection.Connection) { c.AccountLabel = "bob@example.com" },
		"another host":    func(c *connection.Connection) { c.Granted.Hosts = []string{"elsewhere.example"} },
		"another place":   func(c *connection.Connection) { c.Variables = map[string]string{"realm": "2"} },
		"another issuer":  func(c *connection.Connection) { c.Granted.Issuer = "https://elsewhere.example" },
		"another client":  func(c *connection.Connection) { c.Granted.ClientID = "another" },
	} {
		t.Run(what, func(t *testing.T) {
			shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
				had := goesBack(t, w, g, source)
				w.change(key("ada"), how)
				g.back()
				_, _ = source.Token(t.Context(), w.toolkit, key("ada"))
				time.Sleep(2 * saveAgain)
				if c := w.stored(key("ada")); c.RefreshToken.Equal(had.RefreshToken) {
					t.Error("the token was put there")
				}
			})
		})
	}
}

func TestATokenThatDoesNotRotateIsTakenFromWhereTheStoreIs(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		w.provider.keeps = true
		goesBack(t, w, g, source)
		g.back()
		w.token(source, key("ada"))
		if source.Unsaved(key("ada")) {
			t.Error("it is held, though the refresh token is in the store")
		}
		w.wantCalls(2, "the store's had ended")
	})
}
