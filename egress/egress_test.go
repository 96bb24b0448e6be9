// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/toolgate/toolgate/egress"
)

func TestOnlyAddressesOfTheInternetArePublic(t *testing.T) {
	for text, why := range map[string]string{
		"127.0.0.1": "loopback", "127.8.9.10": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "IPv4-mapped loopback",
		"10.0.0.1": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private", "fd00::1": "unique local", "fc00::1": "unique local",
		"169.254.169.254": "metadata", "fd00:ec2::254": "metadata", "100.100.100.200": "metadata", "192.0.0.192": "metadata", "168.63.129.16": "metadata",
		"::ffff:169.254.169.254": "mapped metadata", "64:ff9b::a9fe:a9fe": "metadata through NAT64", "2002:a9fe:a9fe::1": "metadata through 6to4",
		"64:ff9b::7f00:1": "loopback through NAT64", "64:ff9b:1::1": "local NAT64",
		"169.254.1.1": "link-local", "fe80::1": "link-local", "fe80::1%eth0": "link-local",
		"100.64.0.1": "carrier-grade NAT", "100.127.255.255": "carrier-grade NAT",
		"224.0.0.1": "multicast", "239.1.1.1": "multicast", "ff02::1": "multicast", "255.255.255.255": "broadcast",
		"0.0.0.0": "unspecified", "::": "unspecified", "0.1.2.3": "this network", "240.0.0.1": "reserved",
		"192.0.2.1": "documentation", "198.51.100.7": "documentation", "203.0.113.9": "documentation", "2001:db8::1": "documentation", "3fff::1": "documentation",
		"198.18.0.1": "benchmark", "::127.0.0.1": "IPv4-compatible", "100::1": "discard", "2001::1": "Teredo", "fec0::1": "site-local",
	} {
		if egress.Public(netip.MustParseAddr(text)) {
			t.Errorf("%s is called public; it is %s", text, why)
		}
	}
	for _, text := range []string{"1.1.1.1", "140.82.112.6", "::ffff:140.82.112.6", "2606:4700:4700::1111", "2a00:1450:4001::1", "64:ff9b::8c52:7006", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "2002:8c52:7006::1"} {
		if !egress.Public(netip.MustParseAddr(text)) {
			t.Errorf("%s is not called public", text)
		}
	}
}

// remote is a connection to an address, with nothing behind it.
type remote struct {
	net.Conn
	address net.Addr
	closed  bool
}

func (c *remote) RemoteAddr() net.Addr { return c.address }
func (c *remote) Close() error         { c.closed = true; return nil }

func TestTheAddressThatWasDialledIsWhatCounts(t *testing.T) {
	for _, c := range []struct {
		name, dialled, reached string
		refused                bool
	}{
		{"a public address", "api.example.com:443", "140.82.112.6:443", false},
		{"a name that was rebound between lookup and dial", "api.example.com:443", "127.0.0.1:443", true},
		{"dual stack with a private IPv6 address", "api.example.com:443", "[fd00::1]:443", true},
		{"a decimal address", "2130706433:443", "127.0.0.1:443", true},
		{"an octal address", "0177.0.0.1:443", "127.0.0.1:443", true},
		{"the operator's own host", "api.internal:443", "10.1.2.3:443", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := &remote{address: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.reached))}
			dial := egress.Guard(
				func(context.Context, string, string) (net.Conn, error) { return conn, nil },
				func(host string) bool { return host != "api.internal" },
			)
			_, err := dial(context.Background(), "tcp", c.dialled)
			if refused := errors.Is(err, egress.ErrPrivate); refused != c.refused || conn.closed != c.refused {
				t.Errorf("error %v, closed %v", err, conn.closed)
			}
		})
	}
}

func TestAConnectionWithoutAnAddressIsRefused(t *testing.T) {
	conn := &remote{address: &net.UnixAddr{Name: "@x", Net: "unix"}}
	dial := egress.Guard(func(context.Context, string, string) (net.Conn, error) { return conn, nil }, func(string) bool { return true })
	if _, err := dial(context.Background(), "tcp", "api.example.com:443"); !errors.Is(err, egress.ErrPrivate) {
		t.Errorf("%v", err)
	}
}
