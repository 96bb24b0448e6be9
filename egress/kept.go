// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"context"
	"errors"
	"net"
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
//
// A provider may also send the second half of a split answer a moment later, when the
// next call has been written. Nothing tells that from an answer. So a connection has an
// owner (see [For]), and carries no call of anybody else's: who splits answers hits only
// themselves.
type kept struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond
	reading bool // somebody waits for bytes
	closed  bool
	taken   bool // by a call of which nothing has been written
	idle    bool // no call has it any more
	holder  *call
	owner   string
	begun   bool // something has been written
	h2      bool // without TLS: HTTP/2 says of each byte whose it is
}

type ownerKey struct{}

// For makes the calls under ctx those of owner, on whose HTTP/1 connections nobody else's
// calls go. Calls without an owner are one owner's.
func For(ctx context.Context, owner string) context.Context {
	return context.WithValue(ctx, ownerKey{}, owner)
}

func ownerOf(ctx context.Context) string {
	owner, _ := ctx.Value(ownerKey{}).(string)
	return owner
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
	unasked := (k.taken || k.idle) && n > 0
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
	if !k.begun {
		k.begun, k.h2 = true, bytes.HasPrefix(p, []byte("PRI * HTTP/2.0\r\n"))
	}
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
// the connection, or if it is another owner's, and then ends too.
func (k *kept) take(c *call) (ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	first := k.holder == nil
	k.holder, k.idle = c, false
	if k.h2 {
		return true
	}
	if first {
		k.owner = ownerOf(c.ctx)
	}
	if !k.reading && !k.closed {
		defer context.AfterFunc(c.ctx, func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.changed.Broadcast()
		})()
	}
	for !k.reading && !k.closed && c.ctx.Err() == nil {
		k.changed.Wait()
	}
	if k.owner != ownerOf(c.ctx) {
		// Not before: what net/http has read already would be taken for the answer.
		k.closed = true
		k.Conn.Close()
	}
	k.taken = true
	return !k.closed
}

func (k *kept) overHTTP2() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.h2
}

// own makes a new connection its first call's.
func (k *kept) own(c *call) {
	k.mu.Lock()
	k.holder, k.owner = c, ownerOf(c.ctx)
	k.mu.Unlock()
}

// release notes that the answer is over, unless another call has the connection already.
// What comes now is nobody's, and net/http would print it.
func (k *kept) release(c *call) {
	k.mu.Lock()
	k.idle = k.holder == c
	k.mu.Unlock()
}
