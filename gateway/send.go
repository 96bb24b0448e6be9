// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/egress"
	"github.com/toolgate/toolgate/toolkit"
)

// send carries the request to the provider and, if it answers that the user's
// token is no good, once more with a renewed one.
func (g *Gateway) send(x *exchange) error {
	x.body.limit = cmp.Or(x.toolkit.MaxReplay, toolkit.DefaultMaxReplay)
	x.allowFullDuplex()
	answer, err := x.try()
	if err != nil {
		return x.upstreamProblem(err)
	}
	x.answer = answer
	if x.turnedDown = x.refused(); !x.turnedDown || !x.toolkit.Auth.PerUser {
		return nil
	}
	x.dropAnswer()
	if err := g.renew(x); err != nil {
		return err
	}
	if x.answer, err = x.try(); err != nil {
		return x.upstreamProblem(err)
	}
	x.turnedDown = x.refused()
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
	// Where somebody else renewed it, it may be another grant altogether.
	before := *x.target
	if err := g.use(x, fresh); err != nil {
		return g.unauthorized(x, err)
	}
	x.renewed = true
	if before != *x.target {
		return g.record(x) // the account has moved: another address is not on paper yet
	}
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
		Method: in.Method, URL: x.target, Host: hostHeader(x.target),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: credential.Clean(in.Header),
	}).WithContext(x.traced(x.ctx()))
	x.agent.withhold(out.Header)
	if query := x.agent.withheldFrom(x.target.RawQuery); query != x.target.RawQuery {
		u := *x.target
		u.RawQuery, out.URL = query, &u
	}
	for name, value := range x.toolkit.Headers {
		if out.Header[name] == nil {
			out.Header[name] = []string{value}
		}
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header["User-Agent"] = []string{"toolgate"} // GitHub refuses calls without one
	}
	x.readable(out.Header)
	x.credential.Apply(out)
	if x.body.empty() {
		return out, nil
	}
	// Only a request without a body may change the protocol: the connection
	// would be handed over while its body is still being read.
	delete(out.Header, "Connection")
	delete(out.Header, "Upgrade")
	return out, x.attach(out)
}

// ctx is for calls to the provider. Where the credential is a user's, so is the HTTP/1
// connection: an answer that was split in two would otherwise reach another user. The
// operator's key is everybody's, and so are its connections.
func (x *exchange) ctx() context.Context {
	if !x.toolkit.Auth.PerUser {
		return x.bounded.ctx
	}
	owner := x.caller.Tenant + "\x00" + x.caller.User
	if account := x.grant.Key.Account; account != "" {
		owner += "\x00" + account
	}
	return egress.For(x.bounded.ctx, owner)
}

// hostHeader leaves out a default port: some providers, and every signature, take
// "host:443" for another host.
func hostHeader(u *url.URL) string {
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Host
}

// attach puts the body and its trailer on.
func (x *exchange) attach(out *http.Request) error {
	if len(x.trailer) > 0 {
		out.Trailer = make(http.Header, len(x.trailer))
		for _, name := range x.trailer {
			// A server that merges it into the header would have two, and might
			// take the agent's for the credential.
			if out.Header[name] == nil {
				out.Trailer[name] = nil
			}
		}
	}
	body, ok := x.body.open(out.Trailer)
	if !ok {
		return errBodyGone
	}
	out.Body, out.ContentLength = body, x.body.length
	// For net/http's own second try, which it makes only where the first left
	// nothing on the wire or the server said that it did nothing.
	out.GetBody = func() (io.ReadCloser, error) {
		again, ok := x.body.open(out.Trailer)
		if !ok {
			return nil, errBodyGone
		}
		return again, nil
	}
	return nil
}

var errBodyGone = errors.New("gateway: the body cannot be sent again")

// traced passes interim answers such as 103 Early Hints on to the agent.
//
// HTTP/1.0 knows no interim answers. Where the agent waits for 100, the server may
// be writing that on another goroutine in the same moment, and takes no lock.
func (x *exchange) traced(ctx context.Context) context.Context {
	if !x.in.ProtoAtLeast(1, 1) || x.in.Header["Expect"] != nil {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			return x.interim.write(x, code, http.Header(header))
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

// dropAnswer lets go of an answer that nobody will see. A short rest is read, so
// that the connection can be used again, but nobody waits for it: it ends with the
// request's context at the latest.
func (x *exchange) dropAnswer() {
	body := x.answer.Body
	x.answer = nil
	go func() {
		_, _ = io.CopyN(io.Discard, body, 64<<10)
		body.Close()
	}()
}
