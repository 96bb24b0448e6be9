// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/policy"
)

// retrying is a policy with retries, and a hundred calls that went well before.
func retrying(t *testing.T, n, calls int) (*policy.Policy, func(ctx context.Context) gateway.Visit) {
	t.Helper()
	tk := acme(t, nil)
	p := with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: tk, Retries: n, Breaker: policy.Breaker{Off: true}}}})
	enter := func(ctx context.Context) gateway.Visit {
		v, err := p.Enter(ctx, of(tk, "ada"))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for range calls {
		v := enter(t.Context())
		v.Answered(answered(200))
		v.Leave()
	}
	return p, enter
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		answer gateway.Answer
		again  bool
		why    string
	}{
		{answered(502), true, ""}, {answered(503), true, ""}, {answered(504), true, ""},
		{gateway.Answer{Fault: gateway.DialFault}, true, "nobody was there"},
		{gateway.Answer{Fault: gateway.BrokenFault}, true, "the connection broke"},
		{gateway.Answer{Fault: gateway.SlowFault}, false, "it has waited long enough"},
		{gateway.Answer{Fault: gateway.OurFault}, false, "the agent has gone"},
		{answered(200), false, ""}, {answered(404), false, ""}, {answered(429), false, "that is a cool-down"}, {answered(500), false, "it may have been done"},
		{answered(503, "Retry-After", "1"), true, "soon"}, {answered(503, "Retry-After", "30"), false, "later than an agent waits"},
	} {
		for _, repeatable := range []bool{true, false} {
			_, enter := retrying(t, 2, 100)
			a := c.answer
			a.Repeatable = repeatable
			v := enter(t.Context())
			wait, again := v.Answered(a)
			if again != (c.again && repeatable) {
				t.Errorf("%+v: %v %s", a, again, c.why)
			}
			if again && (wait < 50*time.Millisecond || wait > time.Second) {
				t.Errorf("%+v: after %v", a, wait)
			}
			v.Leave()
		}
	}
}

func TestRetriesHaveANumberAndALongerWaitEach(t *testing.T) {
	_, enter := retrying(t, 3, 100)
	bad := answered(503)
	bad.Repeatable = true
	v := enter(t.Context())
	for i := range 3 {
		least := 50 * time.Millisecond << i
		if wait, again := v.Answered(bad); !again || wait < least || wait > 2*least {
			t.Errorf("try %d: %v after %v", i, again, wait)
		}
	}
	if _, again := v.Answered(bad); again {
		t.Error("a fourth")
	}
}

func TestRetriesAreATenthOfTheCallsAtMost(t *testing.T) {
	_, enter := retrying(t, 5, 0)
	bad := answered(503)
	bad.Repeatable = true
	tries := 0
	for range 400 {
		v := enter(t.Context())
		for {
			if _, again := v.Answered(bad); !again {
				break
			}
			tries++
		}
		v.Leave()
	}
	if tries != 40 {
		t.Errorf("%d retries of 400 calls", tries)
	}
	_, enter = retrying(t, 5, 10_000)
	tries = 0
	for range 3 {
		v := enter(t.Context())
		for again := true; again; tries++ {
			_, again = v.Answered(bad)
		}
		v.Leave()
	}
	if tries != 13 { // ten retries and three ends
		t.Errorf("a quiet day has saved up %d", tries-3)
	}
}

func TestNoRetryEndsBehindTheCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, enter := retrying(t, 2, 100)
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
		defer cancel()
		bad := answered(503)
		bad.Repeatable = true
		if _, again := enter(ctx).Answered(bad); again {
			t.Error("it would come too late")
		}
	})
}

func TestAnIllProviderIsNotTriedAgain(t *testing.T) {
	inWard(t, func(w *ward) {
		w.p = with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: w.tk, Retries: 2}}}).With(w.state)
		w.fails(100, 200, "ada")
		late, _ := w.p.Enter(t.Context(), of(w.tk, "dave"))
		w.fails(5, gateway.DialFault, "ada")
		bad := gateway.Answer{Fault: gateway.DialFault, Repeatable: true}
		if _, again := late.Answered(bad); again {
			t.Error("it is open")
		}
		late.Leave()
		time.Sleep(openFor)
		probe, _ := w.p.Enter(t.Context(), of(w.tk, "dave"))
		if _, again := probe.Answered(bad); again {
			t.Error("one call looks, once")
		}
		probe.Leave()
	})
}

func TestATriedCallCountsOnceForTheBreaker(t *testing.T) {
	inWard(t, func(w *ward) {
		w.p = with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: w.tk, Retries: 5}}}).With(w.state)
		w.fails(100, 200, "ada")
		bad := answered(503)
		bad.Repeatable = true
		v, _ := w.p.Enter(t.Context(), of(w.tk, "ada"))
		for range 3 {
			v.Answered(bad)
		}
		v.Answered(answered(200))
		v.Leave()
		if b := w.state.Breakers(time.Now())[0]; b.Failures != 0 || b.Calls != 101 {
			t.Errorf("%+v", b)
		}
	})
}
