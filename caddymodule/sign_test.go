// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestATokenIsRenewedWhereTheAPISaysSoInItsOwnWay(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	ended := ""
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		token := r.Header.Get("Authorization")
		if ended == "" {
			ended = token
		}
		rw.Header().Set("Content-Type", "application/json")
		if token == ended {
			_, _ = io.WriteString(rw, `{"ok":false,"error":"token_expired"}`)
			return
		}
		_, _ = io.WriteString(rw, `{"ok":true}`)
	})
	const scopes = "scopes read write offline_access"
	w.load(strings.Replace(w.caddyfile("", "", ""), scopes, scopes+"\n\t\t\t\trefused_when 200 error token_expired", 1))
	w.connect()
	if status, body := w.call("POST", "/acme/extra/chat.postMessage"); status != 200 || body != `{"ok":true}` {
		t.Errorf("%d %s", status, body)
	}
	if n := w.acme.Stats().Refreshes; n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

func TestAMissingScopeLeadsToALinkWhereTheAPISaysSoInItsOwnWay(t *testing.T) {
	w := newWorld(t)
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"read,write"}`)
	})
	const scopes = "scopes read write offline_access"
	w.load(strings.Replace(w.caddyfile("", "", ""), scopes, scopes+"\n\t\t\t\tscope_missing_when 200 error missing_scope needed provided", 1))
	w.connect()
	status, body := w.call("POST", "/acme/extra/chat.postMessage")
	for _, part := range []string{`"code":"auth_required"`, `"reason":"insufficient_scope"`, `"scopes_missing":["chat:write"]`, `"connect_url":"http`} {
		if status != 403 || !strings.Contains(body, part) {
			t.Errorf("%d, and %s is not in %s", status, part, body)
		}
	}
	if n := w.acme.Stats().Refreshes; n != 0 {
		t.Errorf("%d refreshes", n)
	}
}
