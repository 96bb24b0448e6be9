// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// canary is a service inside the operator's network, which nobody may write to.
type canary struct {
	port string

	mu    sync.Mutex
	heard []string
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &canary{port: port(l.Addr().String())}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				buffer := make([]byte, 4096)
				if n, _ := conn.Read(buffer); n > 0 {
					c.mu.Lock()
					c.heard = append(c.heard, string(buffer[:n]))
					c.mu.Unlock()
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ninside")
				}
			})
		}
	})
	return c
}

func (c *canary) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	heard := c.heard
	c.heard = nil
	return heard
}

// newDNS is a server that knows only addresses of this machine. Its address.
func newDNS(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			if answer, err := onThisMachine(m).Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func onThisMachine(m dnsmessage.Message) *dnsmessage.Message {
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	q := m.Questions[0]
	head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
	switch name := q.Name.String(); {
	case q.Type == dnsmessage.TypeA && !strings.HasPrefix(name, "six."):
		m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	case q.Type == dnsmessage.TypeAAAA && strings.HasPrefix(name, "six."):
		mapped := [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
		m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AAAAResource{AAAA: mapped}}}
	}
	return &m
}

// guarded loads a toolkit whose API redirects to what is asked for.
func guarded(t *testing.T, lines string) (*world, *canary) {
	t.Helper()
	w, c := newWorld(t), newCanary(t)
	api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", r.Header.Get("X-To"))
		rw.WriteHeader(http.StatusFound)
	}))
	t.Cleanup(api.Close)
	t.Setenv("FILES_KEY", filesKey)
	w.load(w.caddyfile("", fmt.Sprintf(`toolkit files {
			base_url %s
			api_key {env.FILES_KEY}
			redirect_hosts localhost:%[2]s *.example.com:%[2]s metadata.google.internal:%[2]s *.internal.localhost:%[2]s
			transport http {
				resolvers %[3]s
			}
			%[4]s
		}`, api.URL, c.port, newDNS(t), lines), ""))
	return w, c
}

// inside are names that the toolkit may redirect to, and that lead to this machine.
var inside = []string{"localhost", "LOCALHOST", "files.example.com", "six.example.com", "metadata.google.internal", "a.internal.localhost"}

func TestARedirectIntoThePrivateNetworkIsNotFollowed(t *testing.T) {
	w, c := guarded(t, "")
	for _, host := range inside {
		for _, method := range []string{"GET", "HEAD"} {
			status, body := w.call(method, "/files/x", "X-To", "http://"+host+":"+c.port+"/latest/meta-data")
			if status != http.StatusBadGateway || method == "GET" && !strings.Contains(body, `"rule":"redirect"`) {
				t.Errorf("%s %s: %d %s", method, host, status, body)
			}
			if heard := c.taken(); len(heard) != 0 {
				t.Errorf("%s was sent %q", host, heard)
			}
		}
	}
}

// Without it, the test above would show nothing.
func TestARedirectIntoThePrivateNetworkIsFollowedWhereTheOperatorSaysSo(t *testing.T) {
	w, c := guarded(t, "allow_private")
	for _, host := range inside {
		if status, body := w.call("GET", "/files/x", "X-To", "http://"+host+":"+c.port+"/x"); status != 200 || body != "inside" {
			t.Errorf("%s: %d %s", host, status, body)
		}
		if heard := c.taken(); len(heard) != 1 || strings.Contains(heard[0], filesKey) || strings.Contains(heard[0], "alice") {
			t.Errorf("%s was sent %q", host, heard)
		}
	}
}

// numbers are addresses of this machine and of the clouds' metadata, in the spellings
// that some programs take for them. No pattern allows an address.
var numbers = []string{
	"127.0.0.1", "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0177.0.0.1", "0x7f.1", "0x7f.0x0.0x0.0x1", "127.0.0.1.", "0", "0.0.0.0",
	"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[fe80::1%25lo]", "[64:ff9b::7f00:1]",
	"169.254.169.254", "0xa9fea9fe", "2852039166", "[fd00:ec2::254]", "100.100.100.200", "192.0.0.192", "168.63.129.16",
	"localhost.", "localhost%00", "localhost%2eexample.com", "evil@localhost", "localhost.example", "xn--lcalhost-66a", "127.0.0.1.example.com.", "-.example.com", "_x.example.com", "1.1",
}

func TestARedirectToAnAddressIsTheAgentsToFollow(t *testing.T) {
	w, c := guarded(t, "")
	for _, host := range numbers {
		for _, to := range []string{"http://" + host + ":" + c.port + "/x", "http://" + host + "/x", "//" + host + ":" + c.port + "/x"} {
			r, err := http.NewRequest("GET", w.public()+"/files/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{"X-User-Id": {"alice"}, "X-To": {to}}
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			// What can be read in two ways leads nowhere, and no address is relative.
			want := []string{"about:blank", to, "http:" + to}
			if to == "http://127.0.0.1/x" { // where the toolkit itself is
				want = []string{w.public() + "/files/x"}
			}
			if got := res.Header.Get("Location"); res.StatusCode != http.StatusFound || !slices.Contains(want, got) {
				t.Errorf("%s: %s to %q", to, res.Status, got)
			}
		}
	}
	if heard := c.taken(); len(heard) != 0 {
		t.Errorf("inside was heard %q", heard)
	}
}
