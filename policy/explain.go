// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
)

// Finding is what one part of the policy says of a call, were it made now.
type Finding struct {
	// Part is what was asked: rules, a limit, the cool-down, and so on.
	Part string `json:"part"`
	// Code is that of the refusal; "" where the call passes.
	Code problem.Code `json:"code,omitempty"`
	// Rule is the one that decides, as it is written.
	Rule string `json:"rule,omitempty"`
	// Note is for people.
	Note string `json:"note,omitempty"`
}

// Explain judges a call that is not made. It changes nothing, and goes on where a real
// call would have been refused. A Connection that is zero is not known: what is about it
// is left out. The call has no body: what depends on one says so.
func (p *Policy) Explain(c *gateway.Call) []Finding {
	d := p.toolkits[c.Toolkit.ID]
	all := p.explainRules(d, c)
	known := !c.Toolkit.Auth.PerUser || c.Connection.User != ""
	all = append(all, p.explainLimits(d, c, known)...)
	all = append(all, p.explainBreaker(d, c))
	if known {
		all = append(all, p.explainCooldown(d, c))
		all = append(all, p.explainConcurrency(d, c)...)
	}
	return all
}

func (p *Policy) explainRules(d *desk, c *gateway.Call) []Finding {
	if err := p.judge(d, c); err != nil {
		refusal := problem.Of(err)
		f := Finding{Part: "rules", Code: refusal.Code, Rule: refusal.Rule, Note: refusal.Detail}
		if strings.HasPrefix(refusal.Rule, "read_only: a GraphQL") {
			f.Code, f.Note = "", "depends on the body: queries pass, everything else is refused"
		}
		return []Finding{f}
	}
	var buf [24]string
	segments := segmentsOf(unescaped(c.Path), buf[:0])
	var said []string
	readOnly := false
	for _, s := range p.rulesets(d, c) {
		if s == nil || !s.there {
			continue
		}
		if rule := s.judge(c.Method, segments).rule; rule != "" {
			said = append(said, rule)
		}
		readOnly = readOnly || s.readOnly
	}
	if readOnly {
		_, why := d.reading.permits(c, segments)
		said = append(said, why)
	}
	if len(said) == 0 {
		return []Finding{{Part: "rules", Note: "none speaks of it"}}
	}
	return []Finding{{Part: "rules", Rule: strings.Join(said, "; ")}}
}

func (p *Policy) explainLimits(d *desk, c *gateway.Call, known bool) (all []Finding) {
	now := p.now()
	for _, some := range p.measures(d, c) {
		for i := range some {
			m := &some[i]
			if m.By&ByConnection != 0 && !known {
				continue
			}
			f := Finding{Part: "limit", Rule: m.String()}
			left, wait := m.table.left(m, m.key(c), now)
			f.Note = strconv.Itoa(left) + " left of " + strconv.Itoa(m.burst())
			if wait > 0 {
				f.Code, f.Note = problem.RateLimited, "nothing left; the next one in "+soon(wait)
			}
			all = append(all, f)
		}
	}
	return all
}

// left is how many calls there are, and how long until there is one.
func (t *table) left(m *meter, k key, now time.Time) (int, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := t.waitLocked(m, k, now)
	if b := t.buckets[k]; b != nil {
		return max(0, int(b.TokensAt(now)+1e-9)), wait
	}
	return m.burst(), wait
}

func soon(d time.Duration) string { return max(d, time.Second).Round(time.Second).String() }

func (p *Policy) explainBreaker(d *desk, c *gateway.Call) Finding {
	f := Finding{Part: "breaker", Rule: "breaker " + c.Target.Host, Note: "closed"}
	if d.breaker.Off {
		f.Note = "off"
		return f
	}
	if b := p.state.breakers.of(where(c)); b != nil && b.ajar.Load() {
		f.Note = "one call at a time is let through to see"
	}
	if refusal, ok := errors.AsType[*problem.Problem](p.breakerOpen(d, c)); ok {
		f.Code, f.Note = refusal.Code, "open; a call is let through in "+soon(refusal.RetryAfter)
	}
	return f
}

func (p *Policy) explainCooldown(d *desk, c *gateway.Call) Finding {
	f := Finding{Part: "cool-down", Note: "none"}
	if d.cooldown.Off {
		f.Note = "off"
		return f
	}
	wait, scope := p.state.pauses.left(c, p.now())
	switch {
	case wait <= 0:
	case wait <= d.cooldown.WaitUpTo:
		f.Rule, f.Note = "cooldown "+scope, "held for "+soon(wait)
	default:
		f.Code, f.Rule, f.Note = problem.CoolingDown, "cooldown "+scope, "for "+soon(wait)+" more"
	}
	return f
}

func (p *Policy) explainConcurrency(d *desk, c *gateway.Call) (all []Finding) {
	for _, limit := range d.concurrency {
		busy, waiting := p.state.slots.busy(slotKey{d.ID, limit.By, Limit{By: limit.By}.key(c)})
		f := Finding{Part: "concurrency", Rule: limit.String(), Note: fmt.Sprintf("%d under way, %d waiting", busy, waiting)}
		if busy >= limit.Calls && waiting >= limit.Queue {
			f.Code = problem.RateLimited
		}
		all = append(all, f)
	}
	return all
}

func (s *slots) busy(at slotKey) (busy, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.all[at]; one != nil {
		return one.busy, len(one.waiting)
	}
	return 0, 0
}
