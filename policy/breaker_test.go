// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/toolkit"
)

// ward is a policy with nothing but a breaker, in a bubble of time.
type ward struct {
	t     *testing.T
	tk    *toolkit.Toolkit
	p     *policy.Policy
	state *policy.State
}

func inWard(t *testing.T, test func(*ward)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &ward{t: t, tk: acme(t, nil), state: policy.NewState()}
		w.p = with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: w.tk}}}).With(w.state)
		test(w)
	})
}

// ends makes a call that ends so: a status, or a fault.
func (w *ward) ends(user string, how any) error {
	w.t.Helper()
	c := of(w.tk, user)
	if err := w.p.Admit(w.t.Context(), c); err != nil {
		return err
	}
	v, err := w.p.Enter(w.t.Context(), c)
	if err != nil {
		return err
	}
	defer v.Leave()
	switch how := how.(type) {
	case int:
		v.Answered(answered(how))
	case gateway.Fault:
		v.Answered(gateway.Answer{Fault: how})
	}
	return nil
}

func (w *ward) fails(n int, how any, users ...string) {
	w.t.Helper()
	for i := range n {
		if err := w.ends(users[i%len(users)], how); err != nil {
			w.t.Fatalf("call %d: %v", i, err)
		}
	}
}

const open = "circuit_open: breaker api.acme.example"

func (w *ward) want(what string, is bool) {
	w.t.Helper()
	got := said(w.ends("somebody", 200))
	if is && got != open || !is && got != "ok" {
		w.t.Errorf("%s: %s", what, got)
	}
}

func TestWhatCountsAgainstAProvider(t *testing.T) {
	three := []string{"ada", "bob", "carol"}
	for _, c := range []struct {
		how   any
		times int
		users []string
		opens bool
		why   string
	}{
		{500, 5, three, true, ""},
		{503, 5, three, true, ""},
		{gateway.SlowFault, 5, three, true, "it does not answer in time"},
		{gateway.BrokenFault, 5, three, true, "the connection breaks"},
		{gateway.DialFault, 5, []string{"ada"}, true, "nobody is there, whoever asks"},
		{gateway.DialFault, 4, three, false, "four dials may be chance"},
		{500, 4, three, false, "and so may four answers"},
		{500, 100, []string{"ada"}, false, "one user's calls may fail for a reason of theirs"},
		{500, 100, []string{"ada", "bob"}, false, "two users too"},
		{gateway.SlowFault, 100, []string{"ada"}, false, ""},
		{404, 100, three, false, "a 4xx is an answer"},
		{401, 100, three, false, ""},
		{429, 3, three, false, "a limit is no illness"},
		{gateway.OurFault, 100, three, false, "who hangs up says nothing about the provider"},
		{nil, 100, three, false, "nor do calls that were never sent"},
	} {
		inWard(t, func(w *ward) {
			w.fails(c.times, c.how, c.users...)
			if got := said(w.ends("somebody", 200)); (got == open) != c.opens {
				t.Errorf("%d times %v of %d users: %s %s", c.times, c.how, len(c.users), got, c.why)
			}
		})
	}
}

func TestHalfOfTheCallsHaveToFail(t *testing.T) {
	inWard(t, func(w *ward) {
		w.fails(10, 200, "ada", "bob", "carol")
		w.fails(9, 500, "ada", "bob", "carol")
		w.want("9 of 19", false) // and one success more
		w.fails(2, 500, "ada")
		w.want("11 of 22", true)
	})
}

func TestDialsThatFailNowAndThenAreNoIllness(t *testing.T) {
	inWard(t, func(w *ward) {
		for range 5 {
			w.fails(4, gateway.DialFault, "ada")
			w.fails(5, 200, "ada")
		}
		w.fails(4, gateway.DialFault, "ada")
		w.fails(1, gateway.BrokenFault, "ada")
		w.fails(1, gateway.DialFault, "ada")
		w.want("never five in a row", false)
	})
}

func TestACallToAnOpenHostIsRefusedBeforeItsCredentialIsLookedFor(t *testing.T) {
	inWard(t, func(w *ward) {
		w.fails(5, gateway.DialFault, "ada")
		if got := said(w.p.Admit(t.Context(), of(w.tk, "bob"))); got != open {
			t.Error(got)
		}
		time.Sleep(openFor)
		if got := said(w.p.Admit(t.Context(), of(w.tk, "bob"))); got != "ok" {
			t.Errorf("when it is time to look: %s", got)
		}
	})
}

func TestOldFailuresAreForgotten(t *testing.T) {
	inWard(t, func(w *ward) {
		w.fails(4, 500, "ada", "bob", "carol")
		time.Sleep(31 * time.Second)
		w.fails(4, 500, "ada", "bob", "carol")
		w.want("four and then four", false)
		time.Sleep(31 * time.Second)
		w.fails(20, 500, "dave")
		w.want("three users long ago and one now", false)
	})
}

func TestAnOpenBreakerSaysHowLongAndTriesOneCall(t *testing.T) {
	inWard(t, func(w *ward) {
		w.fails(5, 503, "ada", "bob", "carol")
		time.Sleep(4 * time.Second)
		if err := w.ends("dave", 200); said(err) != open || retryAfter(err) != 6*time.Second {
			t.Errorf("%v, %v", err, retryAfter(err))
		}
		time.Sleep(6*time.Second + 1)
		probe, err := w.p.Enter(t.Context(), of(w.tk, "dave"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if err := w.ends(fmt.Sprint(i), 200); said(err) != open || retryAfter(err) != time.Second {
				t.Fatalf("while one looks: %v, %v", err, retryAfter(err))
			}
		}
		probe.Answered(answered(200))
		w.want("after a good probe, whose body may still be coming", false)
		probe.Leave()
	})
}

func TestAProbeThatSaysNothingMakesRoomForAnother(t *testing.T) {
	inWard(t, func(w *ward) {
		w.fails(5, 503, "ada", "bob", "carol")
		time.Sleep(openFor)
		for _, how := range []any{nil, gateway.OurFault, 429} { // hung up, and a limit
			if err := w.ends("dave", how); err != nil {
				t.Fatalf("%v: %v", how, err)
			}
			if state := w.state.Breakers(time.Now())[0].State; state != "half-open" {
				t.Errorf("after %v it is %s", how, state)
			}
		}
		w.want("nobody has seen yet", false)
		w.want("and now it is well", false)
	})
}

const openFor = 10*time.Second + 1

// The one who calls most would be the one who probes, every time.
func TestOneWhoseCallsFailDoesNotKeepItShut(t *testing.T) {
	inWard(t, func(w *ward) {
		w.fails(5, 503, "runaway", "bob", "carol")
		time.Sleep(openFor)
		w.fails(1, 500, "runaway") // for a reason of its own, from now on
		time.Sleep(openFor)
		for range 100 {
			if err := w.ends("runaway", 500); said(err) != open || retryAfter(err) <= 0 {
				t.Fatalf("it may look again: %v", err)
			}
		}
		w.want("somebody else may look", false)
		w.fails(50, 500, "runaway")
		w.want("and it stays well for others", false)
	})
	// Where there is nobody else, it has another chance.
	inWard(t, func(w *ward) {
		w.fails(5, gateway.DialFault, "runaway")
		time.Sleep(openFor)
		w.fails(1, gateway.DialFault, "runaway")
		time.Sleep(3 * openFor)
		w.fails(1, 200, "runaway")
		w.fails(1, 200, "runaway")
	})
}

func TestEachHostHasItsOwn(t *testing.T) {
	inWard(t, func(w *ward) {
		w.fails(5, gateway.DialFault, "ada")
		other := of(w.tk, "ada")
		other.Target.Host = "files.acme.example"
		if v, err := w.p.Enter(t.Context(), other); err != nil {
			t.Error(err)
		} else {
			v.Leave()
		}
		w.want("the one that is down", true)
	})
}

func TestACallThatALimitRefusesIsNoProbe(t *testing.T) {
	inWard(t, func(w *ward) {
		tk := policy.Toolkit{Toolkit: w.tk, Limits: []policy.Limit{limit(policy.ByUser, 5, time.Hour, 0)}}
		w.p = with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": tk}}).With(w.state)
		w.fails(5, gateway.DialFault, "ada")
		time.Sleep(openFor)
		if _, err := w.p.Enter(t.Context(), of(w.tk, "ada")); !strings.HasPrefix(said(err), "rate_limited") {
			t.Fatal(err)
		}
		w.want("another looks", false)
	})
}

func TestBreakersAreListedResetAndForgotten(t *testing.T) {
	inWard(t, func(w *ward) {
		w.fails(5, 503, "ada", "bob", "carol")
		time.Sleep(time.Second)
		w.state.Sweep(time.Now().Add(time.Hour))
		want := policy.BreakerInfo{Toolkit: "acme", Host: "api.acme.example", State: "open", Users: 3, OpenFor: 9 * time.Second}
		if got := w.state.Breakers(time.Now()); len(got) != 1 || got[0] != want {
			t.Errorf("%+v", got)
		}
		if n := w.state.ResetBreakers("other"); n != 0 {
			t.Errorf("%d of another toolkit", n)
		}
		if n := w.state.ResetBreakers("acme"); n != 1 {
			t.Errorf("%d were open", n)
		}
		w.want("it was reset", false)
		time.Sleep(11 * time.Minute)
		w.state.Sweep(time.Now())
		if got := w.state.Breakers(time.Now()); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestThereIsNoBreakerWhereItIsOff(t *testing.T) {
	inWard(t, func(w *ward) {
		w.p = with(t, policy.Config{Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: w.tk, Breaker: policy.Breaker{Off: true}}}})
		w.fails(100, gateway.DialFault, "ada")
	})
}
