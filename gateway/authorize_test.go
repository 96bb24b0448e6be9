// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/problem"
)

// askBob makes a call for somebody who has connected nothing.
func askBob(t *testing.T, w *gatewaytest.World, want verdict) refusal {
	t.Helper()
	r := w.Request("POST", w.H1+"/acme/user", strings.NewReader("body"))
	r.Header.Set("X-User-Id", "bob")
	res, body := w.Do(r)
	parsed := refused(t, w, res, body, want)
	nothingLeft(t, w)
	return parsed
}

func TestWhoIsNotConnectedGetsALinkAndTheProviderNothing(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	r := w.Request("GET", w.H1+"/acme/user", nil)
	r.Header.Set("X-User-Id", "bob")
	res, body := w.Do(r)
	got := refused(t, w, res, body, verdict{403, "auth_required", "authorize", "no_connection"})
	nothingLeft(t, w)

	const link = "https://connect.example.com/connect/lnk_bob_acme"
	if got.ConnectURL != link || got.ExpiresAt != "2026-11-20T09:15:00Z" || got.StatusURL != "https://connect.example.com/v1/connections/acme" {
		t.Errorf("the links are %q until %q, %q", got.ConnectURL, got.ExpiresAt, got.StatusURL)
	}
	if got.Toolkit == nil || got.Toolkit.ID != "acme" || got.Toolkit.Name != "Acme" || got.User != "bob" || got.Connection == nil || got.Connection.Status != "not_connected" || got.Connection.Reason != "no_connection" {
		t.Errorf("said %s", body)
	}
	if first := body[strings.Index(body, "http"):]; !strings.HasPrefix(first, link) {
		t.Errorf("the first link in the body is %.60s", first)
	}
	if !strings.Contains(got.Message, link) || got.Retry.When != "connected" || !got.Retry.SameRequest || got.Instructions == "" || got.Type != "urn:toolgate:problem:auth-required" || got.Error.Type != "auth_required" {
		t.Errorf("said %s", body)
	}
	h := res.Header
	if h.Get("Content-Type") != "application/json" || h.Get("Retry-After") != "" || h.Get("X-Should-Retry") != "false" || h.Get("Proxy-Status") == "" || h.Get("WWW-Authenticate") != "" {
		t.Errorf("with the header %v", h)
	}
}

func TestTheReasonSaysWhyTheUserHasToConnect(t *testing.T) {
	for reason, word := range map[connection.Reason]string{
		connection.NoConnection: "not connected", connection.RefreshRejected: "has ended", connection.NoRefreshToken: "has ended",
		connection.ProviderRejected: "does not accept", connection.GrantMoved: "another configuration", connection.SwitchedOff: "switched off",
	} {
		w := gatewaytest.New(t, gatewaytest.Options{})
		w.Credentials.Fail(&connection.Unusable{Status: connection.Expired, Reason: reason}, nil)
		if got := askBob(t, w, verdict{403, "auth_required", "authorize", string(reason)}); !strings.Contains(got.Detail, word) || got.Connection.Status != "expired" {
			t.Errorf("%s: %s", reason, got.Detail)
		}
	}
}

func TestWhoIsOnTheWayIsPending(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Links.Open()
	if got := askBob(t, w, verdict{403, "auth_required", "authorize", "connect_pending"}); got.Connection.Status != "pending" || got.ConnectURL == "" {
		t.Errorf("said %+v", got.Connection)
	}
	// Who has to connect again is not: the old grant says more.
	w.Credentials.Fail(&connection.Unusable{Status: connection.Expired, Reason: connection.RefreshRejected}, nil)
	if got := askBob(t, w, verdict{403, "auth_required", "authorize", "refresh_rejected"}); got.Connection.Status != "expired" {
		t.Errorf("said %+v", got.Connection)
	}
}

func TestAPassingFaultIsNeverAuthRequired(t *testing.T) {
	later := problem.New(problem.StorageUnavailable, "store", "Later.")
	for name, fail := range map[string]func(*gatewaytest.World){
		"the store":              func(w *gatewaytest.World) { w.Credentials.Fail(later, nil) },
		"the links' store":       func(w *gatewaytest.World) { w.Links.Fail(later) },
		"both of them, in truth": func(w *gatewaytest.World) { w.Links.Fail(later); w.Credentials.Fail(later, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			fail(w)
			if got := askBob(t, w, verdict{503, "storage_unavailable", "authorize", "store"}); got.ConnectURL != "" || got.Connection != nil {
				t.Errorf("said %+v", got)
			}
		})
	}
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Links.Fail(errors.New("marker-internal"))
	if got := askBob(t, w, verdict{500, "internal", "authorize", "unexpected"}); strings.Contains(got.Detail, "marker") {
		t.Errorf("said %+v", got)
	}
}

func TestTheOperatorMayChooseTheStatus(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.AuthRequiredStatus = 424 }})
	if got := askBob(t, w, verdict{424, "auth_required", "authorize", "no_connection"}); got.Status != 424 {
		t.Errorf("the body says %d", got.Status)
	}
}

func TestATokenGoesOnlyWhereItWasGrantedFor(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Credentials.Change("ada", "acme", func(c *connection.Connection) { c.Granted.Hosts = []string{"https://elsewhere.example"} })
	res, body := w.Get("/acme/user")
	refused(t, w, res, body, verdict{403, "auth_required", "authorize", "provider_config"})
	nothingLeft(t, w)
}

func TestWhatCannotBeRecordedDoesNotLeave(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Audit.Fail(errors.New("marker-disk is full"))
	for _, path := range []string{"/acme/user", "/weather/x", "/open/x"} {
		res, body := w.Get(path)
		refused(t, w, res, body, verdict{503, "audit_unavailable", "record", "audit"})
		if res.Header.Get("Retry-After") != "5" || strings.Contains(body, "disk") {
			t.Errorf("said %s", body)
		}
	}
	nothingLeft(t, w)
}

func TestTheAuditSaysWhatLeaves(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	res, _ := w.Do(w.Request("POST", w.H1+"/acme/~files/a%2Fb?token=in-the-query", strings.NewReader("body")))
	lines := w.Audit.Lines()
	if len(lines) != 1 {
		t.Fatalf("the audit has %+v", lines)
	}
	got := lines[0]
	if got.RequestID != res.Header.Get("X-Toolgate-Request-Id") || got.Tenant != "default" || got.Agent != "bot" || got.User != "ada" || got.Toolkit != "acme" ||
		got.Connection != "con_ada" || got.Method != "POST" || "http://"+got.Host != w.Provider.URL || got.Path != "/files/a%2Fb" || got.Time.IsZero() {
		t.Errorf("the audit says %+v", got)
	}
}

// The policy sees the address that will really be called.
func TestThePolicyDecidesOnTheRealAddress(t *testing.T) {
	var policy judging
	w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.Policy = &policy }})
	policy.verdict = problem.New(problem.ToolkitForbidden, "allow", "No.")
	res, body := w.Get("/acme/~files/x")
	refused(t, w, res, body, verdict{403, "toolkit_not_allowed", "admit", "allow"})
	nothingLeft(t, w)
	if policy.asked != "ada GET "+w.Provider.URL+"/files/x" {
		t.Errorf("asked about %s", policy.asked)
	}
}
