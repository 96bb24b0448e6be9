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
	cut    bool // the answer broke off
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
	Err       error // what lies behind, if anything does; never shown to an agent
}

// finish tells the observers. It runs however the request ends, also when relay
// has to break off the connection.
func (g *Gateway) finish(x *exchange) {
	x.interim.end()
	x.handBack()
	if x.answer != nil {
		// Not before: over HTTP/2 closing waits for the upload's reader to end.
		x.answer.Body.Close()
	}
	if x.visit != nil {
		x.visit.Leave()
	}
	x.bounded.end()
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
// reading it after an early answer.
func (x *exchange) handBack() {
	if x.body.empty() {
		return
	}
	x.body.retire()
	if x.body.unread() {
		x.endUpload()
	}
	x.body.wait()
}

// lingerTime is how long an upload is read on after its answer: about a round trip
// around the planet.
const lingerTime = 300 * time.Millisecond

// endUpload ends an upload that was answered before its end, by a deadline, so that
// a client that sends slowly does not hold the handler. On HTTP/1 it first reads on
// a little: a connection that is closed over unread bytes is reset, and the reset
// can overtake the answer (RFC 9112 §9.6). The server does the same where it finds
// its own body in the request, but Caddy puts another one in.
func (x *exchange) endUpload() {
	rc := http.NewResponseController(x.w)
	if x.in.ProtoMajor != 1 || x.outcome.cut || x.in.Header["Expect"] != nil && x.body.untouched() {
		_ = rc.SetReadDeadline(time.Unix(1, 0))
		return
	}
	_ = rc.Flush()
	if rc.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		x.body.drain()
	}
}
