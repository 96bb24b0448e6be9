// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/toolgate/toolgate/problem"
)

// This file holds calls to the toolkit's times and sizes.

// bound is a call's time, from when it is let in to the end of its answer.
type bound struct {
	ctx  context.Context
	stop context.CancelFunc // nil where nothing has to be stopped
}

func (b bound) end() {
	if b.stop != nil {
		b.stop()
	}
}

// boundTime begins the call's time. An upgraded connection has none: nobody knows how
// long people talk.
func (x *exchange) boundTime() {
	t := x.toolkit.Times
	x.bounded.ctx = x.in.Context()
	switch {
	case x.in.Header["Upgrade"] != nil && x.body.empty():
	case t.Total > 0:
		x.bounded.ctx, x.bounded.stop = context.WithTimeout(x.bounded.ctx, t.Total)
	case t.Idle > 0:
		x.bounded.ctx, x.bounded.stop = context.WithCancel(x.bounded.ctx)
	}
}

// boundUpload refuses an upload that is too large, or cuts one off whose length is not
// said.
func (x *exchange) boundUpload() error {
	limit := x.toolkit.Sizes.Request
	if limit <= 0 || x.body.empty() {
		return nil
	}
	if x.body.length > limit {
		return uploadProblem(&http.MaxBytesError{Limit: limit})
	}
	if x.body.length < 0 {
		x.body.source = &cappedReader{x.body.source, limit, &http.MaxBytesError{Limit: limit}}
	}
	return nil
}

// boundAnswer does the same with the answer, and ends one that goes silent.
func (x *exchange) boundAnswer() error {
	if x.answer.StatusCode == http.StatusSwitchingProtocols || x.in.Method == http.MethodHead {
		return nil
	}
	if limit := x.toolkit.Sizes.Response; limit > 0 {
		if x.answer.ContentLength > limit {
			x.dropAnswer()
			return problem.New(problem.ResponseTooLarge, "max_response", x.toolkit.Name+"'s answer is larger than the "+strconv.FormatInt(limit, 10)+" bytes that the operator allows. Ask for less of it.")
		}
		if x.answer.ContentLength < 0 {
			x.answer.Body = &ahead{&cappedReader{x.answer.Body, limit, errAnswerTooLarge}, x.answer.Body}
		}
	}
	if idle := x.toolkit.Times.Idle; idle > 0 && x.bounded.stop != nil {
		x.answer.Body = newIdleBody(x.answer.Body, idle, x.bounded.stop)
	}
	return nil
}

var errAnswerTooLarge = errors.New("gateway: the answer is larger than max_response")

// cappedReader fails as soon as there is more than a limit. What is within it has been
// given by then: nobody knows before.
type cappedReader struct {
	io.Reader
	left   int64
	beyond error
}

func (r *cappedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > r.left+1 {
		p = p[:r.left+1]
	}
	n, err := r.Reader.Read(p)
	if int64(n) > r.left {
		n, err = int(r.left), r.beyond
	}
	r.left -= int64(n)
	return n, err
}

// idleBody calls the request off where nothing comes for too long. The time in which
// the agent takes what came does not count.
type idleBody struct {
	io.ReadCloser
	timer  *time.Timer
	idle   time.Duration
	silent atomic.Bool
}

func newIdleBody(body io.ReadCloser, idle time.Duration, callOff func()) *idleBody {
	b := &idleBody{ReadCloser: body, idle: idle}
	b.timer = time.AfterFunc(idle, func() {
		b.silent.Store(true)
		callOff()
	})
	b.timer.Stop() // until somebody reads
	return b
}

var errSilent = errors.New("gateway: nothing more of the answer came within idle_timeout")

// Read implements io.Reader.
func (b *idleBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	defer b.timer.Stop()
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.silent.Load() {
		err = errSilent
	}
	return n, err
}

// Close implements io.Closer.
func (b *idleBody) Close() error {
	b.timer.Stop()
	return b.ReadCloser.Close()
}
