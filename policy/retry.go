// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/toolgate/toolgate/gateway"
)

const (
	// maxRetries is how many further attempts one call may have.
	maxRetries = 5
	// callsPerRetry: retries are no more than a tenth of the calls. A provider that
	// fails under its load must not get more of it.
	callsPerRetry = 10
	// maxSaved is how many retries quiet times can save up for.
	maxSaved  = 10
	firstWait = 100 * time.Millisecond // doubled for each further one
	maxWait   = 2 * time.Second
)

func checkRetries(n int) error {
	if n < 0 || n > maxRetries {
		return errors.New("retry: up to 5 further attempts")
	}
	return nil
}

// budgets are the toolkits' calls that no retry has been made for yet.
type budgets struct {
	mu    sync.Mutex
	calls map[string]int
}

func (b *budgets) earn(toolkit string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n, there := b.calls[toolkit]; !there {
		b.calls[strings.Clone(toolkit)] = 1
	} else {
		b.calls[toolkit] = min(n+1, maxSaved*callsPerRetry)
	}
}

func (b *budgets) spend(toolkit string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls[toolkit] < callsPerRetry {
		return false
	}
	b.calls[toolkit] -= callsPerRetry
	return true
}

// again says whether another attempt is worth it, and after what time.
func (v *visit) again(a gateway.Answer, now time.Time) (wait time.Duration, yes bool) {
	if v.tries >= v.desk.retries || !a.Repeatable || !passing(a) {
		return 0, false
	}
	wait = firstWait << v.tries
	wait = wait/2 + rand.N(wait/2+1) // else all who failed together come back together
	if d, said := announced(a.Header, nil, now); said && a.Status != 0 {
		wait = max(wait, d)
	}
	deadline, bounded := v.ctx.Deadline()
	switch {
	case wait > maxWait, bounded && now.Add(wait).After(deadline):
		return 0, false
	case v.breaker != nil && v.breaker.ajar.Load():
		return 0, false // it has opened meanwhile, or this is the call that looks
	case !v.policy.state.budgets.spend(v.desk.ID):
		return 0, false
	}
	v.tries++
	return wait, true
}

// passing: what may well be gone in a moment.
func passing(a gateway.Answer) bool {
	switch a.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return a.Fault == gateway.DialFault || a.Fault == gateway.BrokenFault
}
