// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/toolkit"
)

// breaksAfterTheRequest lets the intent through and no more, for a time.
func (w *world) breaksAfterTheRequest(d time.Duration) {
	w.provider.after = func(int, string) error {
		w.store.down("put")
		time.AfterFunc(d, w.store.up)
		return nil
	}
}

func TestATokenThatCannotBeSavedIsHeldAndNotLost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.breaksAfterTheRequest(10 * time.Minute)
		start := time.Now()
		for range 20 {
			if c := w.token(g, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
				t.Errorf("got %s", c.AccessToken.Reveal())
			}
			time.Sleep(10 * time.Second)
		}
		if took := time.Since(start) - 200*time.Second; took < 10*time.Second || took > 15*time.Second {
			t.Errorf("the first one waited %v, in which it could have been saved", took)
		}
		w.wantCalls(1, "nothing more is spent")
		if !g.Cache.Unsaved(key("ada")) || g.Cache.Unsaved(key("bob")) {
			t.Error("it is not shown which one is held")
		}
		if len(w.told(Unsaved)) != 1 {
			t.Errorf("told %v", w.told(Unsaved))
		}
		time.Sleep(10 * time.Minute)
		if c := w.stored(key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("though nobody asked, what was held is to be saved, and there is %s", c.AccessToken.Reveal())
		}
		w.token(g, key("ada"))
		w.wantCalls(1, "the one that was held is used")
		if g.Cache.Unsaved(key("ada")) {
			t.Error("it is still shown as not saved")
		}
		time.Sleep(2 * time.Hour)
		w.provider.after = nil
		w.token(g, key("ada")) // and it pays for the next
		if w.provider.reuses > 0 {
			t.Error("a refresh token was used twice")
		}
	})
}

func TestAHeldTokenIsNotPushedOut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.connect(key("bob"))
		g := w.gatewayWith(Config{MaxEntries: 1})
		w.token(g, key("ada"))
		time.Sleep(2 * time.Hour)
		w.provider.after = func(int, string) error {
			w.store.down("put")
			g.Put(w.stored(key("bob"))) // pushes ada out while she is refreshed
			return nil
		}
		held := w.token(g, key("ada"))
		g.Put(w.stored(key("bob")))
		g.Put(w.stored(key("bob")))
		w.store.up()
		if c := w.token(g, key("ada")); !c.AccessToken.Equal(held.AccessToken) {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		w.wantCalls(1, "it was held")
	})
}

func TestClosingSavesWhatIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.after = func(int, string) error { w.store.down("put"); return nil }
		w.token(g, key("ada"))
		time.Sleep(time.Minute)
		w.store.up()
		g.Close()
		w.token(w.gateway(), key("ada"))
		w.wantCalls(1, "the next process finds it")
	})
}

func TestWhileATokenIsHeldNoOtherGatewaySpendsTheOldOne(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g, other := expired(t, w), w.gateway()
		w.breaksAfterTheRequest(20 * time.Second)
		w.token(g, key("ada"))
		time.Sleep(10 * time.Second) // the store is back, and the old token in it
		var all sync.WaitGroup
		all.Go(func() { w.token(other, key("ada")) })
		time.Sleep(5 * time.Second)
		all.Go(func() { w.token(g, key("ada")) })
		all.Wait()
		w.wantCalls(1, "the other one waited")
	})
}

func TestWhoTakesTheGrantBackMeanwhileIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.after = func(int, string) error { w.store.down("put"); return nil }
		w.token(g, key("ada"))
		w.store.up()
		if err := w.vault.Remove(t.Context(), w.stored(key("ada"))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * saveAgain)
		_, err := g.Token(t.Context(), w.toolkit, key("ada"))
		if u, ok := errors.AsType[*connection.Unusable](err); !ok || u.Status != connection.NotConnected {
			t.Errorf("%v", err)
		}
	})
}

// An outage that begins with the provider's answer and is longer than the lease leaves
// the spent token in the store and the new one with the gateway that bought it.
func TestAfterALongOutageNobodySpendsTheOldTokenBeforeTheNewOneIsSaved(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one, other := expired(t, w), w.gateway()
		const outage = leaseLife + time.Minute
		w.provider.after = func(int, string) error {
			w.store.down("get", "put", "lease")
			time.AfterFunc(outage, w.store.up)
			return nil
		}
		start := time.Now()
		w.token(one, key("ada"))
		for time.Since(start) < outage { // agents try again and again, as they are told to
			if _, err := other.Token(t.Context(), w.toolkit, key("ada")); err == nil {
				t.Fatal("the store is away")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if c := w.token(other, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		w.wantCalls(1, "the other one waited for who holds it")
		if len(w.told(Interrupted)) != 0 {
			t.Error("nothing was interrupted")
		}
	})
}

func TestOnesOwnIntentIsNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.before = func(int, string) error { return away(false, 0) } // nobody knows whether it is spent
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		w.provider.before = nil
		time.Sleep(time.Second)
		start := time.Now()
		w.token(g, key("ada"))
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
		if len(w.told(Interrupted)) != 1 {
			t.Errorf("told %v", w.events)
		}
	})
}

func TestAGatewayThatWaitedForAHolderSpendsNothingOnceItIsClosing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.change(key("ada"), func(c *connection.Connection) { c.Intent = &connection.Intent{ID: "another's", Since: time.Now()} })
		go func() { time.Sleep(holderWait / 2); g.Close() }()
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		w.wantCalls(0, "the store will not wait for the answer")
	})
}

func TestWhenTheStoreIsBackWhatIsHeldIsSavedAtOnce(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		time.Sleep(25 * time.Hour)
		w.provider.after = func(int, string) error { w.store.down("put"); return nil }
		w.token(source, key("ada"))
		time.Sleep(time.Minute + saveAgain/2)
		w.store.up()
		g.line(false)
		synctest.Wait()
		if c := w.stored(key("ada")); !strings.HasSuffix(c.RefreshToken.Reveal(), "/2") {
			t.Errorf("stored: %s", c.RefreshToken.Reveal())
		}
	})
}

// huge gives access tokens that no store keeps.
type huge struct{ *provider }

func (h huge) Refresh(ctx context.Context, o *toolkit.OAuth2, token secret.String) (oauth.Grant, error) {
	g, err := h.provider.Refresh(ctx, o, token)
	g.AccessToken = secret.New(strings.Repeat("a", store.MaxValue))
	return g, err
}

func TestWhatTheStoreRefusesIsTriedLessAndLessOften(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w).Cache.Source(huge{w.provider}, w.observe)
		w.token(g, key("ada"))
		start := time.Now()
		var tried []time.Duration
		w.store.breaks(func(op, _ string) error {
			if op == "get" { // before each attempt
				tried = append(tried, time.Since(start))
			}
			return nil
		})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for i, want := range []int{1, 2, 4, 8, 16, 32, 64, 124, 184, 244} {
			if i >= len(tried) || tried[i] != time.Duration(want)*time.Second {
				t.Fatalf("tried after %v: attempt %d should be after %d s", tried, i, want)
			}
		}
		if len(tried) != 10 {
			t.Errorf("tried after %v", tried)
		}
	})
}

func TestWhatTheStoreRefusesKeepsNothingElseFromBeingSaved(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("bob"))
		g := expired(t, w)
		w.token(g.Cache.Source(huge{w.provider}, w.observe), key("ada"))
		w.breaksAfterTheRequest(time.Minute)
		w.token(g, key("bob"))
		if !g.Unsaved(key("bob")) {
			t.Fatal("not held")
		}
		time.Sleep(time.Minute) // the outage is no reason to try his less often
		if g.Unsaved(key("bob")) || !g.Unsaved(key("ada")) {
			t.Errorf("unsaved: Bob's %v, Ada's %v", g.Unsaved(key("bob")), g.Unsaved(key("ada")))
		}
	})
}

// silent is a store that may stop to answer.
type silent struct {
	store.Store
	now atomic.Bool
}

func (s *silent) Get(ctx context.Context, key string) (store.Record, error) {
	if s.now.Load() {
		<-ctx.Done()
		return store.Record{}, ctx.Err()
	}
	return s.Store.Get(ctx, key)
}

func TestClosingWaitsOnceForAllThatIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		silent := &silent{Store: w.store.Store}
		w.store.Store = silent
		g := w.gateway()
		for i := range 10 {
			w.connect(key(fmt.Sprint("user-", i)))
		}
		time.Sleep(2 * time.Hour)
		for i := range 10 {
			w.provider.after = func(int, string) error { w.store.down("put"); return nil }
			w.token(g, key(fmt.Sprint("user-", i)))
			w.store.up()
		}
		silent.now.Store(true)
		time.Sleep(2 * saveAgain) // an attempt is under way
		start := time.Now()
		g.Close()
		if took := time.Since(start); took > prepareLimit {
			t.Errorf("took %v", took)
		}
	})
}
