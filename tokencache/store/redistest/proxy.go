// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a wire to a server that a test can cut, slow down and lose answers on.
type Proxy struct {
	Addr   string
	target string

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool
	delay time.Duration
	lose  []byte
	lost  int
	deaf  []byte
}

// NewProxy makes a wire to target.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		l.Close()
		p.Cut()
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	return p
}

// Cut ends all connections and takes no new ones until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	p.dropLocked()
}

// Drop ends all connections; new ones are taken.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked()
}

func (p *Proxy) dropLocked() {
	for conn := range p.conns {
		conn.Close()
	}
	clear(p.conns)
}

// Mend undoes everything.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.delay, p.lose, p.deaf = false, 0, nil, nil
}

// Slow holds every answer back for so long.
func (p *Proxy) Slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// LoseAnswers cuts a connection after it has carried a request with this word, and
// the server its answer: n times.
func (p *Proxy) LoseAnswers(word string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose, p.lost = []byte(word), n
}

// Refuse cuts a connection instead of carrying a request with this word.
func (p *Proxy) Refuse(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = []byte(word)
	p.dropLocked()
}

func (p *Proxy) serve(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	if p.down {
		p.mu.Unlock()
		return
	}
	p.conns[conn] = true
	p.mu.Unlock()
	var swallow sync.Mutex // held once answers on this connection are to be lost
	lost := false
	go func() {
		defer conn.Close()
		p.pass(server, conn, func(request []byte) bool {
			if p.refuses(request) {
				return false
			}
			if p.loses(request) {
				swallow.Lock()
				lost = true
				swallow.Unlock()
			}
			return true
		})
	}()
	p.pass(conn, server, func([]byte) bool {
		time.Sleep(p.slowness())
		swallow.Lock()
		defer swallow.Unlock()
		return !lost // the server has answered, so the command was done
	})
}

// pass carries what comes from one end to the other for as long as it may.
func (p *Proxy) pass(to io.Writer, from io.Reader, may func([]byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !may(buffer[:n]) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) loses(request []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost == 0 || len(p.lose) == 0 || !bytes.Contains(bytes.ToLower(request), p.lose) {
		return false
	}
	p.lost--
	return true
}

func (p *Proxy) refuses(request []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.deaf) > 0 && bytes.Contains(bytes.ToLower(request), p.deaf)
}

func (p *Proxy) slowness() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}
