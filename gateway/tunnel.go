// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/problem"
)

// tunnel joins an agent's and a provider's connection after an upgrade, such as to
// a WebSocket.
func (g *Gateway) tunnel(x *exchange) {
	upstream, ok := x.answer.Body.(io.ReadWriteCloser)
	if !ok || !sameUpgrade(x.in.Header, x.answer.Header) {
		x.answer.Body.Close()
		g.refuse(x, problem.New(problem.UpstreamUnreachable, "upgrade", x.toolkit.Name+" changed to another protocol than was asked for."))
		return
	}
	defer upstream.Close()
	agent, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		g.refuse(x, problem.New(problem.BadRequest, "upgrade", "An upgrade is possible over HTTP/1.1 only.").Because(err))
		return
	}
	defer agent.Close()
	forget, ok := g.tunnels.add(x.grant.Key, func() { agent.Close(); upstream.Close() })
	if !ok {
		return
	}
	defer forget()
	x.outcome.status = http.StatusSwitchingProtocols
	if err := x.writeSwitch(buffered); err != nil {
		x.outcome.err = errCallerGone
		return
	}
	x.outcome.bytes = join(agent, buffered, upstream)
}

func sameUpgrade(asked, given http.Header) bool {
	want, got := credential.UpgradeType(asked), credential.UpgradeType(given)
	return want != "" && strings.EqualFold(want, got)
}

// writeSwitch writes the 101 by hand: the connection is ours now.
func (x *exchange) writeSwitch(out interface {
	io.Writer
	Flush() error
}) error {
	h := x.w.Header()
	for name, values := range x.answer.Header {
		if !droppedHeaders[name] && (name == "Upgrade" || name == "Connection" || !credential.HopByHop(name)) {
			h[name] = masked(values, x.credential.Secrets())
		}
	}
	head := &http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: h}
	if err := head.Write(out); err != nil {
		return err
	}
	return out.Flush()
}

// join copies both ways until both have ended or one has failed. When one side
// stops sending, the other is told so where that is possible and may go on.
func join(agent net.Conn, fromAgent io.Reader, upstream io.ReadWriteCloser) (down int64) {
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, err := io.Copy(upstream, fromAgent)
		endWriting(upstream, err)
	}()
	down, err := io.Copy(agent, upstream)
	endWriting(agent, err)
	<-up
	return down
}

func endWriting(c io.Closer, err error) {
	if half, ok := c.(interface{ CloseWrite() error }); ok && err == nil {
		if half.CloseWrite() == nil {
			return
		}
	}
	c.Close()
}

// tunnels are the upgraded connections that are open, so that they can be ended
// when a grant is taken back or the process stops. No server keeps track of them.
type tunnels struct {
	mu     sync.Mutex
	closed bool
	next   int
	open   map[int]openTunnel
}

type openTunnel struct {
	key connection.Key
	end func()
}

func (t *tunnels) add(key connection.Key, end func()) (forget func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, false
	}
	if t.open == nil {
		t.open = map[int]openTunnel{}
	}
	id := t.next
	t.next++
	t.open[id] = openTunnel{key, end}
	return func() {
		t.mu.Lock()
		delete(t.open, id)
		t.mu.Unlock()
	}, true
}

func (t *tunnels) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, tunnel := range t.open {
		tunnel.end()
	}
}
