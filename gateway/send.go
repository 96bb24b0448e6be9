// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/problem"
)

// send carries the request to the provider and, if it answers that the user's
// token is no good, once more with a renewed one.
func (g *Gateway) send(x *exchange) error {
	x.body.limit = x.toolkit.MaxReplay
	x.allowFullDuplex()
	answer, err := x.attempt()
	if err != nil {
		return x.upstreamProblem(err)
	}
	if answer.StatusCode != http.StatusUnauthorized || !x.toolkit.Auth.PerUser {
		x.answer = answer
		return nil
	}
	go discard(answer.Body) // ends with the request's context at the latest
	if err := g.renew(x); err != nil {
		return err
	}
	if x.answer, err = x.attempt(); err != nil {
		return x.upstreamProblem(err)
	}
	return nil
}

// renew replaces a token that the provider refused. Where the body cannot be sent
// again, the token is renewed all the same, and the next call works.
func (g *Gateway) renew(x *exchange) error {
	fresh, err := g.cfg.Credentials.Renew(x.in.Context(), x.toolkit, x.grant)
	if err != nil {
		if u, ok := errors.AsType[*connection.Unusable](err); ok && u.Reason == connection.ProviderRejected {
			g.cfg.Credentials.Rejected(x.in.Context(), x.grant, x.target.Path)
		}
		return g.unauthorized(x, err)
	}
	x.grant, x.renewed = fresh, true
	x.credential = credential.For(x.toolkit.Auth, fresh.AccessToken)
	return nil
}

// attempt sends the request as it stands now.
func (x *exchange) attempt() (*http.Response, error) {
	out, err := x.outgoing()
	if err != nil {
		return nil, err
	}
	return x.upstream.RoundTrip(out)
}

// outgoing builds the provider's request from scratch: what is not put in here
// does not go out. The agent's request is never written to, since logs may show it.
func (x *exchange) outgoing() (*http.Request, error) {
	in := x.in
	out := (&http.Request{
		Method: in.Method, URL: x.target, Host: x.target.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  credential.Clean(in.Header),
		Trailer: in.Trailer, // the same map: the server fills it in at the body's end
	}).WithContext(x.traced(in.Context()))
	for name, value := range x.toolkit.Headers {
		if out.Header[name] == nil {
			out.Header[name] = []string{value}
		}
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{"toolgate"} // GitHub refuses calls without one
	}
	x.credential.Apply(out)
	if x.body.empty() {
		return out, nil
	}
	body, ok := x.body.open()
	if !ok {
		return nil, errBodyGone
	}
	out.Body, out.ContentLength = body, x.body.length
	// For net/http's own second try, which it makes only where the first left
	// nothing on the wire or the server said that it did nothing.
	out.GetBody = func() (io.ReadCloser, error) {
		again, ok := x.body.open()
		if !ok {
			return nil, errBodyGone
		}
		return again, nil
	}
	return out, nil
}

var errBodyGone = errors.New("gateway: the body cannot be sent again")

// traced passes interim answers such as 103 Early Hints on to the agent. 100 is
// the server's own: it sends it when the body is first read, which happens when
// the provider asks for it.
func (x *exchange) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if code != http.StatusContinue && code != http.StatusSwitchingProtocols {
				x.interim.write(x.w, code, http.Header(header))
			}
			return nil
		},
	})
}

// allowFullDuplex lets an answer begin while the upload goes on. HTTP/1 servers
// otherwise read the whole body before they send a status; HTTP/2 needs nothing.
func (x *exchange) allowFullDuplex() {
	if x.in.ProtoMajor == 1 && !x.body.empty() {
		_ = http.NewResponseController(x.w).EnableFullDuplex() // not every writer can
	}
}

// upstreamProblem says in our words why there is no answer.
func (x *exchange) upstreamProblem(err error) error {
	if x.in.Context().Err() != nil {
		return errCallerGone
	}
	if source := x.body.sourceError(); source != nil {
		return uploadProblem(source)
	}
	if errors.Is(err, errBodyGone) {
		if !x.renewed {
			return problem.New(problem.UpstreamUnreachable, "upload", x.toolkit.Name+" broke off, and the upload was too large to be sent again.").Because(err)
		}
		p := problem.New(problem.TokenRenewed, "max_replay", x.toolkit.Name+" refused the old token, and the upload was too large to be sent again by the gateway. The token has been renewed: send the same request again.")
		p.RetryAfter = time.Second
		return p.Because(err)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return problem.New(problem.UpstreamTimeout, "timeout", x.toolkit.Name+" did not answer in time.").Because(err)
	}
	return problem.New(problem.UpstreamUnreachable, "connection", "The connection to "+x.toolkit.Name+" failed.").Because(err)
}

func uploadProblem(source error) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](source); ok {
		p := problem.New(problem.BadRequest, "max_size", "The body is larger than this site accepts.")
		p.Status = http.StatusRequestEntityTooLarge
		return p.Because(tooLarge)
	}
	return problem.New(problem.BadRequest, "upload", "The request's body broke off.").Because(source)
}

// errCallerGone: there is nobody left to answer.
var errCallerGone = errors.New("gateway: the caller hung up")

// discard reads a short rest so that the connection can be used again.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	body.Close()
}
