// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// twoGateways are two gateways with a Redis of their own, the second over a wire
// that can be cut. What stands here goes by the real clock: another process answers.
type twoGateways struct {
	*world
	here, there *Source
	writer      *vault.Vault
	wire        *redistest.Proxy
	heard       chan vault.News // by there
}

func newTwoGateways(t *testing.T, cfg redisstore.Config) *twoGateways {
	t.Helper()
	server := redistest.Start(t)
	w := &twoGateways{world: newWorld(t), wire: redistest.NewProxy(t, server.Addr), heard: make(chan vault.News, 100)}
	w.here = w.redisGateway(t, cfg, server.Addr, nil)
	w.writer = w.vault
	w.there = w.redisGateway(t, cfg, w.wire.Addr, func(n vault.News) { w.heard <- n })
	w.vault = w.writer
	w.await(t, store.Listening)
	return w
}

func (w *twoGateways) redisGateway(t *testing.T, cfg redisstore.Config, addr string, report func(vault.News)) *Source {
	cfg.Addresses = []string{addr}
	s := redisstore.New(cfg)
	w.vault = vault.New(s, w.ring())
	source := w.gateway()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = source.Watch(context.Background(), report)
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return source
}

func (w *twoGateways) await(t *testing.T, kind store.NewsKind) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		select {
		case n := <-w.heard:
			if n.Kind == kind {
				return
			}
		case <-deadline:
			t.Fatalf("no news of kind %d", kind)
		}
	}
}

// change makes the connection anew or removes it, and reports how to see that.
func (w *twoGateways) change(t *testing.T, round int) (felt func(connection.Connection, error) bool) {
	t.Helper()
	before, err := w.writer.Load(t.Context(), key("ada"))
	if round%3 == 2 {
		if err == nil {
			err = w.writer.Remove(t.Context(), before)
		}
		if err != nil {
			t.Fatal(err)
		}
		return func(_ connection.Connection, err error) bool {
			u, ok := errors.AsType[*connection.Unusable](err)
			return ok && u.Status == connection.NotConnected
		}
	}
	id := before.ID
	if err != nil {
		id = fmt.Sprint("conn_", round)
	}
	g := w.provider.grant(fmt.Sprint("round", round))
	saved, err := w.writer.Save(t.Context(), connection.Connection{
		Key: key("ada"), ID: id, Version: before.Version, Status: connection.Active, AccessToken: g.AccessToken, RefreshToken: g.RefreshToken,
		IssuedAt: g.IssuedAt, ExpiresAt: g.ExpiresAt, Granted: connection.Grantee{Issuer: w.toolkit.OAuth.TokenURL, ClientID: w.toolkit.OAuth.ClientID},
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(c connection.Connection, _ error) bool { return c.AccessToken.Equal(saved.AccessToken) }
}

// latency is how long the other gateway takes to feel a change that is done.
func (w *twoGateways) latency(t *testing.T, round int, limit time.Duration) time.Duration {
	t.Helper()
	felt := w.change(t, round)
	for start := time.Now(); ; time.Sleep(50 * time.Microsecond) {
		c, err := w.there.Token(t.Context(), w.toolkit, key("ada"))
		if took := time.Since(start); felt(c, err) {
			return took
		} else if took > limit {
			t.Fatalf("round %d: not felt in %v: version %d, %v", round, limit, c.Version, err)
		}
	}
}

func TestAChangeOnOneGatewayIsFeltByTheOtherWithinASecond(t *testing.T) {
	w := newTwoGateways(t, redisstore.Config{})
	const rounds = 1000
	took := make([]time.Duration, rounds)
	for round := range took {
		took[round] = w.latency(t, round, 10*time.Second)
	}
	slices.Sort(took)
	if p99 := took[rounds*99/100]; p99 > time.Second {
		t.Errorf("p99 %v", p99)
	}
	t.Logf("%d changes: p50 %v, p99 %v, longest %v", rounds, took[rounds/2], took[rounds*99/100], took[rounds-1])
}

// The bound itself is held to in a bubble, where half a minute is nothing; this is
// about what Redis does when the subscription is lost and everything else works.
func TestWithTheSubscriptionCutChangesAreFeltWithinTheBound(t *testing.T) {
	w := newTwoGateways(t, redisstore.Config{})
	w.latency(t, 0, time.Second)
	w.wire.Refuse("subscribe")
	w.await(t, store.Deaf)
	ahead := &aheadClock{}
	w.there.now = ahead.now
	took := make([]time.Duration, 0, 50)
	for round := 1; round <= cap(took); round++ {
		if _, err := w.there.Token(t.Context(), w.toolkit, key("ada")); err != nil {
			if u, ok := errors.AsType[*connection.Unusable](err); !ok {
				t.Fatal(u, err)
			}
		}
		felt := w.change(t, round)
		start := ahead.now()
		for !felt(w.there.Token(t.Context(), w.toolkit, key("ada"))) {
			if ahead.now().Sub(start) > DeafTrust {
				t.Fatalf("round %d: not felt in time", round)
			}
			ahead.by += time.Second
		}
		took = append(took, ahead.now().Sub(start))
	}
	slices.Sort(took)
	t.Logf("%d changes without a subscription: p50 %v, p99 %v (of %v)", len(took), took[len(took)/2].Round(time.Second), took[len(took)-1].Round(time.Second), DeafTrust)
	felt := w.change(t, 1000)
	w.wire.Mend()
	w.await(t, store.Listening)
	if !felt(w.there.Token(t.Context(), w.toolkit, key("ada"))) {
		t.Error("what was missed is not read again when the subscription is back")
	}
}

type aheadClock struct{ by time.Duration }

func (c *aheadClock) now() time.Time { return time.Now().Add(c.by) }

func TestWithRedisAwayALiveTokenIsServedAndAllGoesOnAfterwards(t *testing.T) {
	w := newTwoGateways(t, redisstore.Config{Timeout: 2 * time.Second})
	w.connect(key("ada"))
	w.connect(key("bob"))
	if _, err := w.there.Token(t.Context(), w.toolkit, key("ada")); err != nil {
		t.Fatal(err)
	}
	w.wire.Cut()
	w.await(t, store.Deaf)
	for range 100 {
		if _, err := w.there.Token(t.Context(), w.toolkit, key("ada")); err != nil {
			t.Fatalf("a live token in the cache: %v", err)
		}
	}
	w.refused(w.there, key("bob"), problem.StorageUnavailable)
	w.change(t, 0) // the other gateway still reaches Redis
	w.wire.Mend()
	w.await(t, store.Listening)
	for _, user := range []string{"ada", "bob"} {
		if _, err := w.there.Token(t.Context(), w.toolkit, key(user)); err != nil {
			t.Errorf("%s, with Redis back: %v", user, err)
		}
	}
	w.latency(t, 1, time.Second)
}

func TestSlowRedisSlowsOnlyWhatNeedsIt(t *testing.T) {
	w := newTwoGateways(t, redisstore.Config{})
	w.connect(key("ada"))
	w.connect(key("bob"))
	for range 2 {
		w.token(w.there, key("ada"))
	}
	const slow = 500 * time.Millisecond
	w.wire.Slow(slow)
	start := time.Now()
	for range 100 {
		w.token(w.there, key("ada"))
	}
	if took := time.Since(start); took > slow/2 {
		t.Errorf("100 calls with a token in the cache took %v", took)
	}
	w.token(w.there, key("bob"))
	if took := time.Since(start); took < slow {
		t.Errorf("a call that needs Redis took %v: the wire is not slow", took)
	}
}
