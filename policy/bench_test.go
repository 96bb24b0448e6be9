// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/toolgate/toolgate/policy"
)

// What a call costs beside the gateway's own way: with nothing configured, which is with
// breaker and cool-down, and with rules and limits.
func BenchmarkACall(b *testing.B) {
	tk := acme(b, nil)
	for name, own := range map[string]policy.Toolkit{
		"off":    {Toolkit: tk, Breaker: policy.Breaker{Off: true}, Cooldown: policy.Cooldown{Off: true}},
		"usual":  {Toolkit: tk},
		"limits": {Toolkit: tk, Limits: []policy.Limit{limit(policy.ByUser, 1<<29, time.Second, 0), limit(policy.ByToolkit, 1<<29, time.Second, 0)}},
		"rules":  {Toolkit: tk, Rules: rules(b, "allow GET /repos/*", "allow GET /x", "deny DELETE *", "deny * /admin/*")},
		"caps":   {Toolkit: tk, Concurrency: []policy.Concurrency{{By: policy.ByUser, Calls: 10}}},
	} {
		b.Run(name, func(b *testing.B) {
			p := only(b, own)
			c, good := of(tk, "ada"), answered(200)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Admit(b.Context(), c); err != nil {
					b.Fatal(err)
				}
				v, err := p.Enter(b.Context(), c)
				if err != nil {
					b.Fatal(err)
				}
				if v != nil {
					v.Answered(good)
					v.Leave()
				}
			}
		})
	}
}

// With 100,000 users, each of whom has a bucket.
func BenchmarkACallAmongManyUsers(b *testing.B) {
	tk := acme(b, nil)
	p := only(b, policy.Toolkit{Toolkit: tk, Limits: []policy.Limit{limit(policy.ByUser, 1<<20, time.Hour, 0)}})
	c := of(tk, "ada")
	users := make([]string, 100_000)
	for i := range users {
		users[i] = fmt.Sprint(i)
	}
	i := 0
	for b.Loop() {
		c.Caller.User = users[i%len(users)]
		i++
		v, err := p.Enter(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		v.Leave()
	}
}
