// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
)

func TestTheIntentIsWrittenBeforeAndTheTokenSavedBeforeItIsUsed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		var order []string
		var mu sync.Mutex
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
		w.store.breaks(func(op, name string) error {
			if op == "put" || op == "lease" {
				note(op)
			}
			return nil
		})
		w.provider.before = func(int, string) error {
			if i := w.stored(key("ada")).Intent; i == nil || i.ID == "" || !i.Since.Equal(time.Now()) {
				t.Errorf("the intent at the time of the request: %v", i)
			}
			note("request")
			return nil
		}
		w.token(g, key("ada"))
		note("used")
		if want := []string{"lease", "put", "request", "put", "used"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if c := w.stored(key("ada")); c.Intent != nil || !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("stored: %s, intent %v", c.AccessToken.Reveal(), c.Intent)
		}
	})
}

func TestSavingIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.breaksAfterTheRequest(3 * time.Second)
		start := time.Now()
		w.token(g, key("ada"))
		if took := time.Since(start); took < 3*time.Second {
			t.Errorf("it was used after %v, before it was saved", took)
		}
		w.wantCalls(1, "the token was there all the time")
	})
}

func TestAUserWhoConnectsMeanwhileWins(t *testing.T) {
	for _, when := range []string{"while it is refreshed", "while it is held"} {
		t.Run(when, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				g := expired(t, w)
				var theirs connection.Connection
				if when == "while it is held" {
					w.provider.after = func(int, string) error { w.store.down("put"); return nil }
					w.token(g, key("ada"))
					w.store.up()
					theirs = w.connect(key("ada"))
					time.Sleep(2 * saveAgain) // it is noticed by whoever sees to what is held
				} else {
					w.provider.after = func(int, string) error {
						theirs = w.connect(key("ada"))
						return nil
					}
				}
				if c := w.token(g, key("ada")); !c.AccessToken.Equal(theirs.AccessToken) {
					t.Errorf("got %s, want the new grant's", c.AccessToken.Reveal())
				}
				time.Sleep(30 * time.Minute)
				g.Close()
				if !w.stored(key("ada")).RefreshToken.Equal(theirs.RefreshToken) {
					t.Error("the new grant was overwritten")
				}
				if len(w.told(Refreshed)) != 0 {
					t.Error("a refresh is told of that came to nothing")
				}
			})
		})
	}
}

func TestAChangeOfSomethingElseIsKept(t *testing.T) {
	for _, when := range []string{"before the intent", "during the request"} {
		t.Run(when, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				g := expired(t, w)
				done := false
				label := func() {
					if !done {
						done = true
						w.change(key("ada"), func(c *connection.Connection) { c.AccountLabel = "ada@example.com" })
					}
				}
				if when == "before the intent" {
					w.store.breaks(func(op, _ string) error {
						if op == "put" {
							label()
						}
						return nil
					})
				} else {
					w.provider.after = func(int, string) error { label(); return nil }
				}
				w.token(g, key("ada"))
				if c := w.stored(key("ada")); c.AccountLabel != "ada@example.com" || !strings.HasSuffix(c.RefreshToken.Reveal(), "/2") {
					t.Errorf("stored: %q, %s", c.AccountLabel, c.RefreshToken.Reveal())
				}
				w.wantCalls(1, "one refresh")
			})
		})
	}
}

func TestWhoSwitchedItOffMeanwhileIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.after = func(int, string) error {
			w.change(key("ada"), func(c *connection.Connection) { c.Status, c.Reason = connection.Inactive, connection.SwitchedOff })
			return nil
		}
		w.unusable(g, key("ada"), connection.Inactive, connection.SwitchedOff)
		if c := w.stored(key("ada")); c.Status != connection.Inactive || !strings.HasSuffix(c.RefreshToken.Reveal(), "/2") {
			t.Errorf("stored: %s, %s: the token is kept for when it is switched on", c.Status, c.RefreshToken.Reveal())
		}
	})
}

func TestWhoDisconnectedMeanwhileIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.after = func(int, string) error { return w.vault.Remove(t.Context(), w.stored(key("ada"))) }
		w.unusable(g, key("ada"), connection.NotConnected, connection.NoConnection)
		g.Close()
		w.unusable(w.gateway(), key("ada"), connection.NotConnected, connection.NoConnection)
		if len(w.told(Unsaved)) != 0 {
			t.Error("it is held for nobody")
		}
	})
}

func TestASaveThatOnlyLooksLostIsFound(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *world) {
			w.provider.keeps = keeps
			g := expired(t, w)
			puts := 0
			w.store.lost = func(string) error {
				if puts++; puts == 2 { // not the intent, the token
					return errDown
				}
				return nil
			}
			w.token(g, key("ada"))
			w.wantCalls(1, "it is in the store")
		})
	}
}

func TestAnIntentThatStaysIsReported(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.change(key("ada"), func(c *connection.Connection) {
			c.Intent = &connection.Intent{ID: "of-a-process-that-died", Since: time.Now()}
		})
		w.token(g, key("ada"))
		if e := w.told(Interrupted); len(e) != 1 || e[0].IntentID != "of-a-process-that-died" || e[0].Key != key("ada") {
			t.Errorf("told %v", e)
		}
		time.Sleep(2 * time.Hour)
		w.token(g, key("ada"))
		if len(w.told(Interrupted)) != 1 {
			t.Error("told again")
		}
	})
}

func TestAnIntentStaysOnlyWhereTheOutcomeIsUnknown(t *testing.T) {
	for _, unspent := range []bool{true, false} {
		bubble(t, func(t *testing.T, w *world) {
			g := expired(t, w)
			w.provider.before = func(int, string) error { return away(unspent, 0) }
			w.refused(g, key("ada"), problem.RefreshUnavailable)
			if stays := w.stored(key("ada")).Intent != nil; stays == unspent {
				t.Errorf("unspent %v: the intent stays %v", unspent, stays)
			}
		})
	}
}

func TestATokenThatLostItsAnswerEndsWithANameForIt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.after = func(call int, _ string) error { return away(false, 0) } // rotated, and the answer lost
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		time.Sleep(time.Minute)
		w.unusable(g, key("ada"), connection.Expired, connection.RefreshRejected)
		if len(w.told(Interrupted)) != 1 || len(w.told(Ended)) != 1 {
			t.Errorf("told %v", w.events)
		}
	})
}

func TestAnOlderPurchaseDoesNotReplaceALaterOne(t *testing.T) {
	now := time.Now()
	bought := purchase{spent: secret.New("r")}
	bought.grant.IssuedAt = now
	for _, c := range []struct {
		conn connection.Connection
		want bool
		why  string
	}{
		{connection.Connection{RefreshToken: secret.New("r"), IssuedAt: now.Add(-time.Hour)}, true, "as it was when it was spent"},
		{connection.Connection{RefreshToken: secret.New("r"), IssuedAt: now}, true, "written already"},
		{connection.Connection{RefreshToken: secret.New("r"), IssuedAt: now.Add(time.Second)}, false, "another gateway was later, with a token that does not rotate"},
		{connection.Connection{RefreshToken: secret.New("other")}, false, "another grant"},
		{connection.Connection{}, false, "taken back"},
	} {
		if got := bought.succeeds(c.conn); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

// ahead makes Ada's record one that a gateway has written whose clock is ahead.
func (w *world) ahead(d time.Duration) {
	w.change(key("ada"), func(c *connection.Connection) { c.IssuedAt = c.IssuedAt.Add(d) })
}

func TestARotatedTokenIsSavedWhateverTheClockSaysOfWhoSavedBefore(t *testing.T) {
	for _, when := range []string{"a write that changes nothing comes between", "the store is away"} {
		t.Run(when, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.connect(key("ada"))
				w.ahead(30 * time.Second)
				g := w.gateway()
				stale := w.token(g, key("ada"))
				time.Sleep(5 * time.Second)
				if when == "the store is away" {
					w.breaksAfterTheRequest(20 * time.Second)
				} else {
					w.provider.after = func(int, string) error {
						w.change(key("ada"), func(*connection.Connection) {}) // sealed anew
						return nil
					}
				}
				fresh, err := g.Renew(t.Context(), w.toolkit, stale)
				if err != nil || !strings.HasSuffix(fresh.AccessToken.Reveal(), "/2") {
					t.Errorf("got %s, %v", fresh.AccessToken.Reveal(), err)
				}
				time.Sleep(time.Minute)
				if c := w.stored(key("ada")); !strings.HasSuffix(c.RefreshToken.Reveal(), "/2") {
					t.Errorf("stored: %s, and the provider's is lost", c.RefreshToken.Reveal())
				}
			})
		})
	}
}
