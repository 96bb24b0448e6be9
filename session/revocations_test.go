// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// gatewayAt has a clock that is ahead.
func gatewayAt(ring *seal.Ring, s store.Store, ahead time.Duration) gateway {
	now := func() time.Time { return time.Now().Add(ahead) }
	r := NewRevocations(vault.New(s, ring), now)
	return gateway{NewDesk(ring, r, now), r}
}

func TestASessionOfAGatewayWhoseClockIsAheadIsTakenBackToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, s := ringOf(t, newKey()), memstore.New(nil)
		ahead, here := gatewayAt(ring, s, time.Second), newGateway(ring, s)
		token, _ := ahead.Mint(adas())
		if err := here.RevokeUser(t.Context(), "default", "ada"); err != nil {
			t.Fatal(err)
		}
		_, err := here.Open(token)
		wantCode(t, err, problem.SessionRevoked)
		if _, err := ahead.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = ahead.Open(token)
		wantCode(t, err, problem.SessionRevoked)
		for _, g := range []gateway{here, ahead} {
			fresh, _ := g.Mint(adas())
			_, err = here.Open(fresh)
			wantCode(t, err, "")
		}
	})
}

// What a revocation has ended stays so, whatever the next one's clock says, and at gateways
// that start later.
func TestAClockThatIsBehindBringsNoSessionBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, s := ringOf(t, newKey()), memstore.New(nil)
		ahead, here := gatewayAt(ring, s, time.Hour), newGateway(ring, s)
		token, _ := ahead.Mint(adas())
		if err := ahead.RevokeUser(t.Context(), "default", "ada"); err != nil {
			t.Fatal(err)
		}
		behind, _ := ahead.Mint(adas()) // given out since
		if err := here.RevokeUser(t.Context(), "default", "ada"); err != nil {
			t.Fatal(err)
		}
		for name, g := range map[string]gateway{"that did it": here, "that starts now": newGateway(ring, s)} {
			for _, over := range []string{token, behind} {
				if _, err := g.Open(over); err == nil {
					t.Errorf("at a gateway %s it is good again", name)
				}
			}
		}
	})
}

func TestSessionsThatAreMadeAndTakenBackInOneMomentAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(ringOf(t, newKey()), memstore.New(nil))
		for range 5 { // no time passes
			token, _ := g.Mint(adas())
			_, err := g.Open(token)
			wantCode(t, err, "")
			if err := g.RevokeUser(t.Context(), "default", "ada"); err != nil {
				t.Fatal(err)
			}
			_, err = g.Open(token)
			wantCode(t, err, problem.SessionRevoked)
		}
	})
}

func TestManyWhoTakeSessionsBackAtOnceAllSucceed(t *testing.T) {
	ring, s := ringOf(t, newKey()), memstore.New(nil)
	var tokens []string
	var calls sync.WaitGroup
	for i := range 40 {
		g := newGateway(ring, s)
		session := adas()
		session.User = []string{"ada", "bob"}[i%2]
		token, made := g.Mint(session)
		tokens = append(tokens, token)
		calls.Go(func() {
			var err error
			if i < 20 {
				err = g.RevokeUser(t.Context(), "default", session.User)
			} else {
				err = g.Revoke(t.Context(), Owner{"default", "bot"}, made.ID)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	late := newGateway(ring, s)
	for _, token := range tokens {
		_, err := late.Open(token)
		wantCode(t, err, problem.SessionRevoked)
	}
}

// hanging is a store that does not answer.
type hanging struct{ store.Store }

func (hanging) Get(ctx context.Context, _ string) (store.Record, error) {
	<-ctx.Done()
	return store.Record{}, ctx.Err()
}

// The job in the background has more patience than a call.
func TestCallsDoNotWaitForAnotherReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := ringOf(t, newKey())
		g := newGateway(ring, hanging{memstore.New(nil)})
		token, _ := g.Mint(adas())
		var calls sync.WaitGroup
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 3*firstRead)
			defer cancel()
			_, _ = g.Refresh(ctx)
		})
		synctest.Wait() // it is at work
		begun := time.Now()
		for range 50 {
			calls.Go(func() {
				_, err := g.Open(token)
				wantCode(t, err, problem.StorageUnavailable)
				if took := time.Since(begun); took > firstRead {
					t.Errorf("it waited %v", took)
				}
			})
		}
		calls.Wait()
	})
}

// Streams go on under keys from before: what ends them is read with those of today.
func TestWhatIsReadWithOneKeyIsKnownUnderTheOther(t *testing.T) {
	old, fresh := newKey(), newKey()
	s := memstore.New(nil)
	before := newGateway(ringOf(t, old), s)
	token, made := before.Mint(adas())
	if _, err := before.Open(token); err != nil {
		t.Fatal(err)
	}
	ring := ringOf(t, fresh, old)
	after := before.With(vault.New(s, ring))
	if err := newGateway(ring, s).Revoke(t.Context(), Owner{"default", "bot"}, made.ID); err != nil { // at another gateway
		t.Fatal(err)
	}
	was := before.News()
	if _, err := after.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !before.Desk.Revoked(&made) || before.News() == was {
		t.Error("what was begun under the old key goes on")
	}
}

// The longest session that can be asked for has to be one that can be used.
func TestTheLongestTokenOpens(t *testing.T) {
	g := newGateway(ringOf(t, newKey()), memstore.New(nil))
	s := caller.Session{Tenant: strings.Repeat("t", 64), Agent: strings.Repeat("a", 64), User: strings.Repeat("<", caller.MaxUser), Expires: time.Now().Add(MaxLife)}
	for range 64 {
		s.Toolkits = append(s.Toolkits, strings.Repeat("k", 63))
	}
	s.CallbackURL = "https://app.example/?" + strings.Repeat("&", 2000)
	token, _ := g.Mint(s)
	_, err := g.Open(token)
	wantCode(t, err, "")
}
