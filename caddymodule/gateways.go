// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// gateways are all that work with a store, of configurations that are over too: a WebSocket
// outlives many of them. Whoever takes a connection back does so on a page of the latest one.
type gateways struct {
	mu  sync.Mutex
	all map[*gateway.Gateway]bool
}

func (g *gateways) join(one *gateway.Gateway) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = map[*gateway.Gateway]bool{}
	}
	g.all[one] = true
}

func (g *gateways) leave(one *gateway.Gateway) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.all, one)
}

func (g *gateways) list() []*gateway.Gateway {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.all))
}

// disconnect ends what goes on over a connection.
func (g *gateways) disconnect(key connection.Key) {
	for _, one := range g.list() {
		one.Disconnect(key)
	}
}

// withdraw ends what one agent does over a connection.
func (g *gateways) withdraw(key connection.Key, agent string) {
	for _, one := range g.list() {
		one.Withdraw(key, agent)
	}
}

// endRevoked ends what goes on in sessions that were taken back.
func (g *gateways) endRevoked() {
	for _, one := range g.list() {
		one.EndRevoked()
	}
}

// endDismissed ends what agents do that they could not begin now.
func (g *gateways) endDismissed(now *gateway.Gateway) {
	for _, one := range g.list() {
		one.EndDismissed(now)
	}
}

// lookLimit bounds one look at a connection that another process has changed.
const lookLimit = 15 * time.Second

// changed is told by a shared store. Where something goes on over the connection, it is
// looked whether it still may; where the store does not say, it goes on.
func (g *gateways) changed(v *vault.Vault, key connection.Key) {
	using := slices.DeleteFunc(g.list(), func(one *gateway.Gateway) bool { return !one.Uses(key) })
	if len(using) == 0 {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), lookLimit)
		defer cancel()
		conn, err := v.Load(ctx, key)
		for _, one := range using {
			switch {
			case errors.Is(err, connection.ErrNotConnected):
				one.Disconnect(key)
			case err == nil:
				one.Recheck(conn)
			}
		}
	}()
}
