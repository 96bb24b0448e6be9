// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestAnOperatorSeesAndResetsABreaker(t *testing.T) {
	w := newWorld(t)
	s := serveConfig(t, w, w.caddyfile("", "toolkit dead {\n\t\t\tbase_url http://"+freeAddress(t)+"\n\t\t\tno_auth\n\t\t}", ""), "ACME_CLIENT_SECRET="+clientSecret)
	for range 5 {
		if status, body := w.call("GET", "/dead/x"); status != http.StatusBadGateway {
			t.Fatalf("%d %s", status, body)
		}
	}
	status, body := w.call("GET", "/dead/x")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"circuit_open"`) || !strings.Contains(body, `"step":"admit"`) {
		t.Errorf("%d %s", status, body)
	}
	s.succeeds(t, "open, a call is let through in", "breaker", "list")
	s.fails(t, "say which", "breaker", "reset")
	s.fails(t, "say which", "breaker", "reset", "--all", "dead")
	s.fails(t, "there is no toolkit other", "breaker", "reset", "other")
	s.succeeds(t, "0 breakers closed", "breaker", "reset", "acme")
	s.succeeds(t, "1 breaker closed", "breaker", "reset", "dead")
	if status, _ := w.call("GET", "/dead/x"); status != http.StatusBadGateway {
		t.Errorf("after the reset: %d", status)
	}
	if !strings.Contains(s.printed.String(), "a provider keeps failing") {
		t.Error("the log does not tell of it")
	}
	s.stop(t)
	s.fails(t, "no gateway runs", "breaker", "list")
}
