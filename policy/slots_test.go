// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/policy"
)

func capped(t *testing.T, caps ...policy.Concurrency) (*policy.Policy, *policy.State, func(user string) (gateway.Visit, error)) {
	t.Helper()
	tk, state := acme(t, nil), policy.NewState()
	p := with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Concurrency: caps, Breaker: policy.Breaker{Off: true}}}}).With(state)
	return p, state, func(user string) (gateway.Visit, error) { return p.Enter(t.Context(), of(tk, user)) }
}

func TestNoMoreThanTheCapAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, state, enter := capped(t,
			policy.Concurrency{By: policy.ByUser, Calls: 3, Queue: 2, Wait: 5 * time.Second},
			policy.Concurrency{By: policy.ByToolkit, Calls: 5, Queue: 100, Wait: 5 * time.Second})
		var now, done, refused atomic.Int64
		var mu sync.Mutex
		most := int64(0)
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				v, err := enter([]string{"ada", "bob"}[i%2])
				if err != nil {
					if got := said(err); got != "rate_limited: concurrency user 3" || retryAfter(err) != time.Second {
						t.Error(got)
					}
					refused.Add(1)
					return
				}
				mu.Lock()
				most = max(most, now.Add(1))
				mu.Unlock()
				time.Sleep(time.Second)
				now.Add(-1)
				v.Leave()
				v.Leave() // is not two places
				done.Add(1)
			})
		}
		all.Wait()
		if most != 5 || done.Load() != 10 || refused.Load() != 30 {
			t.Errorf("%d at once, %d went through, %d were refused", most, done.Load(), refused.Load())
		}
		if n := state.Busy(); n != 0 {
			t.Errorf("%d are kept", n)
		}
	})
}

func TestWhoCameFirstIsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, enter := capped(t, policy.Concurrency{By: policy.ByToolkit, Calls: 1, Queue: 10, Wait: time.Minute})
		first, _ := enter("ada")
		var order []int
		for i := range 5 {
			go func() {
				v, err := enter("bob")
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i)
				v.Leave()
			}()
			synctest.Wait()
		}
		first.Leave()
		synctest.Wait()
		if !slices.Equal(order, []int{0, 1, 2, 3, 4}) {
			t.Error(order)
		}
	})
}

func TestWhoDoesNotWaitLongerLeavesItsPlaceToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, state, enter := capped(t, policy.Concurrency{By: policy.ByUser, Calls: 1, Queue: 2, Wait: 2 * time.Second})
		first, _ := enter("ada")
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			if _, err := p.Enter(ctx, of(acme(t, nil), "ada")); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()
		synctest.Wait()
		start := time.Now()
		go func() {
			if _, err := enter("ada"); said(err) != "rate_limited: concurrency user 1" || time.Since(start) != 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}()
		synctest.Wait()
		if _, err := enter("ada"); said(err) != "rate_limited: concurrency user 1" || time.Since(start) != 0 {
			t.Errorf("a third in a queue for two: %v", err)
		}
		hangUp()
		synctest.Wait()
		time.Sleep(time.Second)
		go func() {
			v, err := enter("ada")
			if err != nil {
				t.Errorf("who waits behind them: %v", err)
				return
			}
			v.Leave()
		}()
		time.Sleep(1500 * time.Millisecond)
		first.Leave()
		synctest.Wait()
		if n := state.Busy(); n != 0 {
			t.Errorf("%d are kept", n)
		}
	})
}

// Which of the two a goroutine sees first is chance, so it is tried often.
func TestAPlaceThatComesAsOneHangsUpIsNotLost(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			p, state, enter := capped(t, policy.Concurrency{By: policy.ByUser, Calls: 1, Queue: 1, Wait: time.Minute})
			first, _ := enter("ada")
			ctx, hangUp := context.WithCancel(t.Context())
			go func() {
				if v, err := p.Enter(ctx, of(acme(t, nil), "ada")); err == nil {
					v.Leave()
				}
			}()
			synctest.Wait()
			hangUp()
			first.Leave()
			synctest.Wait()
			if n := state.Busy(); n != 0 {
				t.Fatalf("%d are kept", n)
			}
		})
	}
}

// What is learned while a call waits for its place holds for it too.
func TestAQueueDoesNotLeadPastAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, enter := capped(t, policy.Concurrency{By: policy.ByUser, Calls: 1, Queue: 2, Wait: 2 * time.Second})
		first, _ := enter("ada")
		go func() {
			if _, err := enter("ada"); waits(err) != time.Minute {
				t.Error(err)
			}
		}()
		synctest.Wait()
		first.Answered(answered(429, "Retry-After", "60"))
		first.Leave()
		synctest.Wait()
	})
}

func TestPlacesAreNeitherLostNorMade(t *testing.T) {
	_, state, enter := capped(t, policy.Concurrency{By: policy.ByUser, Calls: 2, Queue: 50, Wait: time.Millisecond})
	var now atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 500 {
				if v, err := enter("ada"); err == nil {
					if n := now.Add(1); n > 2 {
						t.Errorf("%d at once", n)
					}
					now.Add(-1)
					v.Leave()
				}
			}
		})
	}
	all.Wait()
	if n := state.Busy(); n != 0 {
		t.Errorf("%d are kept", n)
	}
}

func TestANewCapCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, state, _ := capped(t)
		tk := acme(t, nil)
		under := func(calls int) *policy.Policy {
			caps := []policy.Concurrency{{By: policy.ByUser, Calls: calls, Queue: 10, Wait: time.Minute}}
			return with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Concurrency: caps}}}).With(state)
		}
		var mu sync.Mutex
		var entered []gateway.Visit
		enter := func(p *policy.Policy) {
			go func() {
				v, err := p.Enter(t.Context(), of(tk, "ada"))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				entered = append(entered, v)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		narrow, wide := under(1), under(3)
		for range 3 {
			enter(narrow)
		}
		if len(entered) != 1 {
			t.Fatalf("%d of one", len(entered))
		}
		enter(wide)
		if len(entered) != 3 {
			t.Fatalf("%d of three", len(entered))
		}
		enter(narrow)
		for i := range 2 {
			entered[i].Leave()
			synctest.Wait()
		}
		if len(entered) != 3 {
			t.Errorf("%d, while one was under way of one", len(entered))
		}
		for i := 2; i < len(entered); i++ {
			entered[i].Leave()
			synctest.Wait()
		}
		if len(entered) != 5 || state.Busy() != 0 {
			t.Errorf("%d, %d are kept", len(entered), state.Busy())
		}
	})
}

func TestCapsThatMakeNoSenseAreRefused(t *testing.T) {
	good := policy.Concurrency{By: policy.ByUser, Calls: 1}
	for _, caps := range [][]policy.Concurrency{{{Calls: 1}}, {{By: policy.ByUser}}, {{By: policy.ByUser, Calls: 1, Queue: 1}}, {{By: policy.ByUser, Calls: 1, Queue: 1, Wait: time.Hour}}, {good, good}} {
		if policy.CheckConcurrency(caps) == nil {
			t.Errorf("%v is taken", caps)
		}
	}
}
