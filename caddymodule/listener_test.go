// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/caddymodule"
	"github.com/toolgate/toolgate/handover"
)

// wrapper is the listener wrapper as Caddy provisions it.
func wrapper(t *testing.T) *caddymodule.ListenerWrapper {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	w := new(caddymodule.ListenerWrapper)
	if err := w.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Cleanup() })
	return w
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := parsed.Listen(context.Background(), 0, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.(net.Listener).Close() })
	return ln.(net.Listener)
}

// What Caddy counts decides, for one, whether shutdown_delay holds: a reload is none.
func TestTheWrapperKeepsCaddysSocketsAndCaddysCount(t *testing.T) {
	old := wrapper(t).WrapListener(listen(t, "127.0.0.1:0"))
	if _, ok := old.(*handover.Listener); !ok {
		t.Fatalf("%T: Caddy's own wrapping has changed, and reloads lose connections", old)
	}
	address := old.Addr().String()
	renewed := wrapper(t).WrapListener(listen(t, address))
	uses := func() int { n := caddy.ListenerUsage("tcp", address); return n }
	if n := uses(); n != 1 { // the first was opened as port 0
		t.Fatalf("%d uses beside the first", n)
	}
	old.Close()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	served, err := renewed.Accept()
	if err != nil {
		t.Fatal(err)
	}
	served.Close()
	renewed.Close()
	if n := uses(); n != 0 {
		t.Fatalf("%d uses after the last", n)
	}
}

// Behind TLS or another wrapper there is more than a socket, which must not be gone round.
func TestTheWrapperLeavesAloneWhatIsNotCaddysSocket(t *testing.T) {
	plain := listen(t, "127.0.0.1:0")
	file := listen(t, "unix/"+t.TempDir()+"/s")
	for name, ln := range map[string]net.Listener{
		"TLS":             tls.NewListener(plain, &tls.Config{}),
		"another wrapper": struct{ net.Listener }{plain},
		"a unix socket":   file,
	} {
		if got := wrapper(t).WrapListener(ln); got != ln {
			t.Errorf("%s: %T", name, got)
		}
	}
}

func TestTheWrapperHasNoOptions(t *testing.T) {
	for text, ok := range map[string]bool{"toolgate": true, "toolgate x": false, "toolgate {\n x\n}": false} {
		if err := new(caddymodule.ListenerWrapper).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
