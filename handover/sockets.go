// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package handover keeps listening sockets over changes of configuration, so that a
// reload loses no connection.
//
// Caddy opens a socket for each configuration (SO_REUSEPORT), and the old one is closed
// while the new one is at work. Two things are lost then. Linux spreads what comes in
// over both sockets, and resets what waits in the queue of the one that is closed. And
// net/http's Server closes connections whose request it reads after Shutdown has begun.
// Clients make up for neither: on a connection that was never used before they take it
// for the server's refusal.
//
// Here a socket stays, and what it takes goes to the newest server. Connections from
// which the old server has not read go there as well. One whose TLS handshake is done has
// been read from; its keys, and what the handshake asked for (a client's certificate), are
// the old server's. Where it has sent no request by the end of settleLimit, an HTTP/1
// client of it is told that it ends, before a request is lost on it.
package handover

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// Sockets are the listening sockets of a process, by address. Its zero value is empty.
type Sockets struct {
	mu   sync.Mutex
	open map[string]*socket
}

// socket is one of the kernel's, and the servers that have asked for it, of which the
// last gets what comes in.
type socket struct {
	sockets *Sockets
	key     string
	base    *net.TCPListener

	mu      sync.Mutex
	servers []*Listener
	changed chan struct{} // closed when another one is the last
}

// Hold has what comes in go to the sockets that are there, and none to one that is about
// to be opened beside them, until Join has closed that one. Only Linux can; elsewhere a
// connection that comes within the fraction of a millisecond in between may be reset.
func (s *Sockets) Hold() { s.steer(true) }

// Release undoes Hold, where nothing was opened after all.
func (s *Sockets) Release() { s.steer(false) }

func (s *Sockets) steer(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.open {
		_ = steer(one.base, on) // a system that refuses goes without
	}
}

// Join gives a server its listener on the socket of own's address, and closes own.
//
// closing is closed along with the listener: that which tells Caddy that the server has
// let go of the address. Join returns when the servers before have taken in what they
// began to read, or after settleLimit.
func (s *Sockets) Join(own *net.TCPListener, closing interface{ Close() error }, alive net.KeepAliveConfig) (*Listener, error) {
	l := &Listener{closing: closing, alive: alive, incoming: make(chan accepted), done: make(chan struct{}), conns: map[*Conn]struct{}{}}
	before, err := s.put(own, l)
	if err != nil {
		return nil, err
	}
	for _, old := range before {
		old.release()
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleLimit)
	defer cancel()
	for _, old := range before {
		old.settle(ctx)
	}
	return l, nil
}

// settleLimit is how long a reload waits for requests of which a part was read. Whoever
// sends slower than that may have to send again.
const settleLimit = 500 * time.Millisecond

// put makes l the server that gets what comes to own's address, and gives those before it.
func (s *Sockets) put(own *net.TCPListener, l *Listener) (before []*Listener, err error) {
	key, err := keyOf(own)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	there := s.open[key]
	if there == nil {
		if there, err = s.add(key, own); err != nil {
			return nil, err
		}
	}
	l.socket = there
	came := drain(own)
	_ = steer(there.base, false)
	before = there.put(l)
	for _, conn := range came {
		go there.give(accepted{conn: conn}) // nobody may accept yet
	}
	return before, nil
}

// add makes the socket that stays.
func (s *Sockets) add(key string, own *net.TCPListener) (*socket, error) {
	base, err := staying(own)
	if err != nil {
		return nil, err
	}
	one := &socket{sockets: s, key: key, base: base, changed: make(chan struct{})}
	if s.open == nil {
		s.open = map[string]*socket{}
	}
	s.open[key] = one
	return one, nil
}

// copied is own's socket, which stays open when own is closed.
func copied(own *net.TCPListener) (*net.TCPListener, error) {
	file, err := own.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	base, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return base.(*net.TCPListener), nil
}

// drain closes a listener, and gives what had come to it.
func drain(own *net.TCPListener) []*net.TCPConn {
	defer own.Close()
	var came []*net.TCPConn
	for {
		// A limit that has passed already would have Accept not look at all.
		_ = own.SetDeadline(time.Now().Add(time.Millisecond))
		conn, err := own.AcceptTCP()
		if err != nil {
			return came
		}
		came = append(came, conn)
	}
}

// put makes l the server that gets what comes in, and gives those before it.
func (s *socket) put(l *Listener) []*Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := slices.Clone(s.servers)
	s.servers = append(s.servers, l)
	s.news()
	if len(before) == 0 {
		go s.pump()
	}
	return before
}

// remove takes a server off; after the last one the socket is closed.
func (s *socket) remove(l *Listener) {
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = slices.DeleteFunc(s.servers, func(one *Listener) bool { return one == l })
	s.news()
	if len(s.servers) == 0 {
		delete(s.sockets.open, s.key)
		s.base.Close()
	}
}

func (s *socket) news() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// last is the server that gets what comes in, if there is any, until changed is closed.
func (s *socket) last() (l *Listener, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.servers) > 0 {
		l = s.servers[len(s.servers)-1]
	}
	return l, s.changed
}

// accepted is what a server's Accept returns.
type accepted struct {
	conn *net.TCPConn
	head []byte // read from conn by a server that did not look at it
	err  error
}

// pump takes what comes in until the socket is closed. It takes no more than somebody
// wants: the rest waits in the kernel's queue, as it always does.
func (s *socket) pump() {
	for {
		conn, err := s.base.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.give(accepted{conn: conn, err: err})
	}
}

// give waits until a server takes it.
func (s *socket) give(a accepted) {
	for {
		l, changed := s.last()
		if l == nil {
			if a.conn != nil {
				a.conn.Close()
			}
			return
		}
		select {
		case l.incoming <- a:
			return
		case <-changed:
		}
	}
}
