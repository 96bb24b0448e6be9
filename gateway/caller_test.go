// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"net/http/httptest"
	"testing"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
)

func TestWhoCallsIsToldWhateverItsRights(t *testing.T) {
	g := gateway.New(gateway.Config{Agents: []gateway.Agent{
		{Name: "caller", Tenant: "acme", Keys: []secret.String{secret.New("key-of-the-caller")}, ActsForAny: true, Rights: []caller.Right{caller.Call}, CallbackURLs: []string{"https://app.example.com/done"}},
		{Name: "usual", Tenant: "acme", Keys: []secret.String{secret.New("key-of-the-usual")}, ActsFor: []string{"alice"}},
	}})
	for key, want := range map[string]map[caller.Right]bool{
		"key-of-the-caller": {caller.Call: true, caller.Connect: false, caller.Mint: false},
		"key-of-the-usual":  {caller.Call: true, caller.Connect: true, caller.Mint: false},
	} {
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.Header.Set("X-Toolgate-Key", key)
		r.Header.Set("X-User-Id", "alice")
		who, err := g.Caller(r)
		if err != nil || who.User != "alice" || who.Tenant != "acme" {
			t.Fatalf("%+v, %v", who, err)
		}
		for right, has := range want {
			if g.Has(who, right) != has {
				t.Errorf("%s: %s", who.Agent, right)
			}
		}
		r.Header.Set("X-Toolgate-Callback", "https://app.example.com/done")
		if to, err := g.Callback(r, who); (err == nil) != (who.Agent == "caller") || err == nil && to == "" {
			t.Errorf("%s: %q, %v", who.Agent, to, err)
		}
		r.Header.Set("X-User-Id", "bob")
		if _, err := g.Caller(r); (err == nil) != (who.Agent == "caller") {
			t.Errorf("%s for bob: %v", who.Agent, err)
		}
	}
	if g.Has(caller.Caller{Tenant: "other", Agent: "usual"}, caller.Call) || g.Has(caller.Caller{Tenant: "acme", Agent: "gone"}, caller.Call) {
		t.Error("an agent that is not configured has rights")
	}
	local := gateway.New(gateway.Config{})
	if who := (caller.Caller{Agent: caller.LocalAgent}); !local.Has(who, caller.Call) || !local.Has(who, caller.Connect) || local.Has(who, caller.Mint) {
		t.Error("where no agent is configured")
	}
	if _, err := local.Caller(httptest.NewRequest("POST", "/mcp", nil)); problem.Of(err).Code != problem.NotLocal {
		t.Error(err)
	}
}
