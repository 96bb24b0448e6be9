// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/problem"
)

// tunnel joins an agent's and a provider's connection after an upgrade, such as to
// a WebSocket.
func (g *Gateway) tunnel(x *exchange) {
	upstream, ok := x.answer.Body.(io.ReadWriteCloser)
	if !ok || !x.asked(credential.UpgradeType(x.answer.Header)) {
		g.refuse(x, problem.New(problem.UpstreamUnreachable, "upgrade", x.toolkit.Name+" changed to another protocol than was asked for."))
		return
	}
	if g.tunnels.over() {
		g.refuse(x, problem.New(problem.ShuttingDown, "upgrade", "The gateway is shutting down."))
		return
	}
	agent, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		g.refuse(x, problem.New(problem.BadRequest, "upgrade", "An upgrade is possible over HTTP/1.1 only.").Because(err))
		return
	}
	defer agent.Close()
	forget, err := g.keep(x, openTunnel{end: func() { agent.Close(); upstream.Close() }})
	if err != nil { // in this very moment
		x.outcome.status, x.outcome.err = statusCallerGone, err
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

var (
	errClosing   = errors.New("gateway: shutting down")
	errTakenBack = errors.New("gateway: the grant was taken back")
)

// still looks once more whether the agent may use the connection, when what it opens can
// be ended. What another gateway took back before that was told to nobody who knew of it,
// and what it takes back from now on ends it. Where nobody can tell, it goes on.
func (g *Gateway) still(x *exchange) error {
	if !x.toolkit.Auth.PerUser {
		return nil
	}
	key := x.key()
	// By its id: another account may be the default by now, or none.
	key.Account = cmp.Or(x.grant.ID, x.account)
	_, err := g.cfg.Credentials.TokenFor(x.in.Context(), x.toolkit, key, func(c connection.Connection) error { return g.approved(x, c) })
	if _, gone := errors.AsType[*connection.Unusable](err); gone {
		return errTakenBack
	}
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Rule == readOnly {
		return errTakenBack
	}
	return nil
}

// asked reports whether the agent's request was to change to that protocol.
func (x *exchange) asked(protocol string) bool {
	return protocol != "" && x.body.empty() && strings.EqualFold(protocol, credential.UpgradeType(x.in.Header))
}

// writeSwitch writes the 101 by hand: the connection is ours now.
func (x *exchange) writeSwitch(out interface {
	io.Writer
	Flush() error
}) error {
	h, from := x.w.Header(), x.answer.Header
	named := credential.ConnectionOptions(from)
	for name, values := range from {
		if forAgent(name, named) {
			h[name] = masked(values, x.secrets)
		}
	}
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{credential.UpgradeType(from)}
	head := &http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: h}
	if err := head.Write(out); err != nil {
		return err
	}
	return out.Flush()
}

// halfOpenTime is how long one side may go on when the other has ended. A peer that
// is gone looks like one that only stopped sending, so without a bound two silent
// connections would stay for good.
const halfOpenTime = time.Minute

// join copies both ways until both have ended or one has failed. When one side
// stops sending, the other is told so where that is possible and may go on a while.
func join(agent net.Conn, fromAgent io.Reader, upstream io.ReadWriteCloser) (down int64) {
	ended := sync.OnceValue(func() *time.Timer {
		return time.AfterFunc(halfOpenTime, func() { agent.Close(); upstream.Close() })
	})
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, err := io.Copy(upstream, fromAgent)
		endWriting(upstream, err)
		ended()
	}()
	down, err := io.Copy(agent, upstream)
	endWriting(agent, err)
	ended()
	<-up
	ended().Stop()
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
	ends   atomic.Uint64 // grants taken back so far
	mu     sync.Mutex
	closed bool
	next   int
	open   map[int]openTunnel
	taken  [256]takenBack // the latest ones, that of ends-1 last
}

type openTunnel struct {
	key     connection.Key // zero where no user's grant is used
	id      string         // of the connection
	reads   bool           // its user allowed reading only, and this was
	who     caller.Caller
	toolkit string
	end     func()
	// drains: it is an answer, which the server waits for when the process stops.
	drains bool
}

// keep takes in what goes on over the exchange's grant, and in its session.
func (g *Gateway) keep(x *exchange, o openTunnel) (forget func(), err error) {
	o.key, o.id, o.reads, o.who, o.toolkit = x.grant.Key, x.grant.ID, x.grant.ReadOnly, x.caller, x.toolkit.ID
	forget, err = g.tunnels.add(o, x.since)
	if err != nil {
		return nil, err
	}
	if now := g.successor.Load(); g.revoked(o) || now != nil && now.dismisses(o) { // before it could be found
		err = errTakenBack
	} else {
		err = g.still(x)
	}
	if err != nil {
		forget()
		return nil, err
	}
	return forget, nil
}

// takenBack is a grant, for all agents or for one.
type takenBack struct {
	key   connection.Key
	agent string // "": all
}

func (t takenBack) ends(o openTunnel) bool {
	return t.key == o.key && (t.agent == "" || t.agent == o.who.Agent)
}

// add takes a tunnel in whose grant was read when ends was since. A grant that was taken
// back between then and now would live on in it, which nobody ends any more.
func (t *tunnels) add(o openTunnel, since uint64) (forget func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed && !o.drains {
		return nil, errClosing
	}
	ends := t.ends.Load()
	if ends-since > uint64(len(t.taken)) {
		return nil, errTakenBack // or not: it may be among those that are forgotten
	}
	for ; since < ends; since++ {
		if t.taken[since%uint64(len(t.taken))].ends(o) {
			return nil, errTakenBack
		}
	}
	if t.open == nil {
		t.open = map[int]openTunnel{}
	}
	id := t.next
	t.next++
	t.open[id] = o
	return func() {
		t.mu.Lock()
		delete(t.open, id)
		t.mu.Unlock()
	}, nil
}

func (t *tunnels) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// close ends those of one connection, or of one agent over it.
func (t *tunnels) close(key connection.Key, agent string) {
	back := takenBack{key, agent}
	t.mu.Lock()
	t.taken[t.ends.Load()%uint64(len(t.taken))] = back
	t.ends.Add(1)
	all := slices.Collect(maps.Values(t.open))
	t.mu.Unlock()
	endAll(slices.DeleteFunc(all, func(o openTunnel) bool { return !back.ends(o) }))
}

func (t *tunnels) uses(key connection.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.open {
		if o.key == key {
			return true
		}
	}
	return false
}

// closeThat ends those that are meant.
func (t *tunnels) closeThat(meant func(openTunnel) bool) {
	t.mu.Lock()
	all := slices.Collect(maps.Values(t.open))
	t.mu.Unlock()
	endAll(slices.DeleteFunc(all, func(o openTunnel) bool { return !meant(o) }))
}

// closeAll ends them all, and those to come.
func (t *tunnels) closeAll() {
	t.mu.Lock()
	t.closed = true
	all := slices.Collect(maps.Values(t.open))
	t.mu.Unlock()
	endAll(slices.DeleteFunc(all, func(o openTunnel) bool { return o.drains }))
}

// endAll ends them side by side: over TLS, closing says goodbye first, and a peer that
// does not read can make that take seconds.
func endAll(all []openTunnel) {
	var ending sync.WaitGroup
	for _, tunnel := range all {
		ending.Go(tunnel.end)
	}
	ending.Wait()
}
