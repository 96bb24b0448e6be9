// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/toolgate/toolgate/connection"
)

// Visit is a call's stay at the provider. It is used by one goroutine at a time.
type Visit interface {
	// Answered tells what came of an attempt, when its header is there, and says whether
	// to make another and after what time. It is asked at least once unless nothing was
	// sent.
	Answered(a Answer) (wait time.Duration, again bool)
	// Leave ends the visit, with the answer's body.
	Leave()
}

// Answer is what came of an attempt.
type Answer struct {
	Status int // 0: there is no answer
	Header http.Header
	Fault  Fault // why there is none
	// Repeatable: the call may be made again, and its body is still there.
	Repeatable bool
	// Peek gives a small JSON body in plain; nothing where it is something else. Nil:
	// there is none.
	Peek func() []byte
}

// Fault is whose doing it is that there is no answer.
type Fault int

// The faults.
const (
	NoFault     Fault = iota
	OurFault          // the agent's, or the gateway's: nothing is known about the provider
	DialFault         // nobody is there: no byte was sent
	BrokenFault       // the connection broke
	SlowFault         // the answer did not come in time
)

// enter asks the policy again, now that the connection is known.
func (g *Gateway) enter(x *exchange) (err error) {
	x.boundTime()
	if g.cfg.Policy == nil {
		return nil
	}
	x.call.Target, x.call.Connection = x.target, connection.Key{}
	if x.toolkit.Auth.PerUser {
		x.call.Connection = x.grant.Key
	}
	x.visit, err = g.cfg.Policy.Enter(x.bounded.ctx, x.call)
	if err != nil && x.in.Context().Err() != nil {
		return errCallerGone // while it waited
	}
	if err != nil && x.bounded.ctx.Err() != nil {
		return x.upstreamProblem(err)
	}
	return err
}

// try makes an attempt, and more where the policy wants them.
func (x *exchange) try() (*http.Response, error) {
	for {
		answer, err := x.attempt()
		if x.visit == nil {
			return answer, err
		}
		x.answer = answer
		wait, again := x.visit.Answered(x.answered(err))
		answer = x.answer // its body may have been read ahead
		if !again || !sleep(x.bounded.ctx, wait) {
			return answer, err
		}
		if answer != nil {
			x.dropAnswer()
		}
	}
}

func (x *exchange) answered(err error) Answer {
	a := Answer{Repeatable: x.repeatable()}
	if err != nil {
		a.Fault = x.fault(err)
		return a
	}
	a.Status, a.Header, a.Peek = x.answer.StatusCode, x.answer.Header, x.peekAnswer
	return a
}

// peekAnswer looks into a small JSON answer, which still goes on whole.
func (x *exchange) peekAnswer() []byte {
	if x.in.Method == http.MethodHead || x.answer.ContentLength > signLimit || !isJSON(x.answer.Header) {
		return nil
	}
	head, whole := x.readAhead()
	if !whole {
		return nil
	}
	return unpacked(head, x.answer.Header)
}

func (x *exchange) fault(err error) Fault {
	switch op, isOp := errors.AsType[*net.OpError](err); {
	case x.in.Context().Err() != nil, x.body.sourceError() != nil, errors.Is(err, errBodyGone):
		return OurFault
	case isOp && op.Op == "dial":
		return DialFault
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return SlowFault
	}
	return BrokenFault
}

// repeatable: RFC 9110 §9.2.2, and what APIs promise of a request with this header.
func (x *exchange) repeatable() bool {
	switch x.in.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
	default:
		if x.in.Header.Get("Idempotency-Key") == "" {
			return false
		}
	}
	return x.in.Header["Upgrade"] == nil && (x.body.empty() || x.body.whole())
}

// sleep waits, and reports whether nobody called it off.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
