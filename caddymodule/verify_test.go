// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// signedInSite asks for a name and a password on the pages alone.
const signedInSite = `@pages path /connect /connect/* /callback/* /connections
	basic_auth @pages {
		alice $2a$04$m4h6IE9kuRr/hJiMeyGgmOotIrVWMWVczJFMlCQ2swtrKcWahPHxu
		bob $2a$04$Q1lVlkc3eWjWXLWTEQ3X4ek7SZhWGyeTrzmVs2biqDFiAfNxOskhq
	}`

func TestAHandlerInFrontSaysWhoItIs(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "verify_user caddy_auth {http.auth.user.id}", signedInSite))
	link := w.connectURL()
	p := newPerson(t)
	if p.get(link); p.status != http.StatusUnauthorized {
		t.Errorf("without a name: %d", p.status)
	}
	p.name = "bob"
	if page := p.get(link); p.status != http.StatusForbidden || !strings.Contains(page, "This link is for somebody else") {
		t.Errorf("bob: %d\n%s", p.status, page)
	}
	p.name = "alice"
	w.connects(p, link)
}

// connectURL is the link that alice's agent gets.
func (w *world) connectURL() string {
	w.t.Helper()
	_, body := w.call("GET", "/acme/v1/me")
	var refusal struct {
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || refusal.ConnectURL == "" {
		w.t.Fatal(body)
	}
	return refusal.ConnectURL
}

func newPerson(t testing.TB) *person { return &person{t: t, cookies: map[string]map[string]string{}} }

// connects goes the whole way from a link whose page may be seen, and makes a call.
func (w *world) connects(p *person, link string) {
	w.t.Helper()
	page := p.submit(p.get(link), link, "")
	page = p.submit(page, p.at, "login")
	page = p.submit(page, p.at, "allow")
	if !strings.Contains(page, "Connected as") {
		w.t.Fatalf("at the end:\n%s", page)
	}
	if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusOK {
		w.t.Errorf("the call: %d %s", status, body)
	}
}

// application is the operator's, where people are signed in by a cookie.
type application struct {
	w    *world
	user string // who is
}

func (a *application) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	said, _ := json.Marshal(map[string]string{"flow_id": r.URL.Query().Get("flow_id"), "user_id": a.user})
	ask, _ := http.NewRequest("POST", a.w.public()+"/v1/confirm_user", bytes.NewReader(said))
	ask.Header.Set("Authorization", "Bearer "+os.Getenv("CONFIRM_KEY"))
	res, err := http.DefaultClient.Do(ask)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	var answer struct {
		NextURI string `json:"next_uri"`
		Code    string `json:"code"`
	}
	_ = json.NewDecoder(res.Body).Decode(&answer)
	if answer.NextURI == "" {
		http.Error(rw, answer.Code, res.StatusCode)
		return
	}
	http.Redirect(rw, r, answer.NextURI, http.StatusSeeOther)
}

func TestTheOperatorsApplicationSaysWhoItIs(t *testing.T) {
	w := newWorld(t)
	t.Setenv("CONFIRM_KEY", "marker-confirm-key")
	app := &application{w, "bob"}
	w.extra = app
	log := filepath.Join(w.dir, "all.log")
	global := fmt.Sprintf("log {\n\t\toutput file %q\n\t\tlevel DEBUG\n\t}", log)
	w.load(w.caddyfile(global, fmt.Sprintf("verify_user callback %s/extra/verify {\n\t\t\tkey {env.CONFIRM_KEY}\n\t\t}", w.origin), ""))
	link := w.connectURL()
	p := newPerson(t)
	page := p.get(link)
	if !strings.Contains(page, "Is it you?") {
		t.Fatal(page)
	}
	signIn := formOf(t, page, link)
	if page := p.do("POST", link, signIn); p.status != http.StatusForbidden || !strings.Contains(page, "user_mismatch") {
		t.Errorf("bob: %d %s", p.status, page)
	}
	app.user = "alice"
	if page := p.do("POST", link, formOf(t, p.get(link), link)); !strings.Contains(page, "Connect Acme?") {
		t.Fatalf("alice: %d\n%s", p.status, page)
	}
	w.connects(p, link)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range append([]string{"marker-confirm-key", "proof=", "flow_id="}, strings.TrimPrefix(link, w.public()+"/connect/")) {
		if strings.Contains(string(text), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if !strings.Contains(string(text), "other_user") {
		t.Error("the log does not tell of bob")
	}
}

func TestAnEmptySecretLetsNobodyIn(t *testing.T) {
	w := newWorld(t)
	t.Setenv("CONFIRM_KEY", "")
	w.extra = &application{w, "alice"}
	w.load(w.caddyfile("", fmt.Sprintf("verify_user callback %s/extra/verify {\n\t\t\tkey {env.CONFIRM_KEY}\n\t\t}", w.origin), ""))
	link := w.connectURL()
	p := newPerson(t)
	if page := p.do("POST", link, formOf(t, p.get(link), link)); p.status != http.StatusUnauthorized {
		t.Errorf("%d %s", p.status, page)
	}
}

func TestAPersonTakesBackWhatIsConnected(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "verify_user caddy_auth {http.auth.user.id}", signedInSite))
	p := newPerson(t)
	p.name = "alice"
	w.connects(p, w.connectURL())
	page := p.get(w.public() + "/connections")
	if !strings.Contains(page, "alice@acme.example") {
		t.Fatalf("%d\n%s", p.status, page)
	}
	if page = p.do("POST", w.public()+"/connections", formOf(t, page, p.at)); !strings.Contains(page, "taken back at the other service too") {
		t.Fatalf("%d\n%s", p.status, page)
	}
	if n := w.acme.Stats().Revocations; n != 1 {
		t.Errorf("%d revocations at Acme", n)
	}
	if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusForbidden || !strings.Contains(body, "auth_required") {
		t.Errorf("the next call: %d %s", status, body)
	}
	w.connects(p, w.connectURL())
}
