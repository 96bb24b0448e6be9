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
