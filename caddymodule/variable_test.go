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

	"github.com/toolgate/toolgate/egress"
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
