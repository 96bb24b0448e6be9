// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"time"

	"github.com/toolgate/toolgate/gateway"
)

// Enter implements gateway.Policy. What can be waited for comes first, and what is used up
// last.
func (p *Policy) Enter(ctx context.Context, c *gateway.Call) (gateway.Visit, error) {
	d := p.toolkits[c.Toolkit.ID]
	if err := p.coolDown(ctx, d, c); err != nil {
		return nil, err
	}
	if err := p.spend(d, c); err != nil {
		return nil, err
	}
	if d.cooldown.Off {
		return nil, nil
	}
	return &visit{policy: p, desk: d, call: c}, nil
}

// coolDown keeps a call from a provider that does not want it, or holds it for as long as
// that takes.
func (p *Policy) coolDown(ctx context.Context, d *desk, c *gateway.Call) error {
	if d.cooldown.Off {
		return nil
	}
	for held := time.Duration(0); ; {
		wait, scope := p.state.pauses.left(c, p.now())
		if wait <= 0 {
			return nil
		}
		if held += wait; held > d.cooldown.WaitUpTo {
			return coolingDown(c.Toolkit, wait, scope)
		}
		if err := pass(ctx, wait); err != nil {
			return err
		}
	}
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// visit is a call that was let through.
type visit struct {
	policy *Policy
	desk   *desk
	call   *gateway.Call
}

// Answered implements gateway.Visit.
func (v *visit) Answered(a gateway.Answer) (wait time.Duration, again bool) {
	if !v.desk.cooldown.Off {
		now := v.policy.now()
		if pause, yes := throttled(v.desk.Toolkit, a, now); yes {
			v.policy.state.pauses.learn(v.call, pause, now)
		}
	}
	return 0, false
}

// Leave implements gateway.Visit.
func (v *visit) Leave() {}
