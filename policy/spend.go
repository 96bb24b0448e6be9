// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"time"

	"github.com/toolgate/toolgate/gateway"
)

// measures are the limits that hold for a call, in the order in which they are locked.
func (p *Policy) measures(d *desk, c *gateway.Call) [3][]meter {
	return [3][]meter{p.limits, d.limits, p.agents[c.Caller.Agent].limits}
}

// foresee refuses what a limit would refuse later, before anybody looks for a credential.
// It takes nothing. Which connection it is, is not known yet.
func (p *Policy) foresee(d *desk, c *gateway.Call) error {
	var now time.Time
	for _, some := range p.measures(d, c) {
		for i := range some {
			m := &some[i]
			if m.By&ByConnection != 0 {
				continue
			}
			if now.IsZero() {
				now = p.now()
			}
			if wait := m.table.wait(m, m.key(c), now); wait > 0 {
				return m.exhausted(wait)
			}
		}
	}
	return nil
}

// spend takes one call from each limit, or nothing from any: what a call is refused for
// must not use up what is others' too.
func (p *Policy) spend(d *desk, c *gateway.Call) error {
	all := p.measures(d, c)
	if len(all[0])+len(all[1])+len(all[2]) == 0 {
		return nil
	}
	for _, some := range all {
		for i := range some {
			some[i].table.mu.Lock()
			defer some[i].table.mu.Unlock()
		}
	}
	now := p.now() // of when the tables are ours: time does not run backwards in them
	var short *meter
	var longest time.Duration
	for _, some := range all {
		for i := range some {
			m := &some[i]
			if wait := m.table.waitLocked(m, m.key(c), now); wait > longest {
				short, longest = m, wait
			}
		}
	}
	if short != nil {
		return short.exhausted(longest)
	}
	for _, some := range all {
		for i := range some {
			some[i].table.takeLocked(&some[i], some[i].key(c), now)
		}
	}
	return nil
}
