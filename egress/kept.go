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
// What the provider sends behind an answer's end, because it miscounts or because a
// user made it split an answer in two, must not become the next call's answer.
//
// net/http closes an idle connection on which something comes. But it offers the
// connection to the next call before it looks at what it has already, and under load
// that call takes the rest for its own answer. So the call waits until somebody
// waits for bytes again, which means that none are left, and as long as nothing of it
// has been written, whatever comes ends the connection. The call then goes out on
// another one.
type kept struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond
	reading bool // somebody waits for bytes
	closed  bool
	taken   bool // by a call of which nothing has been written
}

// Keep wraps dial, so that a connection over which HTTP/1 is spoken carries nothing
// from one call into the next. The calls have to be made with [Apart].
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

// take waits until nothing is left of the call before.
func (k *kept) take(ctx context.Context) {
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
}

// Apart makes r wait for a connection on which nothing is left of another call.
func Apart(r *http.Request) *http.Request {
	ctx := r.Context()
	return r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if k := keptBelow(info.Conn); k != nil && info.Reused {
				k.take(ctx)
			}
		},
	}))
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
