// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// gossip is a store that tells of changes, as long as the line is not cut.
type gossip struct {
	store.Store

	mu    sync.Mutex
	ears  []func(store.News)
	cut   bool
	reads int
	hold  func() // before a read's answer is given
}

func (g *gossip) Watch(ctx context.Context, tell func(store.News)) error {
	g.mu.Lock()
	g.ears = append(g.ears, tell)
	tell(store.News{Kind: store.Listening})
	g.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (g *gossip) inner() store.Store {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.Store
}

func (g *gossip) Get(ctx context.Context, key string) (store.Record, error) {
	r, err := g.inner().Get(ctx, key)
	g.mu.Lock()
	g.reads++
	hold := g.hold
	g.mu.Unlock()
	if hold != nil {
		hold()
	}
	return r, err
}

func (g *gossip) Put(ctx context.Context, r store.Record) error {
	err := g.inner().Put(ctx, r)
	if err == nil {
		g.tell(store.News{Kind: store.Changed, Key: r.Key})
	}
	return err
}

func (g *gossip) Delete(ctx context.Context, key string, version uint64) error {
	err := g.inner().Delete(ctx, key, version)
	if err == nil {
		g.tell(store.News{Kind: store.Changed, Key: key})
	}
	return err
}

func (g *gossip) tell(n store.News) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.cut {
		for _, tell := range g.ears {
			tell(n)
		}
	}
}

// line cuts or mends the line, and says so as a store does that notices.
func (g *gossip) line(cut bool) {
	if cut {
		g.tell(store.News{Kind: store.Deaf})
	}
	g.mu.Lock()
	g.cut = cut
	g.mu.Unlock()
	if !cut {
		g.tell(store.News{Kind: store.Listening})
	}
}

func (g *gossip) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reads
}

// shared runs a test over a store that two gateways watch. The second has Ada's
// connection in its cache.
func shared(t *testing.T, test func(t *testing.T, w *world, g *gossip, source *Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.life = 24 * time.Hour
		g := &gossip{Store: w.store.Store}
		w.store.Store = g
		// The world's wrapper hides the watcher; this one does not.
		w.vault = vault.New(struct {
			*shaky
			store.Watcher
		}{w.store, g}, w.ring())
		w.connect(key("ada"))
		source := w.watching(t)
		w.token(source, key("ada"))
		w.token(source, key("ada"))
		test(t, w, g, source)
	})
}

// watching is a gateway that is told of changes.
func (w *world) watching(t *testing.T) *Source {
	source := w.gateway()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { _ = source.Watch(ctx, nil) }()
	synctest.Wait()
	return source
}

func TestWhatIsKnownIsNotReadAgain(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		before := g.count()
		for range 100 {
			w.token(source, key("ada"))
		}
		if n := g.count() - before; n != 0 {
			t.Errorf("%d reads", n)
		}
	})
}

func TestAReconnectElsewhereIsFeltAtOnce(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		again := w.connect(key("ada"))
		if c := w.token(source, key("ada")); !c.AccessToken.Equal(again.AccessToken) {
			t.Errorf("still %s", c.AccessToken.Reveal())
		}
	})
}

func TestADisconnectElsewhereIsFeltAtOnce(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		if err := w.vault.Remove(t.Context(), w.stored(key("ada"))); err != nil {
			t.Fatal(err)
		}
		w.unusable(source, key("ada"), connection.NotConnected, connection.NoConnection)
	})
}

func TestAConnectionThatWasMadeAnewWinsOverItsLaterVersions(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		for range 5 {
			w.change(key("ada"), func(c *connection.Connection) { c.AccountLabel += "x" })
		}
		w.token(source, key("ada"))
		if err := w.vault.Remove(t.Context(), w.stored(key("ada"))); err != nil {
			t.Fatal(err)
		}
		grant := w.provider.grant("new")
		anew := w.save(connection.Connection{
			Key: key("ada"), ID: "conn_2", Status: connection.Active, AccessToken: grant.AccessToken, IssuedAt: grant.IssuedAt, ExpiresAt: grant.ExpiresAt,
			Granted: connection.Grantee{Issuer: w.toolkit.OAuth.TokenURL, ClientID: w.toolkit.OAuth.ClientID},
		})
		for range 3 {
			if c := w.token(source, key("ada")); !c.AccessToken.Equal(anew.AccessToken) || c.Version != 1 {
				t.Errorf("version %d: %s", c.Version, c.AccessToken.Reveal())
			}
		}
	})
}

func TestAReadThatAChangeOvertookIsNotTrusted(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		w.change(key("ada"), func(c *connection.Connection) { c.AccountLabel = "one" })
		var again connection.Connection
		g.hold = func() { // the old record is on its way while the user connects again
			g.hold = nil
			again = w.connect(key("ada"))
		}
		w.token(source, key("ada"))
		if c := w.token(source, key("ada")); !c.AccessToken.Equal(again.AccessToken) {
			t.Errorf("still %s", c.AccessToken.Reveal())
		}
	})
}

func TestWhatOthersChangeDoesNotMakeEveryCallAReading(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		other := 0
		g.hold = func() { // somebody else's record changes during each reading
			other++
			g.tell(store.News{Kind: store.Changed, Key: vault.Name("connection", "acme", fmt.Sprint("other-", other), "acme", "")})
		}
		g.tell(store.News{Kind: store.Changed, Key: vault.Name("connection", "acme", "ada", "acme", "")})
		before := g.count()
		for range 100 {
			w.token(source, key("ada"))
		}
		if n := g.count() - before; n != 1 {
			t.Errorf("%d reads, for one change of her own", n)
		}
		if len(source.news.readings) != 0 {
			t.Errorf("%d readings are thought to be under way", len(source.news.readings))
		}
	})
}

func TestAReadDuringWhichTheLineCameBackIsNotTrusted(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		g.line(true)
		time.Sleep(DeafTrust)
		var again connection.Connection
		g.hold = func() { // the old record is on its way, and nobody tells of the change
			g.hold = nil
			again = w.connect(key("ada"))
			g.line(false)
		}
		w.token(source, key("ada"))
		if c := w.token(source, key("ada")); !c.AccessToken.Equal(again.AccessToken) {
			t.Errorf("still %s", c.AccessToken.Reveal())
		}
	})
}

func TestWhenTheLineIsCutChangesAreFeltWithinTheBound(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		g.line(true)
		w.token(source, key("ada"))
		again := w.connect(key("ada"))
		start := time.Now()
		for !w.token(source, key("ada")).AccessToken.Equal(again.AccessToken) {
			time.Sleep(100 * time.Millisecond)
			if time.Since(start) > DeafTrust {
				t.Fatal("not felt in time")
			}
		}
		before := g.count()
		for range 100 {
			w.token(source, key("ada"))
		}
		if n := g.count() - before; n > 1 {
			t.Errorf("%d reads: it is not read with every call", n)
		}
	})
}

func TestWhenTheLineIsBackEverythingIsReadAgain(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		g.line(true)
		again := w.connect(key("ada"))
		g.line(false)
		if c := w.token(source, key("ada")); !c.AccessToken.Equal(again.AccessToken) {
			t.Errorf("still %s", c.AccessToken.Reveal())
		}
	})
}

func TestAChangeThatWasLostWithoutATraceIsFeltAtLast(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		g.cut = true // and nobody notices
		again := w.connect(key("ada"))
		time.Sleep(hearingTrust)
		if c := w.token(source, key("ada")); !c.AccessToken.Equal(again.AccessToken) {
			t.Errorf("still %s", c.AccessToken.Reveal())
		}
	})
}

func TestWhileTheStoreIsAwayALiveTokenIsServed(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		c := w.token(source, key("ada"))
		g.line(true)
		w.store.down("get", "put", "lease")
		for now := time.Now(); now.Before(c.ExpiresAt.Add(-time.Second)); now = time.Now() {
			w.token(source, key("ada"))
			time.Sleep(10 * time.Minute)
		}
		w.refused(w.gateway(), key("ada"), problem.StorageUnavailable) // has it not in memory
		time.Sleep(time.Until(c.ExpiresAt))
		p := w.refused(source, key("ada"), problem.StorageUnavailable)
		if p.HTTPStatus() != 503 || p.RetryAfter <= 0 {
			t.Errorf("%d, Retry-After %v", p.HTTPStatus(), p.RetryAfter)
		}
		w.store.up()
		g.line(false)
		w.token(source, key("ada"))
	})
}

func TestHowLongALiveTokenIsServedIsASetting(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		source.MaxStale = 10 * time.Minute
		g.line(true)
		w.store.down("get", "put", "lease")
		time.Sleep(9 * time.Minute)
		w.token(source, key("ada"))
		time.Sleep(2 * time.Minute)
		w.refused(source, key("ada"), problem.StorageUnavailable)
		source.MaxStale = -1
		w.refused(source, key("ada"), problem.StorageUnavailable)
		w.store.up()
		w.token(source, key("ada"))
	})
}

func TestAStoreThatDoesNotAnswerHoldsUpOneCallNowAndThen(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		g.line(true)
		time.Sleep(DeafTrust)
		g.hold = func() { time.Sleep(3 * time.Second) }
		w.store.breaks(func(op, _ string) error {
			time.Sleep(3 * time.Second)
			return errDown
		})
		start, slow := time.Now(), 0
		for time.Since(start) < time.Minute {
			before := time.Now()
			w.token(source, key("ada"))
			if took := time.Since(before); took > rereadWait {
				t.Fatalf("a call took %v", took)
			} else if took > 0 {
				slow++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if slow > 11 {
			t.Errorf("%d calls in a minute waited", slow)
		}
	})
}

func TestOneDamagedRecordDoesNotMakeTheStoreAway(t *testing.T) {
	for _, damage := range []error{store.ErrDamaged, store.ErrNewer} {
		shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
			w.connect(key("bob"))
			for range 2 {
				w.token(source, key("bob"))
			}
			w.store.breaks(func(op, name string) error {
				if op == "get" && strings.Contains(name, "/ada/") {
					return fmt.Errorf("%w: %w", store.ErrUnavailable, damage)
				}
				return nil
			})
			g.tell(store.News{Kind: store.Changed, Key: vault.Name("connection", "acme", "ada", "acme", "")})
			w.refused(source, key("ada"), problem.StorageUnavailable) // by name, as where the seal is broken
			again := w.connect(key("bob"))
			if c := w.token(source, key("bob")); !c.AccessToken.Equal(again.AccessToken) {
				t.Errorf("%v: Bob's reconnect is not felt", damage)
			}
		})
	}
}

func TestAHeldPurchaseIsNotReadAway(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		time.Sleep(25 * time.Hour)
		w.provider.after = func(int, string) error {
			w.store.down("put")
			return nil
		}
		w.token(source, key("ada"))
		g.tell(store.News{Kind: store.Changed, Key: vault.Name("connection", "acme", "ada", "acme", "")})
		g.line(true)
		time.Sleep(time.Minute)
		w.token(source, key("ada"))
		w.provider.after = nil
		w.store.up()
		time.Sleep(time.Minute)
		if c := w.token(source, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("got %s: the purchase is lost", c.AccessToken.Reveal())
		}
		w.wantCalls(1, "it was paid for already")
	})
}

func TestNewsOfAWriteDoesNotEndTheRestOfATokenEndpoint(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		time.Sleep(25 * time.Hour)
		w.provider.before = func(int, string) error { return away(true, time.Hour) }
		for range 50 {
			w.refused(source, key("ada"), problem.RefreshUnavailable)
			w.change(key("ada"), func(c *connection.Connection) { c.AccountLabel += "x" })
			time.Sleep(time.Second)
		}
		w.wantCalls(1, "it asked for an hour")
	})
}

func TestWatchEndsWithItsContextAndWithAStoreOfOnesOwnAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		if err := w.gateway().Watch(t.Context(), nil); err != nil {
			t.Errorf("%v", err)
		}
	})
	shared(t, func(t *testing.T, w *world, g *gossip, _ *Source) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.gateway().Watch(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}
