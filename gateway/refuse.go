// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/toolgate/toolgate/problem"
)

const auditRetry = 5 * time.Second

// refuse answers the agent with what went wrong.
func (g *Gateway) refuse(x *exchange, err error) {
	x.interim.end()
	x.outcome.err = err
	if errors.Is(err, errCallerGone) || x.in.Context().Err() != nil {
		x.outcome.err, x.outcome.status = errCallerGone, statusCallerGone
		return
	}
	p := problem.Of(err)
	p.Step = x.step
	x.outcome.code, x.outcome.rule, x.outcome.status = p.Code, p.Rule, p.HTTPStatus()
	x.settleUpload()
	p.Write(x.w, x.in.Header.Get("Accept"), x.id)
}

// statusCallerGone is for logs: nobody sees it.
const statusCallerGone = 499

const (
	settleBytes = 64 << 10
	settleTime  = 5 * time.Millisecond
)

// settleUpload deals with an upload that nobody will read. A small one that is
// here already is read, so that the connection can be used again; any other ends
// the connection, and full duplex keeps net/http from reading it all before it
// sends our answer. A client that waits for 100 Continue is not asked for its body.
func (x *exchange) settleUpload() {
	if x.in.ProtoMajor != 1 || !x.body.unread() {
		return
	}
	x.allowFullDuplex()
	if x.in.Header.Get("Expect") == "" && x.in.ContentLength <= settleBytes {
		if rest, ok := x.body.open(); ok {
			rc := http.NewResponseController(x.w)
			if rc.SetReadDeadline(time.Now().Add(settleTime)) == nil {
				_, _ = io.CopyN(io.Discard, rest, settleBytes)
				_ = rc.SetReadDeadline(time.Time{})
			}
		}
	}
	x.closeIfUnread()
}
