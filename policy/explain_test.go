// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/toolkit"
)

// told is an explanation, a line for each part.
func told(all []policy.Finding) string {
	var lines []string
	for _, f := range all {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s: %s [%s] %s", f.Part, f.Code, f.Rule, f.Note)))
	}
	return strings.Join(lines, "\n")
}

func TestAnExplanationNamesEveryRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := acme(t, func(d *toolkit.Definition) {
			d.Reading.Methods, d.Reading.GraphQL = []string{"GET"}, []string{"/graphql"}
		})
		own := policy.Toolkit{
			Toolkit: tk, Rules: rules(t, "allow * /x", "allow POST /graphql"), Limits: []policy.Limit{limit(policy.ByUser, 60, time.Minute, 3), limit(policy.ByConnection, 5, time.Minute, 0)},
			Concurrency: []policy.Concurrency{{By: policy.ByUser, Calls: 1}},
		}
		state := policy.NewState()
		p := with(t, policy.Config{
			Toolkits: map[string]policy.Toolkit{"acme": own},
			Agents:   map[string]policy.Agent{"bot": {Rules: map[string]policy.Rules{"acme": rules(t, "read_only")}, Limits: []policy.Limit{limit(policy.ByAgent, 9, time.Hour, 0)}}},
		}).With(state)
		explained := func(method, path string, edit ...func(*gateway.Call)) string {
			c := of(tk, "ada")
			c.Method, c.Path = method, path
			for _, e := range edit {
				e(c)
			}
			return told(p.Explain(c))
		}
		const quiet = "breaker:  [breaker api.acme.example] closed\ncool-down:  [] none\nconcurrency:  [concurrency user 1] 0 under way, 0 waiting"
		const limits = "limit:  [limit connection 5/1m] 5 left of 5\nlimit:  [limit user 60/1m burst 3] 3 left of 3\nlimit:  [limit agent 9/1h] 9 left of 9\n"
		for _, c := range []struct{ got, want string }{
			{explained("GET", "/x"), "rules:  [allow * /x; reads GET]\n" + limits + quiet},
			{explained("PUT", "/x"), "rules: not_permitted [read_only] The operator's rules do not allow this call (read_only). Only calls that are known to change nothing may be made.\n" + limits + quiet},
			{explained("POST", "/graphql"), "rules:  [read_only: a GraphQL request without a query] depends on the body: queries pass, everything else is refused\n" + limits + quiet},
			{explained("GET", "/x", func(c *gateway.Call) { c.Connection = connection.Key{} }), "rules:  [allow * /x; reads GET]\nlimit:  [limit user 60/1m burst 3] 3 left of 3\nlimit:  [limit agent 9/1h] 9 left of 9\nbreaker:  [breaker api.acme.example] closed"},
		} {
			if c.got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", c.got, c.want)
			}
		}
		for range 2 {
			_ = gets(t, p, of(tk, "ada"), 200)
		}
		busy, _ := p.Enter(t.Context(), of(tk, "ada"))
		busy.Answered(answered(429, "Retry-After", "30"))
		got := explained("GET", "/x")
		for _, want := range []string{
			"limit: rate_limited [limit user 60/1m burst 3] nothing left; the next one in 1s", "limit:  [limit connection 5/1m] 2 left of 5",
			"cool-down: cooling_down [cooldown connection] for 30s more", "concurrency: rate_limited [concurrency user 1] 1 under way, 0 waiting",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%s\nlacks %s", got, want)
			}
		}
		busy.Leave()
		before := state.Buckets()
		for range 100 {
			_ = explained("GET", "/x")
			_ = explained("GET", "/x", func(c *gateway.Call) { c.Caller.User = "stranger" })
		}
		if state.Buckets() != before {
			t.Error("to explain has used something up")
		}
	})
}

func TestAnExplanationTellsOfABreaker(t *testing.T) {
	inWard(t, func(w *ward) {
		w.fails(5, gateway.DialFault, "ada")
		if got := told(w.p.Explain(of(w.tk, "bob"))); !strings.Contains(got, "breaker: circuit_open [breaker api.acme.example] open; a call is let through in 10s") || !strings.HasPrefix(got, "rules:  [] none speaks of it") {
			t.Error(got)
		}
		time.Sleep(openFor)
		for range 2 { // it is not the call that looks
			if got := told(w.p.Explain(of(w.tk, "bob"))); !strings.Contains(got, "one call at a time is let through to see") {
				t.Error(got)
			}
		}
		w.fails(1, 200, "bob")
	})
}
