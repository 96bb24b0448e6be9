// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"time"

	"github.com/toolgate/toolgate/problem"
)

const auditRetry = 5 * time.Second

// refuse answers the agent with what went wrong.
func (g *Gateway) refuse(x *exchange, err error) {
	x.interim.end()
	if gone := x.in.Context().Err() != nil; errors.Is(err, errCallerGone) || gone && !errors.Is(err, errUploadStalled) {
		x.outcome.err, x.outcome.status = errCallerGone, statusCallerGone
		// Should somebody be there after all, silence would be a 200.
		x.closeIfUnread()
		x.w.WriteHeader(statusCallerGone)
		return
	}
	p := problem.Of(err)
	p.Step = x.step
	x.outcome.code, x.outcome.rule, x.outcome.status = p.Code, p.Rule, p.HTTPStatus()
	x.outcome.err = errors.Unwrap(p) // not p, whose text may hold the connect link
	x.settleUpload()
	x.closeIfUnread()
	p.Write(x.w, x.in.Header.Get("Accept"), x.id)
}

// statusCallerGone is nginx's; it is for logs.
const statusCallerGone = 499

const (
	settleBytes = 64 << 10
	settleTime  = 5 * time.Millisecond
)

// settleUpload deals with an upload that nobody will read. A small one that is
// here already is read, so that the connection can be used again; any other ends
// the connection, and full duplex keeps net/http from reading it all before it
// sends our answer. A client that waits for 100 Continue is not asked for its body.
//
// The wait is not a deadline of the connection's: a body that has met one gives
// nothing any more, and endUpload could not read on.
func (x *exchange) settleUpload() {
	if x.in.ProtoMajor != 1 || !x.body.unread() {
		return
	}
	x.allowFullDuplex()
	if x.in.Header["Expect"] == nil && x.in.ContentLength <= settleBytes {
		x.body.retire()
		settled := make(chan struct{})
		go func() { x.body.drain(); close(settled) }() // handBack waits for it
		select {
		case <-settled:
		case <-time.After(settleTime):
		}
	}
}
