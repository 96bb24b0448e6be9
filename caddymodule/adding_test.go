// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
)

func TestAToolkitIsSetUpForAUserWhileTheGatewayRuns(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	w.wantCall(t, "alice", 403, "auth_required") // which the gateway may remember
	s.fails(t, "--user is missing", "connections", "add", "--toolkit", "acme")
	s.fails(t, "--toolkit is missing", "connections", "add", "--user", "alice")
	s.fails(t, `there is no toolkit "nothing"`, "connections", "add", "--user", "alice", "--toolkit", "nothing")
	s.fails(t, "cannot be an account's name", "connections", "add", "--user", "alice", "--toolkit", "acme", "--account", "a b")

	s.succeeds(t, "Added acme for alice", "connections", "add", "--user", "alice", "--toolkit", "acme")
	s.succeeds(t, "alice has acme already (added)", "connections", "add", "--user", "alice", "-t", "acme")
	status, body := w.call("GET", "/acme/v1/me")
	for _, part := range []string{`"code":"auth_required"`, `"status":"added"`, `"reason":"no_connection"`, `"connect_url":"http`} {
		if status != 403 || !strings.Contains(body, part) {
			t.Errorf("%d, %s is not in %s", status, part, body)
		}
	}
	if status, body := w.call("GET", "/v1/connections/acme"); status != 200 || !strings.Contains(body, `"status":"added"`) {
		t.Errorf("its status: %d %s", status, body)
	}
	s.succeeds(t, "added", "connections", "list", "--user", "alice")
	w.connect()
	w.wantCall(t, "alice", ok, "")
	s.succeeds(t, "alice has acme already (active)", "connections", "add", "--user", "alice", "--toolkit", "acme")
}

func TestAToolkitIsSetUpWhereNoGatewayRuns(t *testing.T) {
	w, s := stopped(t)
	s.succeeds(t, "Added acme for bob", "connections", "add", "--user", "bob", "--toolkit", "acme")
	bob := connection.Key{Tenant: "default", User: "bob", Toolkit: "acme"}
	if c := w.connectionOf(t, bob); c.Status != connection.Added || c.ID == "" {
		t.Errorf("%+v", c)
	}
	s.succeeds(t, "1 connection removed, 0 grants of them", "users", "forget", "--yes", "bob")
}
