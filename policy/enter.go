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
	v := &visit{policy: p, desk: d, call: c, ctx: ctx}
	if err := v.pass(ctx); err != nil {
		v.Leave()
		return nil, err
	}
	if v.done == nil && v.places == nil && d.cooldown.Off && d.retries == 0 {
		return nil, nil
	}
	if d.retries > 0 {
		p.state.budgets.earn(d.ID)
	}
	return v, nil
}

func (v *visit) pass(ctx context.Context) error {
	if err := v.policy.coolDown(ctx, v.desk, v.call); err != nil {
		return err
	}
	if len(v.desk.concurrency) > 0 {
		if err := v.takePlaces(ctx); err != nil {
			return err
		}
		// Again: it may have waited for its place.
		if err := v.policy.coolDown(ctx, v.desk, v.call); err != nil {
			return err
		}
	}
	if err := v.passBreaker(); err != nil {
		return err
	}
	return v.policy.spend(v.desk, v.call)
}

// coolDown keeps a call from a provider that does not want it, or holds it for as long as
// that takes.
func (p *Policy) coolDown(ctx context.Context, d *desk, c *gateway.Call) error {
	if d.cooldown.Off || !p.state.pauses.some.Load() {
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
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// sleep lets time pass.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// breakerOpen refuses before anybody looks for a credential. It lets nobody through to
// see: the call may still come to nothing for another reason.
func (p *Policy) breakerOpen(d *desk, c *gateway.Call) error {
	b := p.state.breakers.of(where(c))
	if d.breaker.Off || b == nil || !b.ajar.Load() {
		return nil
	}
	if wait := b.closedTo(whose(c), p.now()); wait > 0 {
		return circuitOpen(d, c.Target.Host, wait)
	}
	return nil
}

// visit is a call that was let through.
type visit struct {
	policy *Policy
	desk   *desk
	call   *gateway.Call
	ctx    context.Context // the call's, for its deadline
	tries  int             // further ones

	places  []slotKey
	breaker *breaker
	probe   bool
	done    func(error) // of breaker; nil when it has been told, or there is none
}

func (v *visit) passBreaker() error {
	if v.desk.breaker.Off {
		return nil
	}
	if v.breaker = v.policy.state.breakers.forHost(where(v.call), v.policy.now); v.breaker == nil {
		return nil
	}
	var wait time.Duration
	if v.done, v.probe, wait = v.breaker.ask(whose(v.call), v.policy.now()); wait > 0 {
		return circuitOpen(v.desk, v.call.Target.Host, wait)
	}
	return nil
}

// Answered implements gateway.Visit.
func (v *visit) Answered(a gateway.Answer) (wait time.Duration, again bool) {
	if a.Fault == gateway.NoFault && a.Status < 400 { // the usual, which needs no clock
		v.tell(a, false, time.Time{})
		return 0, false
	}
	now := v.policy.now()
	pause, limited := throttled(v.desk.Toolkit, a, now)
	if limited && !v.desk.cooldown.Off {
		v.policy.state.pauses.learn(v.call, pause, now)
	}
	if wait, again = v.again(a, now); !again {
		v.tell(a, limited, now)
	}
	return wait, again
}

// tell reports to the breaker, once: an answer by its header, however long its body is.
func (v *visit) tell(a gateway.Answer, limited bool, now time.Time) {
	if v.done == nil {
		return
	}
	verdict := errNotTheir
	if a.Fault != gateway.OurFault && !limited {
		verdict = nil
		if a.Fault != gateway.NoFault || a.Status >= 500 {
			verdict = errFailed
		}
		v.breaker.reported(whose(v.call), verdict != nil, a.Fault == gateway.DialFault, v.probe, now)
	}
	v.done(verdict)
	v.done = nil
}

// Leave implements gateway.Visit.
func (v *visit) Leave() {
	v.tell(gateway.Answer{Fault: gateway.OurFault}, false, time.Time{})
	v.freePlaces()
}
