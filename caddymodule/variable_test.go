// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/toolgate/toolgate/egress"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/toolkit"
)

// What a value names is the provider's choice or a browser's, whoever wrote the pattern.
func TestAHostThatAVariableNamesIsGuarded(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	_, port, _ := net.SplitHostPort(inside.Addr().String())
	for allowed, want := range map[bool]error{false: egress.ErrPrivate, true: nil} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		defer cancel()
		e, err := (&App{log: zap.NewNop()}).provisionToolkit(ctx, "acme", &Toolkit{
			BaseURL: "https://{instance}", AllowPrivate: allowed,
			Variables: map[string]*Variable{"instance": {From: "token_reply", Field: "instance_url", Hosts: []string{"localhost"}}},
			OAuth2:    &OAuth2{AuthorizeURL: "https://id.acme.example/a", TokenURL: "https://id.acme.example/t"},
		})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := e.transport.http.Transport.DialContext(t.Context(), "tcp", "localhost:"+port)
		if !errors.Is(err, want) {
			t.Errorf("allow_private %v: %v, want %v", allowed, err, want)
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// resolver is a DNS server of somebody who owns a name and points it inside.
func resolver(t *testing.T) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(packet[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
				}}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// A user can name any host below the operator's suffix, and somebody may have pointed one
// of them inside: the client's secret would go there with the token request.
func TestTheTokenEndpointThatAUserNamesIsGuarded(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	_, port, _ := net.SplitHostPort(inside.Addr().String())
	transport := json.RawMessage(`{"protocol":"http","resolver":{"addresses":["udp/` + resolver(t) + `"]}}`)
	for allowed, want := range map[bool]error{false: egress.ErrPrivate, true: nil} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		defer cancel()
		e, err := (&App{log: zap.NewNop()}).provisionToolkit(ctx, "acme", &Toolkit{
			BaseURL: "https://api.acme.example", AllowPrivate: allowed, TransportRaw: transport,
			Variables: map[string]*Variable{"shop": {From: "asked", Ask: "Shop"}},
			OAuth2:    &OAuth2{AuthorizeURL: "https://id.acme.example/a", TokenURL: "https://{shop}.Shops.example/t"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"north.shops.example", "NORTH.Shops.example", "a.b.shops.example"} {
			conn, err := e.transport.http.Transport.DialContext(t.Context(), "tcp", host+":"+port)
			if !errors.Is(err, want) {
				t.Errorf("allow_private %v, %s: %v, want %v", allowed, host, err, want)
			}
			if conn != nil {
				conn.Close()
			}
		}
		// What the operator wrote may be where they want it.
		conn, err := e.transport.http.Transport.DialContext(t.Context(), "tcp", "api.acme.example:"+port)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

// Nor for one of another toolkit's, whose way may be another one.
func TestATokenRequestLeavesForNoAddressThatIsNotTheTemplates(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	a := &App{log: zap.NewNop(), Toolkits: map[string]*Toolkit{"fixed": {
		BaseURL: "https://fixed.example", OAuth2: &OAuth2{AuthorizeURL: "https://fixed.example/a", TokenURL: "https://fixed.example/t?x=1"},
	}, "acme": {
		BaseURL: "https://{shop}.shops.example", Variables: map[string]*Variable{"shop": {From: "asked", Ask: "Shop"}},
		OAuth2:       &OAuth2{AuthorizeURL: "https://{shop}.shops.example/a", TokenURL: "https://{shop}.shops.example/t"},
		TransportRaw: json.RawMessage(`{"protocol":"http","resolver":{"addresses":["udp/` + resolver(t) + `"]}}`),
	}}}
	if err := a.provisionToolkits(ctx); err != nil {
		t.Fatal(err)
	}
	for address, leaves := range map[string]bool{
		"https://north.shops.example/t": true, "https://north.shops.example/t?x": true, "https://north.shops.example/a": false, "https://shops.example/t": false,
		"https://a.b.shops.example/t": false, "https://evil.example/t": false, "http://north.shops.example/t": false, "https://{shop}.shops.example/t": false,
		"https://fixed.example/t": false,
	} {
		client := &oauth.Client{Transport: tokenTransport(a.toolkits)}
		_, err := client.Exchange(t.Context(), &toolkit.OAuth2{Toolkit: "acme", TokenURL: address, AuthStyle: toolkit.StyleNone}, "code", "", "")
		if err == nil || strings.Contains(err.Error(), "does not have this token endpoint") == leaves && !strings.Contains(address, "{") {
			t.Errorf("%s: %v", address, err)
		}
	}
	fixed := a.toolkits["fixed"].toolkit.OAuth
	for id, leaves := range map[string]bool{"fixed": true, "acme": false, "": false, "another": false} {
		own := *fixed
		own.Toolkit = id
		_, err := (&oauth.Client{Transport: tokenTransport(a.toolkits)}).Exchange(t.Context(), &own, "code", "", "")
		if err == nil || strings.Contains(err.Error(), "does not have this token endpoint") == leaves {
			t.Errorf("of %q: %v", id, err)
		}
	}
}

func TestAVariableStandsBesidePlaceholders(t *testing.T) {
	t.Setenv("ACME_VERSION", "v{3}")
	s := settings{from: map[string]string{}}
	if got := s.address("base_url", "https://{instance}/{env.ACME_VERSION}/{realm_id}"); got != "https://{instance}/v{3}/{realm_id}" || s.err != nil {
		t.Errorf("%s, %v", got, s.err)
	}
	if s.address("base_url", "https://{instance}/{no.such.thing}"); s.err == nil {
		t.Error("what Caddy does not know is passed on")
	}
}

func TestAVariableThatIsNullInJSONIsAMistake(t *testing.T) {
	var tk Toolkit
	if err := json.Unmarshal([]byte(`{"base_url":"https://{x}","variables":{"x":null},"no_auth":true}`), &tk); err != nil {
		t.Fatal(err)
	}
	if err := tk.check("acme"); err == nil || !strings.Contains(err.Error(), "variable x") {
		t.Error(err)
	}
}
