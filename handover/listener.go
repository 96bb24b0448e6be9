// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"net"
	"sync"
)

// Listener is a server's share of a socket.
type Listener struct {
	socket   *socket
	closing  interface{ Close() error }
	alive    net.KeepAliveConfig
	incoming chan accepted
	done     chan struct{}
	once     sync.Once

	mu      sync.Mutex
	conns   map[*Conn]struct{} // those whose first request is not read
	settled chan struct{}      // where somebody waits: closed when none of them is being read
}

// Accept gives what came in while this server is the newest one, and else waits.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.incoming:
		if a.err != nil {
			return nil, a.err
		}
		// The socket's own settings are those of the first server.
		_ = a.conn.SetKeepAliveConfig(l.alive)
		c := &Conn{TCPConn: a.conn, of: l, head: a.head}
		l.mu.Lock()
		l.conns[c] = struct{}{}
		l.mu.Unlock()
		if newest, _ := l.socket.last(); newest != l {
			c.leave() // as those that were there when the newer one came
		}
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Addr is the address of the socket.
func (l *Listener) Addr() net.Addr { return l.socket.base.Addr() }

// Close lets go of the socket. What was not read from goes to the server that was there
// before, which is so where the start of a configuration has failed.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.socket.remove(l)
		close(l.done)
		if other, _ := l.socket.last(); other != nil {
			l.release()
		}
		_ = l.closing.Close() // its own socket is closed already
	})
	return nil
}

// release gives away the connections from which nothing was read.
func (l *Listener) release() {
	l.mu.Lock()
	all := make([]*Conn, 0, len(l.conns))
	for c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.leave()
	}
}

// settle waits until each connection from which a part of its first request was read
// has had all of it read. What has not at the end of ctx is ended.
func (l *Listener) settle(ctx context.Context) {
	l.mu.Lock()
	if l.settled == nil {
		l.settled = make(chan struct{})
	}
	settled := l.settled
	l.check()
	l.mu.Unlock()
	select {
	case <-settled:
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		for c := range l.conns {
			go c.end()
		}
	}
}

// forget takes off a connection whose first request was read, or that has ended.
func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.check()
}

func (l *Listener) check() {
	if l.settled == nil {
		return
	}
	for c := range l.conns {
		if c.taken.Load() {
			return
		}
	}
	close(l.settled)
	l.settled = nil
}
