// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
)

// outcome is how an exchange ended.
type outcome struct {
	status int
	code   problem.Code // "" where the provider's answer was relayed
	rule   string
	bytes  int64
	err    error
}

// Event is one request in its essentials, for logs and metrics. It has no header,
// no query and no body, so it cannot hold a secret.
type Event struct {
	RequestID string
	Caller    caller.Caller
	Toolkit   string // "" where none was found
	Method    string
	Status    int          // that the agent got; 499 where it hung up
	Code      problem.Code // of a refusal
	Step      string       // where the way ended
	Rule      string
	Renewed   bool // a 401 was mended on the way
	Bytes     int64
	Took      time.Duration
	Err       error // for the operator; never shown to an agent
}

// finish tells the observers. It runs however the request ends, also when relay
// has to break off the connection.
func (g *Gateway) finish(x *exchange) {
	x.interim.end()
	x.handBack()
	if g.cfg.Observe == nil {
		return
	}
	e := Event{
		RequestID: x.id, Caller: x.caller, Method: x.in.Method, Step: x.step,
		Status: x.outcome.status, Code: x.outcome.code, Rule: x.outcome.rule, Renewed: x.renewed,
		Bytes: x.outcome.bytes, Took: g.cfg.Now().Sub(x.start), Err: x.outcome.err,
	}
	if x.toolkit != nil {
		e.Toolkit = x.toolkit.ID
	}
	g.cfg.Observe(e)
}

// handBack gives the request's body back to the server. The transport may still be
// reading it after an early answer; a deadline in the past ends that read, so that
// a client that sends slowly does not hold the handler.
func (x *exchange) handBack() {
	if x.body.empty() || !x.body.unread() {
		return
	}
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0))
	x.body.retire()
}
