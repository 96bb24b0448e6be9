// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// Apart makes calls over the connections of [Keep], each with nothing left of another.
func Apart(tr *http.Transport) *Calls {
	return &Calls{lanes{shared: tr, http1: map[string]bool{}, owners: map[string]*list.Element{}}}
}

// Calls is an http.RoundTripper.
type Calls struct{ lanes lanes }

// CloseIdleConnections closes them, whoever's they are.
func (a *Calls) CloseIdleConnections() { a.lanes.closeIdle() }

// maxDials is how many new connections one call may ask for. A provider that says GOAWAY
// first on each would have net/http dial for as long as the call may take.
const maxDials = 6

var (
	errDials = errors.New("the provider takes no call on any connection")
	errEnded = errors.New("the connection is not for this call")
)

// call is one try.
type call struct {
	ctx    context.Context
	giveUp context.CancelCauseFunc
	asked  *int                 // connections, without those that were used before; over all tries
	kept   atomic.Pointer[kept] // that it got latest
	ended  atomic.Bool          // that connection took nothing of the call
}

// RoundTrip implements http.RoundTripper. A connection that the call before has ended
// took nothing of this one, so it is made again, whatever its method. net/http does the
// same where it was the provider that ended it.
func (a *Calls) RoundTrip(r *http.Request) (*http.Response, error) {
	hush()
	ctx, giveUp := context.WithCancelCause(r.Context()) // which ends it
	asked := 0
	for {
		c := &call{ctx: ctx, giveUp: giveUp, asked: &asked}
		answer, err := a.lanes.way(ownerOf(ctx), r.URL.Host).RoundTrip(c.of(r))
		if k := c.kept.Load(); err == nil && r.Header["Upgrade"] == nil { // which is not possible over HTTP/2
			a.lanes.spoke(r.URL.Host, k != nil && !k.overHTTP2())
		}
		switch {
		case err == nil:
			return answer, nil
		case context.Cause(ctx) == errDials:
			return nil, errDials
		case !c.ended.Load() || ctx.Err() != nil:
			return nil, err
		}
		again, ok := rewound(r)
		if !ok {
			return nil, err
		}
		r = again
	}
}

// of is r as this try's.
func (c *call) of(r *http.Request) *http.Request {
	out := r.WithContext(httptrace.WithClientTrace(c.ctx, &httptrace.ClientTrace{
		GetConn: c.asks, GotConn: c.got, PutIdleConn: c.gave,
	}))
	if r.Body == nil || r.Body == http.NoBody {
		return out
	}
	out.Body = guarded{r.Body, c}
	if r.GetBody != nil {
		out.GetBody = func() (io.ReadCloser, error) {
			body, err := r.GetBody()
			return guarded{body, c}, err
		}
	}
	return out
}

func (c *call) asks(string) {
	if *c.asked++; *c.asked > maxDials {
		c.giveUp(errDials)
	}
}

func (c *call) got(info httptrace.GotConnInfo) {
	k := keptBelow(info.Conn)
	c.kept.Store(k)
	switch {
	case k == nil:
		c.ended.Store(false)
	case info.Reused:
		*c.asked-- // there are only so many
		c.ended.Store(!k.take(c))
	default:
		k.own(c)
		c.ended.Store(false)
	}
}

func (c *call) gave(err error) {
	if k := c.kept.Load(); err == nil && k != nil {
		k.release(c)
	}
}

// guarded is a body of which nothing is read for a connection that has ended: what is
// read is lost to the next try where it cannot be had again.
type guarded struct {
	io.ReadCloser
	c *call
}

// Read implements io.Reader.
func (g guarded) Read(p []byte) (int, error) {
	if g.c.ended.Load() {
		return 0, errEnded
	}
	return g.ReadCloser.Read(p)
}

// rewound is r with its body from the start.
func rewound(r *http.Request) (again *http.Request, ok bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, false
	}
	again = new(http.Request)
	*again = *r
	again.Body = body
	return again, true
}

// keptBelow finds the connection below TLS; nil where it carries HTTP/2, which says of
// each byte whose it is.
func keptBelow(c net.Conn) *kept {
	for {
		switch at := c.(type) {
		case *kept:
			return at
		case *tls.Conn:
			if at.ConnectionState().NegotiatedProtocol == "h2" {
				return nil
			}
			c = at.NetConn()
		default:
			return nil
		}
	}
}
