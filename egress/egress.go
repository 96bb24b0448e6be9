// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package egress is the way out: it keeps credentials and calls from going to
// addresses inside the operator's network, wherever a name points today, keeps calls
// apart that share a connection, and hears servers out that answer early.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// ErrPrivate: the name leads to an address that is not on the public Internet.
var ErrPrivate = errors.New("the host leads to an address that is not public")

// Dial opens a connection, as in net.Dialer.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Guard wraps dial. For hosts that guarded reports, it looks at the address that was
// really dialled and closes the connection before a byte is written if that is not
// public. Looking the name up beforehand would not do: the answer may be another
// one a moment later (DNS rebinding).
//
// Behind a forward proxy, dial goes to the proxy, whose name is the operator's own;
// what the proxy then reaches is the proxy's business.
func Guard(dial Dial, guarded func(host string) bool) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		if guarded(host) && !publicConn(conn) {
			conn.Close()
			return nil, fmt.Errorf("%s: %w", host, ErrPrivate)
		}
		return conn, nil
	}
}

func publicConn(conn net.Conn) bool {
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && Public(remote.Addr())
}

// Public reports whether addr is a unicast address of the public Internet. It follows
// the IANA special-purpose registries (RFC 6890 and its updates), reads IPv4 addresses
// out of the IPv6 forms that carry one, and knows the clouds' metadata addresses.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if inner, ok := embedded(addr); ok {
		return Public(inner)
	}
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// special are blocks that net/netip counts as global unicast.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),         // this network
	netip.MustParsePrefix("100.64.0.0/10"),     // carrier-grade NAT; Alibaba's metadata
	netip.MustParsePrefix("168.63.129.16/32"),  // Azure's host
	netip.MustParsePrefix("192.0.0.0/24"),      // protocol assignments; Oracle's metadata
	netip.MustParsePrefix("192.0.2.0/24"),      // documentation
	netip.MustParsePrefix("192.88.99.0/24"),    // 6to4 relays, no more
	netip.MustParsePrefix("198.18.0.0/15"),     // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"),   // documentation
	netip.MustParsePrefix("203.0.113.0/24"),    // documentation
	netip.MustParsePrefix("240.0.0.0/4"),       // reserved, and broadcast
	netip.MustParsePrefix("::/96"),             // IPv4-compatible, no more
	netip.MustParsePrefix("64:ff9b:1::/48"),    // local NAT64
	netip.MustParsePrefix("100::/64"),          // discard
	netip.MustParsePrefix("2001::/23"),         // protocol assignments, Teredo, ORCHID
	netip.MustParsePrefix("2001:db8::/32"),     // documentation
	netip.MustParsePrefix("3fff::/20"),         // documentation
	netip.MustParsePrefix("5f00::/16"),         // segment routing
	netip.MustParsePrefix("fec0::/10"),         // site-local, no more
	netip.MustParsePrefix("::ffff:0:0:0/96"),   // IPv4-translated
	netip.MustParsePrefix("2620:4f:8000::/48"), // AS112
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixTo4 = netip.MustParsePrefix("2002::/16")    // RFC 3056
)

// embedded is the IPv4 address that an IPv6 address leads to through a translator.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixTo4.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}
