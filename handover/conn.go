// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection that may go to a newer server for as long as nothing was read
// from it. From then on it is a *net.TCPConn.
type Conn struct {
	*net.TCPConn
	of     *Listener
	taken  atomic.Bool // something was read: it stays
	plain  atomic.Bool // and all that is to come is in the socket
	active atomic.Bool // its first request was read
	served atomic.Bool // and the server is past the point where it would drop it
	ended  atomic.Bool // nothing more is read from it

	secured atomic.Pointer[tls.Conn] // what the server sees of it, if that is TLS

	mu      sync.Mutex
	head    []byte // what comes before that which is still in the socket
	reading bool
	leaving bool // once the Read that is under way has ended
	gone    bool // it is another server's, or closed
}

// Read reads, and says that the connection has ended where it went to a newer server.
func (c *Conn) Read(p []byte) (int, error) {
	c.notice()
	if c.ended.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	if c.plain.Load() {
		return c.TCPConn.Read(p)
	}
	return c.first(p)
}

func (c *Conn) first(p []byte) (int, error) {
	c.mu.Lock()
	if c.gone || c.leaving {
		c.mu.Unlock()
		return 0, io.EOF
	}
	if len(c.head) > 0 {
		defer c.mu.Unlock()
		n := copy(p, c.head)
		c.head = c.head[n:]
		c.taken.Store(c.taken.Load() || n > 0)
		c.plain.Store(len(c.head) == 0)
		return n, nil
	}
	c.reading = true
	c.mu.Unlock()
	n, err := c.TCPConn.Read(p)
	c.mu.Lock()
	c.reading = false
	if !c.leaving {
		defer c.mu.Unlock()
		if n > 0 {
			c.taken.Store(true)
			c.plain.Store(true)
		}
		return n, err
	}
	c.gone = true
	c.mu.Unlock()
	if n == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.TCPConn.Close()
		c.of.forget(c)
		return 0, err
	}
	go c.give(append([]byte(nil), p[:n]...)) // nobody may accept yet
	return 0, io.EOF
}

// leave gives the connection to the newest server, if nothing was read from it.
func (c *Conn) leave() {
	c.mu.Lock()
	if c.taken.Load() || c.gone || c.leaving {
		c.mu.Unlock()
		return
	}
	if c.reading {
		c.leaving = true
		_ = c.TCPConn.SetReadDeadline(time.Unix(1, 0)) // it ends now, with or without bytes
		c.mu.Unlock()
		return
	}
	c.gone = true
	head := c.head
	c.mu.Unlock()
	go c.give(head)
}

// end has the server close a connection whose TLS handshake is done and on which no
// request came: the client, told so with a close_notify, uses another one. The server
// would close it anyway, but after it has read the request (net/http's Shutdown). HTTP/2
// says with a GOAWAY which requests it has not looked at, and needs no such thing.
func (c *Conn) end() {
	over := c.secured.Load()
	if over == nil {
		return
	}
	state := over.ConnectionState() // it waits for a handshake that is under way
	c.mu.Lock()
	defer c.mu.Unlock()
	if state.HandshakeComplete && state.NegotiatedProtocol != "h2" && !c.active.Load() {
		// In this order: the server sets limits of its own between two Reads.
		c.ended.Store(true)
		_ = c.TCPConn.SetReadDeadline(time.Unix(1, 0))
	}
}

// begin notes that the first request was read. If it was ended in that very moment, it
// goes on after all: the rest of the request is on its way.
func (c *Conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active.Store(true)
	if c.ended.Swap(false) {
		_ = c.TCPConn.SetReadDeadline(time.Time{})
	}
}

func (c *Conn) give(head []byte) {
	c.of.forget(c)
	_ = c.TCPConn.SetDeadline(time.Time{})
	c.of.socket.give(accepted{conn: c.TCPConn, head: head})
}

// Write writes.
func (c *Conn) Write(p []byte) (int, error) {
	c.notice()
	if !c.ours() {
		return 0, net.ErrClosed
	}
	return c.TCPConn.Write(p)
}

// Close closes the connection, unless it went to a newer server.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.gone || c.leaving {
		c.mu.Unlock()
		return nil
	}
	c.gone = true
	c.mu.Unlock()
	c.of.forget(c)
	return c.TCPConn.Close()
}

// ours is false when the connection is another server's.
func (c *Conn) ours() bool {
	if c.taken.Load() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.gone && !c.leaving
}

// SetDeadline sets the limits of Read and Write.
func (c *Conn) SetDeadline(t time.Time) error { return c.limit(t, c.TCPConn.SetDeadline) }

// SetReadDeadline sets the limit of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.limit(t, c.TCPConn.SetReadDeadline) }

// SetWriteDeadline sets the limit of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.limit(t, c.TCPConn.SetWriteDeadline) }

// limit must not undo what ends the Read of a connection that leaves, nor reach one that
// is another server's.
func (c *Conn) limit(t time.Time, set func(time.Time) error) error {
	if c.taken.Load() {
		return set(t)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.leaving {
		return nil
	}
	return set(t)
}

// State is for http.Server's ConnState: it tells that a connection's first request was
// read. Right after that the server looks whether it is to shut down, and drops the
// request if so; that it did not is known from its next Read or Write.
func State(conn net.Conn, state http.ConnState) {
	over, secured := conn.(*tls.Conn)
	if secured {
		conn = over.NetConn()
	}
	c, ok := conn.(*Conn)
	switch {
	case !ok || c.active.Load():
	case state != http.StateNew:
		c.begin()
	case secured:
		c.secured.Store(over)
	}
}

func (c *Conn) notice() {
	if c.active.Load() && !c.served.Load() && !c.served.Swap(true) {
		c.of.forget(c)
	}
}
