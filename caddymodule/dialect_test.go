// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// oddProvider is one that has no refresh tokens, renews at an address of its own by GET,
// and calls things differently. It hangs up on every renewal but the first.
type oddProvider struct {
	mu       sync.Mutex
	codes    int
	renewals []string
	calls    []string // the header that they came with
}

func (p *oddProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	switch r.URL.Path {
	case "/extra/authorize":
		if q.Get("client_key") != "odd-client" || q.Get("user_scope") != "a,b" || q.Has("code_challenge") {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, q.Get("redirect_uri")+"?code=odd-secret-code&state="+q.Get("state"), http.StatusFound)
	case "/extra/token":
		if p.codes++; r.PostFormValue("code") != "odd-secret-code" || r.PostFormValue("client_key") != "odd-client" || r.Header.Get("X-Version") != "7" {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, `{"result":{"access_token":"odd-secret-1","expires_in":"3600","scope":"a"}}`)
	case "/extra/refresh":
		if p.renewals = append(p.renewals, r.Method+" "+q.Get("grant_type")+" "+q.Get("odd_exchange")); len(p.renewals) > 1 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, `{"result":{"access_token":"odd-secret-2","expires_in":4}}`)
	default:
		p.calls = append(p.calls, r.Header.Get("X-Odd-Token"))
		fmt.Fprint(w, "hello")
	}
}

// The whole way with a provider that does everything differently, and not one of its
// secrets in the log, not even where the address of a request holds them and it fails.
func TestADialectWorksFromTheCaddyfileToTheCall(t *testing.T) {
	w := newWorld(t)
	odd := new(oddProvider)
	w.extra = odd
	log := filepath.Join(w.dir, "all.log")
	w.load(w.caddyfile(fmt.Sprintf("log {\n\t\toutput file %q\n\t\tlevel DEBUG\n\t}", log), fmt.Sprintf(`toolkit odd {
			base_url %[1]s/extra/api
			oauth2 {
				authorize_url %[1]s/extra/authorize
				token_url %[1]s/extra/token
				refresh_url %[1]s/extra/refresh
				client_id odd-client
				client_id_param client_key
				client_secret {env.ACME_CLIENT_SECRET}
				auth_style body
				scopes a b
				scope_separator ,
				scope_param user_scope
				pkce off
				token_header X-Version 7
				token_path result
				refresh_method GET
				refresh_grant_type odd_exchange_token
				refresh_token_param odd_exchange
				refresh_with access_token
				header X-Odd-Token
				prefix "Odd "
			}
		}`, w.origin), ""))
	_, body := w.call("GET", "/odd/me")
	var refusal struct {
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil {
		t.Fatal(body)
	}
	b := &person{t: t, cookies: map[string]map[string]string{}}
	if page := b.submit(b.get(refusal.ConnectURL), refusal.ConnectURL, ""); !strings.Contains(page, "onnected") {
		t.Fatal(page)
	}
	w.call("GET", "/odd/me")
	time.Sleep(2500 * time.Millisecond) // more than half its life: a renewal is tried, and fails
	if status, body := w.call("GET", "/odd/me"); status != http.StatusOK || body != "hello" {
		t.Errorf("%d %s", status, body)
	}
	_, state := w.call("GET", "/v1/connections/odd")
	if !strings.Contains(state, `"scopes_missing":["b"]`) {
		t.Errorf("the status: %s", state)
	}
	odd.mu.Lock()
	defer odd.mu.Unlock()
	if got := fmt.Sprint(odd.codes, odd.renewals, odd.calls); got != "1 [GET odd_exchange_token odd-secret-1 GET odd_exchange_token odd-secret-2] [Odd odd-secret-2 Odd odd-secret-2]" {
		t.Error(got)
	}
	text, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(text), "token refresh failed") || !strings.Contains(string(text), "connect: scopes_missing") {
		t.Errorf("the log: %v\n%s", err, text)
	}
	for _, bad := range []string{"odd-secret", clientSecret} {
		if strings.Contains(string(text), bad) {
			t.Errorf("the log holds %q:\n%s", bad, text)
		}
	}
}
