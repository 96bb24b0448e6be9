// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
)

func TestAGatewayWaitsForTheOneThatHasTheLease(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one, other := expired(t, w), w.gateway()
		w.provider.delay = 10 * time.Second
		var all sync.WaitGroup
		for _, g := range []*Source{one, other} {
			for range 10 {
				all.Go(func() {
					if c := w.token(g, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
						t.Errorf("got %s", c.AccessToken.Reveal())
					}
				})
			}
		}
		all.Wait()
		w.wantCalls(1, "one of the two")
	})
}

func TestARefusedCallAtAnotherGatewayAdopts(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		one, other := w.gateway(), w.gateway()
		stale := w.token(one, key("ada"))
		w.token(other, key("ada"))
		for _, g := range []*Source{one, other} {
			if c, err := g.Renew(t.Context(), w.toolkit, stale); err != nil || !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
				t.Errorf("got %s, %v", c.AccessToken.Reveal(), err)
			}
		}
		w.wantCalls(1, "the second looked into the store first")
	})
}

// Between the last look and the lease another gateway may have come to its end.
func TestAGatewayLooksAgainOnceItHasTheLease(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one, other := expired(t, w), w.gateway()
		var first atomic.Bool
		w.store.breaks(func(op, _ string) error {
			if op == "lease" && first.CompareAndSwap(false, true) {
				w.token(other, key("ada"))
			}
			return nil
		})
		if c := w.token(one, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		w.wantCalls(1, "the second saw what the first had done")
	})
}

func TestALeaseWhoseHolderDiedEnds(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		if _, err := w.store.Store.Lease(t.Context(), leaseName(key("ada")), leaseLife); err != nil {
			t.Fatal(err)
		}
		w.change(key("ada"), func(c *connection.Connection) { c.Intent = &connection.Intent{ID: "dead", Since: time.Now()} })
		start := time.Now()
		w.token(g, key("ada"))
		// And it might not have died, but be about to save what it bought.
		if took := time.Since(start); took < leaseLife+holderWait || took > leaseLife+holderWait+time.Second {
			t.Errorf("took %v", took)
		}
		if len(w.told(Interrupted)) != 1 {
			t.Error("nobody tells what happened")
		}
	})
}

func TestALeaseThatNeverEndsIsAPassingFault(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.store.breaks(func(op, _ string) error {
			if op == "lease" {
				return store.ErrHeld
			}
			return nil
		})
		start := time.Now()
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("took %v", took)
		}
		w.wantCalls(0, "somebody else has it")
	})
}

// leaseless is a store whose leases do not keep anybody out, as after a failover of
// Redis: compare-and-swap is all that is left.
func (w *world) leaseless() {
	n := 0
	w.store.Store = leaseless{w.store.Store, &n}
}

type leaseless struct {
	store.Store
	n *int
}

func (l leaseless) Lease(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	*l.n++
	return l.Store.Lease(ctx, fmt.Sprint(name, *l.n), ttl)
}

func TestTheLoserOfARaceAdoptsTheWinner(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.leaseless()
		one, other := expired(t, w), w.gateway()
		// The first one's request is on its way when the other's begins; the
		// second is refused after the first has saved.
		first := make(chan struct{})
		w.provider.before = func(call int, _ string) error {
			if call == 2 {
				<-first
				return invalidGrant
			}
			time.Sleep(2 * holderWait) // the other one does not wait for so long
			return nil
		}
		var all sync.WaitGroup
		all.Go(func() {
			w.token(one, key("ada"))
			close(first)
		})
		time.Sleep(500 * time.Millisecond)
		all.Go(func() { w.token(other, key("ada")) })
		all.Wait()
		w.wantCalls(2, "both sent it")
		if c := w.stored(key("ada")); c.Status != connection.Active || !strings.HasSuffix(c.RefreshToken.Reveal(), "/2") {
			t.Errorf("stored: %s, %s", c.Status, c.RefreshToken.Reveal())
		}
	})
}

func TestALoserWhoTookTheGrantForDeadIsProvenWrong(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.leaseless()
		one, other := expired(t, w), w.gateway()
		w.provider.before = func(call int, _ string) error {
			if call == 2 {
				return invalidGrant // at once
			}
			return nil
		}
		w.provider.delay = 2 * holderWait
		var all sync.WaitGroup
		all.Go(func() { w.token(one, key("ada")) })
		time.Sleep(500 * time.Millisecond)
		w.unusable(other, key("ada"), connection.Expired, connection.RefreshRejected)
		all.Wait()
		if c := w.stored(key("ada")); c.Status != connection.Active || c.Reason != "" {
			t.Errorf("stored: %s, though there is a new token", c.Status)
		}
		w.token(other, key("ada"))
	})
}

// TestAStormOverTwoGateways lets tokens of many users expire again and again while
// both gateways are asked, some callers hang up and some claim that their token
// was refused. The provider ends a grant whose refresh token comes twice.
func TestAStormOverTwoGateways(t *testing.T) {
	const users, callers, rounds = 5, 8, 12
	bubble(t, func(t *testing.T, w *world) {
		w.provider.life, w.provider.delay = 10*time.Minute, 700*time.Millisecond
		for u := range users {
			w.connect(key(fmt.Sprint("user", u)))
		}
		gateways := []*Source{w.gateway(), w.gateway()}
		var all sync.WaitGroup
		for i, g := range gateways {
			for u := range users {
				for c := range callers {
					random := rand.New(rand.NewPCG(uint64(i), uint64(u*callers+c)))
					all.Go(func() { w.storm(g, key(fmt.Sprint("user", u)), rounds, random) })
				}
			}
		}
		all.Wait()
		if w.provider.reuses != 0 {
			t.Errorf("%d refresh tokens came twice", w.provider.reuses)
		}
		// Each round is longer than a token's life, so each needs one refresh.
		w.wantCalls(users*rounds, "one for each expiry")
		if n := len(w.told(Refreshed)); n != users*rounds || len(w.told(Failed))+len(w.told(Ended))+len(w.told(Interrupted)) != 0 {
			t.Errorf("%d refreshes told, events %d", n, len(w.events))
		}
	})
}

func (w *world) storm(g *Source, k connection.Key, rounds int, random *rand.Rand) {
	for range rounds {
		// All come within a few seconds after the token has expired.
		time.Sleep(time.Until(time.Now().Truncate(15 * time.Minute).Add(15*time.Minute + time.Duration(random.IntN(3000))*time.Millisecond)))
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if random.IntN(4) == 0 {
			cancel()
		}
		c, err := g.Token(ctx, w.toolkit, k)
		switch {
		case err == nil && (c.Stale(time.Now()) || c.Key != k):
			w.t.Errorf("%v got a token of %v, good until %v", k, c.Key, c.ExpiresAt)
		case err != nil && !errors.Is(err, context.Canceled):
			w.t.Errorf("%v: %v", k, err)
		}
		cancel()
	}
}

// TestAStormOverAStoreThatFails adds a store whose writes and reads fail now and
// then: callers may get a 503, but no grant is lost and nobody has to connect.
func TestAStormOverAStoreThatFails(t *testing.T) {
	for seed := range uint64(8) {
		bubble(t, func(t *testing.T, w *world) {
			w.provider.life, w.provider.delay = 10*time.Minute, 700*time.Millisecond
			for u := range 3 {
				w.connect(key(fmt.Sprint("user", u)))
			}
			var mu sync.Mutex
			faults := rand.New(rand.NewPCG(seed, 1))
			w.store.breaks(func(op, _ string) error {
				mu.Lock()
				defer mu.Unlock()
				if faults.IntN(5) == 0 {
					return errDown
				}
				return nil
			})
			gateways := []*Source{w.gateway(), w.gateway()}
			var all sync.WaitGroup
			for i, g := range gateways {
				for c := range 9 {
					random := rand.New(rand.NewPCG(seed, uint64(i*100+c)))
					all.Go(func() { w.stormWithFaults(g, key(fmt.Sprint("user", c%3)), random) })
				}
			}
			all.Wait()
			w.store.up()
			for u := range 3 {
				time.Sleep(2 * time.Hour)
				w.token(gateways[u%2], key(fmt.Sprint("user", u)))
			}
			if w.provider.reuses != 0 || len(w.told(Ended)) != 0 {
				t.Errorf("seed %d: %d refresh tokens came twice, %d grants ended", seed, w.provider.reuses, len(w.told(Ended)))
			}
		})
	}
}

func (w *world) stormWithFaults(g *Source, k connection.Key, random *rand.Rand) {
	for range 100 {
		time.Sleep(time.Duration(random.IntN(120)) * time.Second)
		_, err := g.Token(context.Background(), w.toolkit, k)
		if err == nil {
			continue
		}
		if p, ok := errors.AsType[*problem.Problem](err); !ok || p.RetryAfter <= 0 || p.Code != problem.StorageUnavailable && p.Code != problem.RefreshUnavailable {
			w.t.Errorf("%v: %v", k, err)
		}
	}
}
