// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"net"
	"reflect"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/toolgate/toolgate/handover"
)

// ListenerWrapper makes reloads lose no connection that comes in. Without it, a few calls
// in the moment of a reload get `connection reset` or `EOF`: Caddy opens a socket for each
// configuration, and Linux resets what waits in the old one's queue. With it the socket
// stays, and connections from which nothing was read yet go to the new configuration. One
// whose TLS handshake is done cannot go there: over HTTP/1.1, if it sends no request for
// half a second, it is closed as kept connections are.
//
// It has to stand first, before `tls`:
//
//	servers {
//		listener_wrappers {
//			toolgate
//			tls
//		}
//	}
//
// A reload may then take up to half a second longer, for as long as a client takes to
// send a request that it has begun.
type ListenerWrapper struct {
	alive net.KeepAliveConfig
	log   *zap.Logger
}

// CaddyModule tells Caddy of the module.
func (ListenerWrapper) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.toolgate", New: func() caddy.Module { return new(ListenerWrapper) }}
}

// UnmarshalCaddyfile reads `toolgate`, which has no options.
func (*ListenerWrapper) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("the listener wrapper has no option %q", d.Val())
	}
	return nil
}

// Provision has the sockets that are there take what comes in, from before Caddy opens
// others beside them.
func (l *ListenerWrapper) Provision(ctx caddy.Context) error {
	l.log = ctx.Logger()
	l.alive = net.KeepAliveConfig{Enable: true}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		l.alive = net.KeepAliveConfig{
			Enable:   server.KeepAliveInterval >= 0,
			Interval: time.Duration(server.KeepAliveInterval),
			Idle:     time.Duration(server.KeepAliveIdle),
			Count:    server.KeepAliveCount,
		}
		server.RegisterConnState(handover.State)
	}
	states.sockets.Hold()
	return nil
}

// Cleanup undoes what Provision did, where a configuration was not started.
func (*ListenerWrapper) Cleanup() error {
	states.sockets.Release()
	return nil
}

// WrapListener gives a server its share of the socket. Where the address is no TCP one,
// Caddy loses nothing by itself.
func (l *ListenerWrapper) WrapListener(ln net.Listener) net.Listener {
	own, ok := tcpListener(ln)
	if !ok {
		if network := ln.Addr().Network(); network == "tcp" {
			l.log.Warn("the listener wrapper toolgate does nothing where it does not stand first in listener_wrappers, before tls",
				zap.Stringer("address", ln.Addr()))
		}
		return ln
	}
	shared, err := states.sockets.Join(own, ln, l.alive)
	if err != nil {
		l.log.Warn("reloads may lose connections", zap.Stringer("address", ln.Addr()), zap.Error(err))
		return ln
	}
	return shared
}

// tcpListener looks into the one wrapping that Caddy itself puts around a socket, which
// has no way in but its embedded field. It must not look into any other: what comes out
// of TLS or of another wrapper is more than the socket.
func tcpListener(ln net.Listener) (*net.TCPListener, bool) {
	v := reflect.ValueOf(ln)
	if v.Kind() != reflect.Struct || v.Type().PkgPath() != "github.com/caddyserver/caddy/v2" || v.Type().Name() != "deleteListener" {
		return nil, false
	}
	field := v.FieldByName("Listener")
	if !field.IsValid() {
		return nil, false
	}
	own, ok := field.Interface().(*net.TCPListener)
	return own, ok
}

var (
	_ caddy.Provisioner     = (*ListenerWrapper)(nil)
	_ caddy.CleanerUpper    = (*ListenerWrapper)(nil)
	_ caddy.ListenerWrapper = (*ListenerWrapper)(nil)
	_ caddyfile.Unmarshaler = (*ListenerWrapper)(nil)
)
