// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// keyProvider is an API that takes keys, and shows in each answer what it was sent.
type keyProvider struct {
	mu    sync.Mutex
	good  []string // the key that it takes, part by part
	away  bool
	calls []string // the paths
}

func (p *keyProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, r.URL.Path)
	sent := append(r.Header["X-First-Key"], r.URL.Query()["second"]...)
	switch {
	case p.away:
		http.Error(w, "later", http.StatusServiceUnavailable)
	case r.URL.Path == "/extra/moved" || !slices.Equal(sent, p.good):
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/extra/api/redirect":
		http.Redirect(w, r, "/extra/moved", http.StatusFound)
	default:
		fmt.Fprintf(w, `{"email":"ada@example.com","sent":%q,"address":%q}`, sent, r.URL.String())
	}
}

func (p *keyProvider) takes(key ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good = key
}

func (p *keyProvider) isAway(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}

// keyUser is alice, whom an agent's call sends to enter a key.
type keyUser struct {
	*person
	w *world
}

// refused makes a call that ends in auth_required, and gives the link.
func (u keyUser) refused(reason string) string {
	u.t.Helper()
	status, body := u.w.call("GET", "/keyed/me")
	var refusal struct {
		Code       string
		ConnectURL string `json:"connect_url"`
		Connection struct{ Reason string }
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || status != http.StatusForbidden || refusal.Code != "auth_required" || refusal.Connection.Reason != reason {
		u.t.Fatalf("instead of auth_required for %s: %d %s", reason, status, body)
	}
	return refusal.ConnectURL
}

// enter opens the link, fills in the form, and gives the page that follows.
func (u keyUser) enter(link string, fields ...string) string {
	u.t.Helper()
	page := u.get(link)
	form := formOf(u.t, page, link)
	for i := 0; i < len(fields); i += 2 {
		if !strings.Contains(page, `name="`+fields[i]+`"`) {
			u.t.Errorf("no field %s:\n%s", fields[i], page)
		}
		form.Set(fields[i], fields[i+1])
	}
	return u.do("POST", link, form)
}

func (u keyUser) sees(page string, texts ...string) {
	u.t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			u.t.Errorf("the page does not say %q:\n%s", text, page)
		}
	}
}

// keyWorld is a world with the toolkit keyed, and a log of everything.
func keyWorld(t *testing.T, toolkit string) (*world, *keyProvider, keyUser, string) {
	w := newWorld(t)
	provider := new(keyProvider)
	w.extra = provider
	log := filepath.Join(w.dir, "all.log")
	w.load(w.caddyfile(fmt.Sprintf("log {\n\t\toutput file %q\n\t\tlevel DEBUG\n\t}", log), fmt.Sprintf("toolkit keyed {\n\t\t\tname Keyed\n\t\t\tbase_url %s/extra/api\n%s\n\t\t}", w.origin, toolkit), "log"))
	return w, provider, keyUser{&person{t: t, cookies: map[string]map[string]string{}}, w}, log
}

// wantNowhere looks for secrets in everything that was written down.
func (w *world) wantNowhere(log string, secrets ...string) {
	w.t.Helper()
	for _, file := range []string{log, filepath.Join(w.dir, "audit.log"), filepath.Join(w.dir, "connections.db")} {
		text, err := os.ReadFile(file)
		if err != nil || len(text) == 0 {
			w.t.Errorf("%s: %d bytes, %v", file, len(text), err)
		}
		for _, secret := range secrets {
			if strings.Contains(string(text), secret) {
				w.t.Errorf("%s holds %s", file, secret)
			}
		}
	}
}

func TestAUsersKeyWorksFromTheCaddyfileToTheCall(t *testing.T) {
	w, provider, alice, log := keyWorld(t, `api_key per_user {
				header X-First-Key
				help "It begins with key."
				help_url https://example.com/keys
			}
			identity /me email`)
	const first, second, wrong = "key-first-0123456789", "key-second-0123456789", "key-wrong-0123456789"
	provider.takes(first)
	link := alice.refused("no_connection")
	alice.sees(alice.get(link), "Connect Keyed?", "It begins with key.", `href="https://example.com/keys"`, `type="password"`)
	alice.sees(alice.enter(link, "key.key", wrong), "Connect Keyed?", "does not accept what you entered")
	provider.isAway(true)
	alice.sees(alice.enter(link, "key.key", first), "Connect Keyed?", "could not be asked")
	provider.isAway(false)
	alice.refused("no_connection")
	alice.sees(alice.enter(link, "key.key", first), "Connected as ada@example.com")

	masked := strings.Repeat("*", len(first))
	if status, body := w.call("GET", "/keyed/me", "X-First-Key", "the-agents-own"); status != http.StatusOK || !strings.Contains(body, `"sent":["`+masked+`"]`) {
		t.Errorf("the call: %d %s", status, body)
	}
	if status, body := w.call("GET", "/v1/connections/keyed"); status != http.StatusOK || !strings.Contains(body, `"status":"active","account":"ada@example.com"`) {
		t.Errorf("the status: %d %s", status, body)
	}
	if status, _ := w.call("GET", "/keyed/me", "X-User-Id", "bob"); status != http.StatusForbidden {
		t.Errorf("bob uses alice's key: %d", status)
	}

	provider.takes(second) // alice has made a new key, and the old one is void
	link = alice.refused("provider_rejected_token")
	alice.sees(alice.enter(link, "key.key", second), "Connected as ada@example.com")
	if status, body := w.call("GET", "/keyed/me"); status != http.StatusOK {
		t.Errorf("with the new key: %d %s", status, body)
	}
	w.wantNowhere(log, first, second, wrong)
}

func TestAKeyOfSeveralFieldsWorksFromTheCaddyfileToTheCall(t *testing.T) {
	w, provider, alice, log := keyWorld(t, `api_key per_user {
				field first "First key" {
					header X-First-Key
				}
				field second "Second key" {
					query second
				}
			}
			probe /ping?deep=1`)
	const first, second = "key-first-0123456789", "key-second&0123456789"
	provider.takes(first, second)
	link := alice.refused("no_connection")
	alice.sees(alice.enter(link, "key.first", first), "Something is missing")
	alice.sees(alice.enter(link, "key.first", second, "key.second", first), "does not accept what you entered")
	alice.sees(alice.enter(link, "key.first", first, "key.second", second), "Keyed is connected")
	status, body := w.call("GET", "/keyed/me?a=b&second=the-agents-own")
	if status != http.StatusOK || strings.Contains(body, "key-") || strings.Contains(body, "own") || !strings.Contains(body, `?a=b\u0026second=***`) && !strings.Contains(body, `?a=b&second=***`) {
		t.Errorf("the call: %d %s", status, body)
	}
	if got := provider.calls; !slices.Equal(got, []string{"/extra/api/ping", "/extra/api/ping", "/extra/api/me"}) {
		t.Errorf("the provider was asked %q", got)
	}
	provider.takes("another", "one")
	alice.refused("provider_rejected_token")
	w.wantNowhere(log, first, second, "key-second%260123456789")
}

func TestACheckFollowsNoRedirect(t *testing.T) {
	_, provider, alice, _ := keyWorld(t, `api_key per_user {
				header X-First-Key
			}
			probe /redirect`)
	provider.takes("key-first-0123456789")
	alice.sees(alice.enter(alice.refused("no_connection"), "key.key", "key-first-0123456789"), "does not say whether this is right")
	if got := provider.calls; !slices.Equal(got, []string{"/extra/api/redirect"}) {
		t.Errorf("the provider was asked %q", got)
	}
	alice.refused("no_connection")
}
