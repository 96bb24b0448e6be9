// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// of is a call of a user's, on their first connection.
func of(tk *toolkit.Toolkit, user string) *gateway.Call {
	c := call(tk, "GET", "/x")
	c.Caller.User = user
	if tk.Auth.PerUser {
		c.Connection = connection.Key{Tenant: c.Caller.Tenant, User: user, Toolkit: tk.ID}
	}
	return c
}

// gets makes a call that the provider answers so.
func gets(t testing.TB, p *policy.Policy, c *gateway.Call, status int, header ...string) error {
	t.Helper()
	visit, err := p.Enter(t.Context(), c)
	if err != nil {
		return err
	}
	visit.Answered(answered(status, header...))
	visit.Leave()
	return nil
}

func answered(status int, header ...string) gateway.Answer {
	a := gateway.Answer{Status: status, Header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "body" {
			a.Peek = func() []byte { return []byte(header[i+1]) }
			continue
		}
		a.Header.Set(header[i], header[i+1])
	}
	return a
}

func cool(t testing.TB, tk *toolkit.Toolkit, clock *clock, edit func(*policy.Toolkit)) *policy.Policy {
	t.Helper()
	own := policy.Toolkit{Toolkit: tk, Breaker: policy.Breaker{Off: true}}
	if edit != nil {
		edit(&own)
	}
	cfg := policy.Config{Toolkits: map[string]policy.Toolkit{tk.ID: own}}
	if clock != nil {
		cfg.Now = clock.now
	}
	return with(t, cfg)
}

func waits(err error) time.Duration {
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Code == problem.CoolingDown {
		return p.RetryAfter
	}
	return 0
}

func TestThePauseThatAProviderWantsIsRead(t *testing.T) {
	now := newClock().now()
	epoch := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	github := []toolkit.Throttle{
		{Status: 403, Header: "x-ratelimit-remaining", Value: "0", Reset: "x-ratelimit-reset"},
		{Status: 429, PauseSeconds: 60}, {Status: 403, Header: "Retry-After"},
	}
	linear := []toolkit.Throttle{{Status: 400, Body: "RATELIMITED", Reset: "x-ratelimit-requests-reset", Unit: toolkit.ResetAtMillis}}
	for _, c := range []struct {
		signs  []toolkit.Throttle
		status int
		header []string
		want   time.Duration
		why    string
	}{
		{nil, 200, []string{"Retry-After", "9"}, 0, "only a refusal says so"},
		{nil, 403, []string{"Retry-After", "9"}, 0, "403 is not, for most"},
		{nil, 503, []string{"Retry-After", "9"}, 0, "503 is the breaker's"},
		{nil, 429, nil, time.Second, "without a word it is a moment"},
		{nil, 429, []string{"Retry-After", "9"}, 9 * time.Second, ""},
		{nil, 429, []string{"Retry-After", "1.5"}, 1500 * time.Millisecond, "some write fractions"},
		{nil, 429, []string{"Retry-After", "0"}, 0, "at once"},
		{nil, 429, []string{"Retry-After", "-1"}, time.Second, "no number that means anything"},
		{nil, 429, []string{"Retry-After", "soon"}, time.Second, ""},
		{nil, 429, []string{"Retry-After", "99999999999999999999"}, time.Second, ""},
		{nil, 429, []string{"Retry-After", "999999999"}, time.Hour, "an hour at most"},
		{nil, 429, []string{"Retry-After", now.Add(time.Minute).UTC().Format(http.TimeFormat)}, time.Minute, "a date"},
		{nil, 429, []string{"Retry-After", now.Add(time.Hour).UTC().Format(http.TimeFormat), "Date", now.Add(59 * time.Minute).UTC().Format(http.TimeFormat)}, time.Minute, "by the provider's own clock"},
		{nil, 429, []string{"X-Ratelimit-Reset", epoch(time.Minute)}, time.Second, "not known to be in seconds since 1970"},
		{github, 403, []string{"X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", epoch(5 * time.Minute)}, 5 * time.Minute, "GitHub's primary limit"},
		{github, 403, []string{"X-Ratelimit-Remaining", "1", "X-Ratelimit-Reset", epoch(5 * time.Minute)}, 0, "and a 403 that is something else"},
		{github, 403, []string{"Retry-After", "30"}, 30 * time.Second, "its secondary limits"},
		{github, 429, nil, time.Minute, "and where it does not say"},
		{github, 403, []string{"X-Ratelimit-Remaining", "0"}, time.Second, "a header that lacks"},
		{github, 403, []string{"X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "NaN"}, time.Second, ""},
		{linear, 400, []string{"body", `{"errors":[{"extensions":{"code":"RATELIMITED"}}]}`, "X-Ratelimit-Requests-Reset", fmt.Sprint(now.Add(time.Minute).UnixMilli())}, time.Minute, "Linear says it in the body"},
		{linear, 400, []string{"body", `{"errors":[{"message":"no"}]}`, "X-Ratelimit-Requests-Reset", fmt.Sprint(now.Add(time.Minute).UnixMilli())}, 0, ""},
		{linear, 400, nil, 0, "no body to look into"},
		{[]toolkit.Throttle{{Status: 429, Reset: "X-Reset-In", Unit: toolkit.ResetAfter}}, 429, []string{"X-Reset-In", "7"}, 7 * time.Second, "seconds from now"},
	} {
		tk := acme(t, func(d *toolkit.Definition) { d.Throttling.Signs = c.signs })
		clock := newClock()
		p := cool(t, tk, clock, nil)
		if err := gets(t, p, of(tk, "ada"), c.status, c.header...); err != nil {
			t.Fatal(err)
		}
		if got := waits(gets(t, p, of(tk, "ada"), 200)); got != c.want {
			t.Errorf("%d %v: %v, want %v %s", c.status, c.header, got, c.want, c.why)
		}
		if c.want == 0 {
			continue
		}
		if err := gets(t, p, of(tk, "bob"), 200); err != nil {
			t.Errorf("%d %v: another's call: %v", c.status, c.header, err)
		}
		clock.pass(c.want)
		if err := gets(t, p, of(tk, "ada"), 200); err != nil {
			t.Errorf("%d %v: afterwards: %v", c.status, c.header, err)
		}
	}
}

func TestAPauseIsTheConnectionsAlone(t *testing.T) {
	tk, clock := acme(t, nil), newClock()
	p := cool(t, tk, clock, nil)
	work, tenant := of(tk, "ada"), of(tk, "ada")
	work.Connection.Account = "work"
	tenant.Connection.Tenant, tenant.Caller.Tenant = "other", "other"
	_ = gets(t, p, of(tk, "ada"), 429, "Retry-After", "60")
	for _, c := range []*gateway.Call{work, tenant, of(tk, "bob")} {
		if err := gets(t, p, c, 200); err != nil {
			t.Errorf("%+v: %v", c.Connection, err)
		}
	}
	other := of(tk, "ada")
	other.Caller.Agent, other.Path = "other", "/elsewhere"
	if err := gets(t, p, other, 200); said(err) != "cooling_down: cooldown connection" {
		t.Errorf("another agent on the same connection: %v", err)
	}
	// A shorter one does not end a longer one.
	v, _ := p.Enter(t.Context(), of(tk, "bob"))
	_ = gets(t, p, of(tk, "bob"), 429, "Retry-After", "600")
	v.Answered(answered(429, "Retry-After", "1"))
	if got := waits(gets(t, p, of(tk, "bob"), 200)); got != 10*time.Minute {
		t.Errorf("%v", got)
	}
}

func TestTheOperatorsKeyPausesForAllForAQuarterOfAnHour(t *testing.T) {
	tk := acme(t, func(d *toolkit.Definition) { d.Auth = toolkit.AuthDefinition{Kind: toolkit.NoAuth} })
	p := cool(t, tk, newClock(), nil)
	_ = gets(t, p, of(tk, "ada"), 429, "Retry-After", "86400")
	if got := waits(gets(t, p, of(tk, "bob"), 200)); got != 15*time.Minute {
		t.Error(got)
	}
}

func TestASharedLimitIsBelievedWhenTwoUsersHaveMetIt(t *testing.T) {
	for _, shared := range []bool{true, false} {
		tk, clock := acme(t, func(d *toolkit.Definition) { d.Throttling.Shared = shared }), newClock()
		p := cool(t, tk, clock, nil)
		work := of(tk, "ada")
		work.Connection.Account = "work"
		_ = gets(t, p, of(tk, "ada"), 429, "Retry-After", "3600")
		_ = gets(t, p, work, 429, "Retry-After", "3600") // the same user
		if err := gets(t, p, of(tk, "carol"), 200); err != nil {
			t.Fatalf("after one user: %v", err)
		}
		_ = gets(t, p, of(tk, "bob"), 429, "Retry-After", "2000")
		got := gets(t, p, of(tk, "carol"), 200)
		if shared && (said(got) != "cooling_down: cooldown toolkit" || waits(got) != 15*time.Minute) || !shared && got != nil {
			t.Errorf("shared %v: %v", shared, got)
		}
		clock.pass(15 * time.Minute)
		if err := gets(t, p, of(tk, "carol"), 200); err != nil {
			t.Errorf("after a quarter of an hour: %v", err)
		}
		if err := gets(t, p, of(tk, "ada"), 200); waits(err) != 45*time.Minute {
			t.Errorf("her own: %v", err)
		}
	}
	// Two that are far from each other in time say nothing together.
	tk, clock := acme(t, func(d *toolkit.Definition) { d.Throttling.Shared = true }), newClock()
	p := cool(t, tk, clock, nil)
	_ = gets(t, p, of(tk, "ada"), 429, "Retry-After", "60")
	clock.pass(61 * time.Second)
	_ = gets(t, p, of(tk, "bob"), 429, "Retry-After", "60")
	if err := gets(t, p, of(tk, "carol"), 200); err != nil {
		t.Error(err)
	}
}

func TestALimitPerPathPausesThatPath(t *testing.T) {
	tk := acme(t, func(d *toolkit.Definition) { d.Throttling.PerPath = true })
	p := cool(t, tk, newClock(), nil)
	_ = gets(t, p, of(tk, "ada"), 429, "Retry-After", "60")
	if err := gets(t, p, of(tk, "ada"), 200); said(err) != "cooling_down: cooldown path" {
		t.Error(err)
	}
	elsewhere := of(tk, "ada")
	elsewhere.Path = "/y"
	if err := gets(t, p, elsewhere, 200); err != nil {
		t.Error(err)
	}
}

func TestAShortPauseIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := acme(t, nil)
		p := cool(t, tk, nil, func(own *policy.Toolkit) { own.Cooldown.WaitUpTo = 2 * time.Second })
		_ = gets(t, p, of(tk, "ada"), 429, "Retry-After", "2")
		start := time.Now()
		if err := gets(t, p, of(tk, "ada"), 429, "Retry-After", "3"); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		start = time.Now()
		if err := gets(t, p, of(tk, "ada"), 200); waits(err) != 3*time.Second || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		time.Sleep(1500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Enter(ctx, of(tk, "ada")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who hangs up meanwhile: %v", err)
		}
	})
}

func TestNothingIsLearnedWhereItIsOff(t *testing.T) {
	tk := acme(t, nil)
	p := cool(t, tk, newClock(), func(own *policy.Toolkit) { own.Cooldown.Off = true })
	if v, err := p.Enter(t.Context(), of(tk, "ada")); v != nil || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

func TestPausesAreForgottenWhenTheyAreOver(t *testing.T) {
	tk, clock, state := acme(t, nil), newClock(), policy.NewState()
	p := cool(t, tk, clock, nil).With(state)
	for i := range 120_000 {
		_ = gets(t, p, of(tk, fmt.Sprint(i)), 429, "Retry-After", "60")
	}
	if n := state.Pauses(); n != 100_000 {
		t.Errorf("%d are kept", n)
	}
	clock.pass(time.Minute)
	_ = gets(t, p, of(tk, "late"), 429, "Retry-After", "60")
	if n := state.Pauses(); n != 1 {
		t.Errorf("%d are kept, of which one runs", n)
	}
	clock.pass(time.Minute)
	state.Sweep(clock.now())
	if n := state.Pauses(); n != 0 {
		t.Errorf("%d are kept", n)
	}
}

// A call that is held meets a new pause: it is not held for longer than it was said.
func TestHeldCallsAreNotHeldAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := acme(t, nil)
		p := cool(t, tk, nil, func(own *policy.Toolkit) { own.Cooldown.WaitUpTo = 2 * time.Second })
		late, err := p.Enter(t.Context(), of(tk, "ada"))
		if err != nil {
			t.Fatal(err)
		}
		_ = gets(t, p, of(tk, "ada"), 429, "Retry-After", "2")
		go func() {
			time.Sleep(1900 * time.Millisecond)
			late.Answered(answered(429, "Retry-After", "1"))
		}()
		if err := gets(t, p, of(tk, "ada"), 200); waits(err) != 900*time.Millisecond {
			t.Error(err)
		}
	})
}

func retryAfter(err error) time.Duration { return problem.Of(err).RetryAfter }
