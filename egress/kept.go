// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// kept is a connection to a provider that is used again, by another user's call too.
// net/http gives it to the next call while the one before may not be quite over, and
// then two things go wrong that are not rare under load:
//
// What the provider sends behind an answer's end, because it miscounts or because a
// user made it split an answer in two, becomes the next call's answer: net/http closes
// an idle connection on which something comes, but only looks for that afterwards.
//
// And where an answer has no body, its call has not even been told. If the next one's
// upload breaks off now, the first loses its answer with the connection; if the
// first one's agent hangs up now, the next fails with "context canceled".
//
// So the call waits until somebody waits for bytes again: then none are left, and the
// call before has its answer. As long as nothing of it has been written, whatever comes
// ends the connection, and the call goes out on another one.
type kept struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond
	reading bool // somebody waits for bytes
	closed  bool
	taken   bool // by a call of which nothing has been written
}

// Keep wraps dial, so that a connection over which HTTP/1 is spoken carries nothing
// from one call into the next. The calls have to be made through [Apart].
func Keep(dial Dial) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return newKept(conn), nil
	}
}

func newKept(c net.Conn) *kept {
	k := &kept{Conn: c}
	k.changed.L = &k.mu
	return k
}

var errUnasked = errors.New("the provider sent something that it was not asked for")

// Read implements net.Conn.
func (k *kept) Read(p []byte) (int, error) {
	k.mu.Lock()
	k.reading = true
	k.changed.Broadcast()
	k.mu.Unlock()
	n, err := k.Conn.Read(p)
	k.mu.Lock()
	k.reading = false
	unasked := k.taken && n > 0
	k.mu.Unlock()
	if unasked {
		k.Close()
		return 0, errUnasked
	}
	return n, err
}

// Write implements net.Conn.
func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	k.taken = false
	k.mu.Unlock()
	return k.Conn.Write(p)
}

// Close implements net.Conn.
func (k *kept) Close() error {
	k.mu.Lock()
	k.closed = true
	k.changed.Broadcast()
	k.mu.Unlock()
	return k.Conn.Close()
}

// CloseWrite is for tunnels.
func (k *kept) CloseWrite() error {
	if half, ok := k.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// take waits until nothing is left of the call before. It is not ok if that one ended
// the connection.
func (k *kept) take(ctx context.Context) (ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.reading && !k.closed {
		defer context.AfterFunc(ctx, func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.changed.Broadcast()
		})()
	}
	for !k.reading && !k.closed && ctx.Err() == nil {
		k.changed.Wait()
	}
	k.taken = true
	return !k.closed
}

// Apart makes calls over the connections of [Keep], each with nothing left of another.
func Apart(next http.RoundTripper) http.RoundTripper { return apart{next} }

type apart struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper. A connection that the call before has ended
// took nothing of this one, so it is made again, whatever its method. net/http does the
// same where it was the provider that ended it.
func (a apart) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	for {
		ended := false // the connection of the latest try
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			k := keptBelow(info.Conn)
			ended = k != nil && info.Reused && !k.take(ctx)
		}}
		answer, err := a.next.RoundTrip(r.WithContext(httptrace.WithClientTrace(ctx, trace)))
		if err == nil || !ended || ctx.Err() != nil {
			return answer, err
		}
		again, ok := rewound(r)
		if !ok {
			return nil, err
		}
		r = again
	}
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
