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

// changing is a name whose address is another one each time that it is looked up.
type changing struct {
	addresses []string
	dialled   []*remote
}

func (c *changing) lookUp() string {
	address := c.addresses[0]
	c.addresses = c.addresses[1:]
	return address
}

func (c *changing) dial(context.Context, string, string) (net.Conn, error) {
	conn := &remote{address: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.lookUp()))}
	c.dialled = append(c.dialled, conn)
	return conn, nil
}

func TestANameThatChangesIsJudgedAtEachDial(t *testing.T) {
	name := &changing{addresses: []string{"140.82.112.6:443", "127.0.0.1:443", "140.82.112.6:443", "[::1]:443"}}
	guarded := egress.Guard(name.dial, func(string) bool { return true })
	// Whoever looked it up before would have been content.
	if before := netip.MustParseAddrPort(name.lookUp()); !egress.Public(before.Addr()) {
		t.Fatal("the first address is not public")
	}
	for i, refused := range []bool{true, false, true} {
		conn, err := guarded(context.Background(), "tcp", "api.example.com:443")
		if errors.Is(err, egress.ErrPrivate) != refused || (conn == nil) != refused || name.dialled[i].closed != refused {
			t.Errorf("dial %d: %v, closed %v", i, err, name.dialled[i].closed)
		}
	}
}

// A name with a public and a private address: what was really reached decides, in both
// orders, and a fall back from one to the other.
func TestOfTwoAddressesTheOneThatWasReachedCounts(t *testing.T) {
	private, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer private.Close()
	public := &remote{address: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("140.82.112.6:443"))}
	reach := map[string]func() (net.Conn, error){
		"public":  func() (net.Conn, error) { return public, nil },
		"private": func() (net.Conn, error) { return net.Dial("tcp", private.Addr().String()) },
		"nothing": func() (net.Conn, error) { return nil, errors.New("no route") },
	}
	for _, c := range []struct {
		addresses []string
		refused   bool
	}{
		{[]string{"public", "private"}, false}, {[]string{"private", "public"}, true},
		{[]string{"nothing", "private"}, true}, {[]string{"nothing", "public"}, false},
	} {
		dial := func(context.Context, string, string) (conn net.Conn, err error) {
			for _, address := range c.addresses {
				if conn, err = reach[address](); err == nil {
					return conn, nil
				}
			}
			return nil, err
		}
		conn, err := egress.Guard(dial, func(string) bool { return true })(context.Background(), "tcp", "dual.example.com:443")
		if errors.Is(err, egress.ErrPrivate) != c.refused || (conn == nil) != c.refused {
			t.Errorf("%v: %v", c.addresses, err)
		}
	}
}

func TestAConnectionWithoutAnAddressIsRefused(t *testing.T) {
	conn := &remote{address: &net.UnixAddr{Name: "@x", Net: "unix"}}
	dial := egress.Guard(func(context.Context, string, string) (net.Conn, error) { return conn, nil }, func(string) bool { return true })
	if _, err := dial(context.Background(), "tcp", "api.example.com:443"); !errors.Is(err, egress.ErrPrivate) {
		t.Errorf("%v", err)
	}
}
