// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/toolgate/toolgate/problem"
)

// upstreamProblem says in our words why there is no answer.
func (x *exchange) upstreamProblem(err error) error {
	if x.uploadStalled() {
		p := problem.New(problem.BadRequest, "upload_timeout", "The request's body stalled for longer than this site waits.")
		p.Status = http.StatusRequestTimeout
		return p.Because(errUploadStalled)
	}
	if x.in.Context().Err() != nil {
		return errCallerGone
	}
	if source := x.body.sourceError(); source != nil {
		return uploadProblem(source)
	}
	if errors.Is(err, errBodyGone) {
		return x.bodyGone()
	}
	cause := x.hushed(err)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return problem.New(problem.UpstreamTimeout, "timeout", x.toolkit.Name+" did not answer in time.").Because(cause)
	}
	p := problem.New(problem.UpstreamUnreachable, "connection", "The connection to "+x.toolkit.Name+" failed.").Because(cause)
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		p.RetryAfter = dialRetry // nothing was sent, so any method may be tried again
	}
	return p
}

// uploadStalled reports whether the server has given up an upload that did not get
// on. On HTTP/1 it then ends the request's context as if the agent were gone, and does
// so a moment before the read has failed.
func (x *exchange) uploadStalled() bool {
	if x.in.ProtoMajor == 1 && x.in.Context().Err() != nil && x.body.unread() {
		x.body.retire()
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0)) // should it be another read
		x.body.wait()
	}
	return errors.Is(x.body.sourceError(), os.ErrDeadlineExceeded)
}

// errUploadStalled: the agent is there, and sends nothing.
var errUploadStalled = errors.New("gateway: the upload stalled")

const dialRetry = 2 * time.Second

// bodyGone is for an upload that would have to be sent again and cannot be.
func (x *exchange) bodyGone() error {
	if !x.renewed {
		return problem.New(problem.UpstreamUnreachable, "upload", x.toolkit.Name+" broke off, and the upload was too large to be sent again.").Because(errBodyGone)
	}
	p := problem.New(problem.TokenRenewed, "max_replay", x.toolkit.Name+" refused the old token, and the upload was too large to be sent again by the gateway. The token has been renewed: send the same request again.")
	p.RetryAfter = time.Second
	return p.Because(errBodyGone)
}

func uploadProblem(source error) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](source); ok {
		p := problem.New(problem.BadRequest, "max_size", "The body is larger than this site accepts.")
		p.Status = http.StatusRequestEntityTooLarge
		return p.Because(tooLarge)
	}
	return problem.New(problem.BadRequest, "upload", "The request's body broke off.").Because(source)
}

// hushed takes the credential out of an error for the operator's log: a *url.Error
// quotes the address with its query, and net/http quotes what is not HTTP, which
// may be an echo. The error then loses its chain, since the text is in there too.
func (x *exchange) hushed(err error) error {
	text := err.Error()
	if x.download != nil && quotes(text, x.download) {
		return errSigned
	}
	clean := text
	for _, secret := range x.secrets {
		if secret != "" {
			clean = strings.ReplaceAll(clean, secret, "[secret]")
		}
	}
	if clean == text {
		return err
	}
	return errors.New(clean)
}

// errSigned stands for an error that quotes a signed address.
var errSigned = errors.New("gateway: the download failed; the reason quotes its address")

// errCallerGone: there is nobody left to answer.
var errCallerGone = errors.New("gateway: the caller hung up")
