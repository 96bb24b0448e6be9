// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// clock is one that tests set.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time       { return time.Unix(0, c.at.Load()) }
func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }
func limit(by policy.By, n int, in time.Duration, burst int) policy.Limit {
	return policy.Limit{By: by, Count: n, Window: in, Burst: burst}
}

// make1 asks for a call as a gateway does: admit, enter, leave.
func make1(t testing.TB, p *policy.Policy, tk *toolkit.Toolkit, agent, user string) error {
	t.Helper()
	c := call(tk, "GET", "/x")
	c.Caller.Agent, c.Caller.User = agent, user
	c.Connection = connection.Key{Tenant: "default", User: user, Toolkit: tk.ID}
	if err := p.Admit(t.Context(), c); err != nil {
		return err
	}
	visit, err := p.Enter(t.Context(), c)
	if visit != nil {
		visit.Leave()
	}
	return err
}

func TestExactlyTheBurstAndWhatFillsAgainIsAdmitted(t *testing.T) {
	const users, seconds, perSecond = 10_000, 40, 4
	tk, clock := acme(t, nil), newClock()
	p := with(t, policy.Config{
		Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: []policy.Limit{limit(policy.ByUser, 60, time.Minute, 10)}}}, Now: clock.now,
	})
	admitted := make([]int, users)
	c := call(tk, "GET", "/x")
	for step := range seconds*perSecond + 1 {
		for user := range users {
			c.Caller.User = names[user]
			if _, err := p.Enter(t.Context(), c); err == nil {
				admitted[user]++
			}
		}
		if step < seconds*perSecond {
			clock.pass(time.Second / perSecond)
		}
	}
	for user, n := range admitted {
		if n != 10+seconds {
			t.Fatalf("user %d made %d calls; want %d", user, n, 10+seconds)
		}
	}
}

var names = func() (all []string) {
	for i := range 10_000 {
		all = append(all, fmt.Sprintf("user-%d", i))
	}
	return all
}()

func TestOfManyAtOnceExactlyTheBurstIsAdmitted(t *testing.T) {
	tk, clock := acme(t, nil), newClock()
	p := with(t, policy.Config{
		Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: []policy.Limit{limit(policy.ByUser, 60, time.Minute, 10), limit(policy.ByUser|policy.ByAgent, 60, time.Hour, 20)}}},
		Limits:   []policy.Limit{limit(policy.ByToolkit, 25, time.Minute, 0)}, Now: clock.now,
	})
	var all sync.WaitGroup
	var admitted [4]atomic.Int64
	for range 50 {
		all.Go(func() {
			for i := range 100 {
				if make1(t, p, tk, "bot", names[i%4]) == nil {
					admitted[i%4].Add(1)
				}
			}
		})
	}
	all.Wait()
	sum := int64(0)
	for i := range admitted {
		if n := admitted[i].Load(); n > 10 {
			t.Errorf("%d calls of one user", n)
		}
		sum += admitted[i].Load()
	}
	if sum != 25 { // had refused calls taken something, it would be less
		t.Errorf("%d calls were admitted, of 25", sum)
	}
}

func TestNobodysLimitIsAnothers(t *testing.T) {
	perUser := acme(t, nil)
	operators := acme(t, func(d *toolkit.Definition) { d.ID, d.Auth = "keyed", toolkit.AuthDefinition{Kind: toolkit.NoAuth} })
	ada := connection.Key{Tenant: "t", User: "ada", Toolkit: "acme"}
	work, bob := ada, ada
	work.Account, bob.User = "work", "bob"
	elsewhere := ada
	elsewhere.Tenant = "u"
	type one struct {
		tk    *toolkit.Toolkit
		agent string
		conn  connection.Key
	}
	first := one{perUser, "bot", ada}
	for _, c := range []struct {
		by     string
		second one
		shared bool
	}{
		{"user", one{perUser, "other", work}, true},
		{"user", one{operators, "bot", ada}, true},
		{"user", one{perUser, "bot", bob}, false},
		{"user", one{perUser, "bot", elsewhere}, false},
		{"agent", one{perUser, "bot", bob}, true},
		{"agent", one{perUser, "other", ada}, false},
		{"toolkit", one{perUser, "other", bob}, true},
		{"toolkit", one{operators, "bot", ada}, false},
		{"toolkit", one{perUser, "bot", elsewhere}, false},
		{"connection", one{perUser, "other", ada}, true},
		{"connection", one{perUser, "bot", work}, false},
		{"connection", one{perUser, "bot", bob}, false},
		{"connection", one{perUser, "bot", elsewhere}, false},
		{"agent+toolkit", one{perUser, "bot", bob}, true},
		{"agent+toolkit", one{operators, "bot", ada}, false},
		{"user+toolkit", one{perUser, "other", work}, true},
		{"user+toolkit", one{operators, "bot", ada}, false},
		{"agent+connection", one{perUser, "other", ada}, false},
		{"agent+connection", one{perUser, "bot", ada}, true},
	} {
		by, err := policy.ParseBy(c.by)
		if err != nil {
			t.Fatal(err)
		}
		p := with(t, policy.Config{
			Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: perUser}, "keyed": {Toolkit: operators}},
			Limits:   []policy.Limit{limit(by, 1, time.Minute, 0)}, Now: newClock().now,
		})
		for i, o := range []one{first, c.second} {
			asked := call(o.tk, "GET", "/")
			asked.Caller.Tenant, asked.Caller.Agent, asked.Caller.User, asked.Connection = o.conn.Tenant, o.agent, o.conn.User, o.conn
			if !o.tk.Auth.PerUser {
				asked.Connection = connection.Key{}
			}
			_, err := p.Enter(t.Context(), asked)
			if refused := err != nil; refused != (i == 1 && c.shared) {
				t.Errorf("limit %s, %+v and then %+v: %v", c.by, first, c.second, err)
			}
		}
	}
}

func TestTheOperatorsKeyIsOneConnection(t *testing.T) {
	tk := acme(t, func(d *toolkit.Definition) { d.Auth = toolkit.AuthDefinition{Kind: toolkit.NoAuth} })
	p := with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: []policy.Limit{limit(policy.ByConnection, 1, time.Minute, 0)}}}, Now: newClock().now})
	a, b := call(tk, "GET", "/"), call(tk, "GET", "/")
	b.Caller.Tenant, b.Caller.User = "other", "bob"
	if _, err := p.Enter(t.Context(), a); err != nil {
		t.Error(err)
	}
	if _, err := p.Enter(t.Context(), b); said(err) != "rate_limited: limit connection 1/1m" {
		t.Error(err)
	}
}

func TestWhoWaitsAsLongAsItIsToldIsAdmitted(t *testing.T) {
	tk := acme(t, nil)
	for range 200 {
		clock := newClock()
		l := limit(policy.ByUser, 1+rand.IntN(5000), time.Duration(1+rand.IntN(100_000))*time.Second, 1+rand.IntN(50))
		p := with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: []policy.Limit{l}}}, Now: clock.now})
		for range l.Burst {
			if err := make1(t, p, tk, "bot", "ada"); err != nil {
				t.Fatalf("%s: %v", l, err)
			}
		}
		for range 5 {
			err := make1(t, p, tk, "bot", "ada")
			refusal, ok := errors.AsType[*problem.Problem](err)
			if !ok {
				t.Fatalf("%s: %v", l, err)
			}
			if refusal.RetryAfter > 10 {
				clock.pass(refusal.RetryAfter - 10)
				if make1(t, p, tk, "bot", "ada") == nil {
					t.Fatalf("%s: admitted before its time", l)
				}
			}
			clock.pass(min(10, refusal.RetryAfter))
			if err := make1(t, p, tk, "bot", "ada"); err != nil {
				t.Fatalf("%s: after %v: %v", l, refusal.RetryAfter, err)
			}
		}
	}
}

func TestARefusalSaysWhichLimitAndWhenAgain(t *testing.T) {
	tk, clock := acme(t, nil), newClock()
	p := with(t, policy.Config{
		Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: []policy.Limit{limit(policy.ByUser|policy.ByAgent, 6, time.Minute, 2)}}}, Now: clock.now,
	})
	_, _ = make1(t, p, tk, "bot", "ada"), make1(t, p, tk, "bot", "ada")
	clock.pass(500 * time.Millisecond)
	err := make1(t, p, tk, "bot", "ada")
	refusal := problem.Of(err)
	w := httptest.NewRecorder()
	refusal.Write(w, "", "r")
	h := w.Header()
	if w.Code != 429 || refusal.Rule != "limit agent+user 6/1m burst 2" || h.Get("Retry-After") != "10" ||
		h.Get("RateLimit") != `"agent+user";r=0;t=10` || h.Get("RateLimit-Policy") != `"agent+user";q=6;w=60` {
		t.Errorf("%d %v %s", w.Code, h, refusal.Rule)
	}
	for name := range h {
		if strings.HasPrefix(strings.ToLower(name), "x-ratelimit") {
			t.Errorf("%s is the provider's", name)
		}
	}
}

// What is refused later must not use up what others share.
func TestARefusedCallTakesNothing(t *testing.T) {
	tk, clock := acme(t, nil), newClock()
	p := with(t, policy.Config{
		Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: []policy.Limit{limit(policy.ByToolkit, 10, time.Minute, 0), limit(policy.ByConnection, 1, time.Minute, 0)}}}, Now: clock.now,
	})
	for range 100 {
		_ = make1(t, p, tk, "bot", "runaway")
	}
	for i := range 9 {
		if err := make1(t, p, tk, "bot", names[i]); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if got := said(make1(t, p, tk, "bot", "bob")); got != "rate_limited: limit toolkit 10/1m" {
		t.Error(got)
	}
}

func TestNewFiguresCountFromTheNextCallOn(t *testing.T) {
	tk, clock, state := acme(t, nil), newClock(), policy.NewState()
	under := func(l ...policy.Limit) *policy.Policy {
		return with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: l}}, Now: clock.now}).With(state)
	}
	before := under(limit(policy.ByUser, 10, time.Minute, 0))
	for range 10 {
		if err := make1(t, before, tk, "bot", "ada"); err != nil {
			t.Fatal(err)
		}
	}
	wider := under(limit(policy.ByUser, 60, time.Minute, 20))
	if got := said(make1(t, wider, tk, "bot", "ada")); got != "rate_limited: limit user 60/1m burst 20" {
		t.Errorf("a reload has filled it: %s", got)
	}
	clock.pass(time.Second)
	if err := make1(t, wider, tk, "bot", "ada"); err != nil {
		t.Errorf("the new rate does not count: %v", err)
	}
	clock.pass(time.Hour)
	narrow := under(limit(policy.ByUser, 2, time.Minute, 0))
	n := 0
	for make1(t, narrow, tk, "bot", "ada") == nil {
		n++
	}
	if n != 2 {
		t.Errorf("%d calls under the narrow limit", n)
	}
}

func TestTwoConfigurationsDoNotWaitForEachOther(t *testing.T) {
	tk, state := acme(t, nil), policy.NewState()
	a, b := limit(policy.ByUser, 1000, time.Minute, 0), limit(policy.ByToolkit, 1000, time.Minute, 0)
	var all sync.WaitGroup
	for _, order := range [][]policy.Limit{{a, b}, {b, a}} {
		p := with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: order}}}).With(state)
		for range 4 {
			all.Go(func() {
				for range 2000 {
					_ = make1(t, p, tk, "bot", "ada")
				}
			})
		}
	}
	all.Wait()
}

func TestAMillionUsersAreForgotten(t *testing.T) {
	tk, clock, state := acme(t, nil), newClock(), policy.NewState()
	p := with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: []policy.Limit{limit(policy.ByUser, 60, time.Minute, 2)}}}, Now: clock.now}).With(state)
	c := call(tk, "GET", "/")
	most := 0
	for i := range 1_000_000 {
		c.Caller.User = fmt.Sprint(i)
		if _, err := p.Enter(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if i%10_000 == 0 {
			most = max(most, state.Buckets())
		}
	}
	if most != 100_000 {
		t.Errorf("%d buckets at most", most)
	}
	for range 2 {
		_, _ = p.Enter(t.Context(), c)
	}
	if _, err := p.Enter(t.Context(), c); err == nil {
		t.Error("who was here a moment ago was forgotten")
	}
	clock.pass(time.Second)
	state.Sweep(clock.now())
	if n := state.Buckets(); n != 1 {
		t.Errorf("%d buckets when all but one are full again", n)
	}
	clock.pass(time.Second)
	state.Sweep(clock.now())
	if n := state.Buckets(); n != 0 {
		t.Errorf("%d buckets when all are full again", n)
	}
}

// A rush of users goes away by itself, also where nobody sweeps.
func TestNewBucketsPushOutThoseThatAreFull(t *testing.T) {
	tk, clock, state := acme(t, nil), newClock(), policy.NewState()
	p := with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Limits: []policy.Limit{limit(policy.ByUser, 1, time.Second, 0)}}}, Now: clock.now}).With(state)
	for i := range 1000 {
		_ = make1(t, p, tk, "bot", fmt.Sprint(i))
	}
	clock.pass(time.Minute)
	for i := range 600 {
		_ = make1(t, p, tk, "bot", fmt.Sprint("x", i))
	}
	if n := state.Buckets(); n != 600 {
		t.Errorf("%d buckets", n)
	}
}

func TestLimitsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, text := range []string{"", "users", "user+", "user+user", "user,agent"} {
		if _, err := policy.ParseBy(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	for _, l := range [][]policy.Limit{
		{limit(0, 1, time.Second, 0)}, {limit(policy.ByUser, 0, time.Second, 0)}, {limit(policy.ByUser, 1, time.Millisecond, 0)},
		{limit(policy.ByUser, 1, time.Second, -1)}, {limit(policy.ByUser, 1, 32*24*time.Hour, 0)},
		{limit(policy.ByUser, 1, time.Second, 0), limit(policy.ByUser, 2, time.Second, 0)},
	} {
		if _, err := policy.New(policy.Config{Limits: l}); err == nil {
			t.Errorf("%v is taken", l)
		}
	}
	if got := limit(policy.ByConnection|policy.ByAgent, 1000, 2*time.Hour, 3).String(); got != "limit agent+connection 1000/2h burst 3" {
		t.Error(got)
	}
}
