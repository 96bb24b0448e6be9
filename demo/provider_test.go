// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	origin   = "http://127.0.0.1:9090"
	callback = "http://localhost:8080/callback/acme"
	clientID = "toolgate"
	// A secret that the form encoding inside Basic changes.
	clientSecret = "s3cr:t/with +%41"
	verifier     = "a-verifier-that-is-long-enough-for-rfc7636-ok"
	allScopes    = "read write offline_access"
)

// world is Acme with a clock that stands still, and one browser.
type world struct {
	*testing.T
	*Provider
	cfg    Config
	cookie string
	mu     sync.Mutex
	now    time.Time
}

func newWorld(t *testing.T, edit ...func(*Config)) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)}
	w.cfg = Config{
		Origin:       origin,
		ClientID:     clientID,
		ClientSecret: clientSecret,
		RedirectURIs: []string{callback, "https://app.example/cb?tenant=a"},
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		},
	}
	for _, e := range edit {
		e(&w.cfg)
	}
	w.restart()
	return w
}

func (w *world) restart() {
	w.Helper()
	p, err := New(w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Provider, w.cookie = p, ""
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec
}

// browse sends a request as the browser, which keeps the cookie.
func (w *world) browse(method, target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if w.cookie != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: w.cookie})
	}
	rec := w.do(r)
	for _, c := range rec.Result().Cookies() {
		w.cookie = c.Value
	}
	return rec
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// address is a good authorization request, after edits such as "scope=read";
// "scope=" takes the parameter away.
func address(edits ...string) string {
	q := url.Values{
		"client_id":             {clientID},
		"redirect_uri":          {callback},
		"response_type":         {"code"},
		"scope":                 {allScopes},
		"state":                 {"st4te&+ "},
		"code_challenge":        {challengeOf(verifier)},
		"code_challenge_method": {"S256"},
	}
	for _, e := range edits {
		name, value, _ := strings.Cut(e, "=")
		if q.Set(name, value); value == "" {
			q.Del(name)
		}
	}
	return "/authorize?" + q.Encode()
}

func csrfIn(page string) string {
	found := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(page)
	if found == nil {
		return ""
	}
	return found[1]
}

// act opens the page at target and presses one of its buttons.
func (w *world) act(target, action string, more ...string) *httptest.ResponseRecorder {
	form := url.Values{"csrf": {csrfIn(w.browse("GET", target, nil).Body.String())}, "action": {action}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return w.browse("POST", target, form)
}

func (w *world) signInAs(user string) {
	w.Helper()
	if rec := w.act(address(), "login", "user", user, "password", "demo"); rec.Code != http.StatusSeeOther {
		w.Fatalf("signing in: %d %s", rec.Code, rec.Body)
	}
}

// codeFor goes all the way to a code.
func (w *world) codeFor(user string, edits ...string) string {
	w.Helper()
	w.cookie = ""
	w.signInAs(user)
	code := w.sentBack(w.act(address(edits...), "allow")).Get("code")
	if code == "" {
		w.Fatal("no code came back")
	}
	return code
}

// sentBack reads the answer that a redirect takes to the client.
func (w *world) sentBack(rec *httptest.ResponseRecorder) url.Values {
	w.Helper()
	to, err := rec.Result().Location()
	if rec.Code != http.StatusSeeOther || err != nil {
		w.Fatalf("want a redirect to the client, got %d %s", rec.Code, rec.Body)
	}
	if !slices.ContainsFunc(w.cfg.RedirectURIs, func(uri string) bool { return strings.HasPrefix(to.String(), uri) }) {
		w.Fatalf("sent to %s", to)
	}
	return to.Query()
}

// post sends a form as the client; pairs are names and values.
func (w *world) post(path string, pairs ...string) *httptest.ResponseRecorder {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret))
	return w.do(r)
}

func (w *world) redeemCode(code string) *httptest.ResponseRecorder {
	return w.post("/token", "grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)
}

func (w *world) refreshWith(token string) *httptest.ResponseRecorder {
	return w.post("/token", "grant_type", "refresh_token", "refresh_token", token)
}

func (w *world) tokensIn(rec *httptest.ResponseRecorder) tokens {
	w.Helper()
	var got tokens
	if rec.Code != http.StatusOK {
		w.Fatalf("want tokens, got %d %s", rec.Code, rec.Body)
	}
	decode(w.T, rec, &got)
	return got
}

func (w *world) tokensFor(user string, edits ...string) tokens {
	w.Helper()
	return w.tokensIn(w.redeemCode(w.codeFor(user, edits...)))
}

func (w *world) call(method, target, token string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, body)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return w.do(r)
}

func (w *world) works(token string) bool {
	return w.call("GET", "/v1/me", token, nil).Code == http.StatusOK
}

func decode(t *testing.T, rec *httptest.ResponseRecorder, into any) {
	t.Helper()
	if kind := rec.Header().Get("Content-Type"); kind != "application/json" {
		t.Errorf("Content-Type %q", kind)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil {
		t.Fatalf("%v in %s", err, rec.Body)
	}
}

func wantError(t *testing.T, rec *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	var got struct {
		Error string `json:"error"`
		Why   string `json:"error_description"`
	}
	decode(t, rec, &got)
	if rec.Code != status || got.Error != code || got.Why == "" {
		t.Errorf("got %d %+v, want %d %s", rec.Code, got, status, code)
	}
	if rec.Header().Get("Cache-Control") != "no-store" {
		t.Error("an error may be cached")
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"no origin":                func(c *Config) { c.Origin = "" },
		"origin with slash":        func(c *Config) { c.Origin += "/" },
		"origin without scheme":    func(c *Config) { c.Origin = "127.0.0.1:9090" },
		"no client id":             func(c *Config) { c.ClientID = "" },
		"no client secret":         func(c *Config) { c.ClientSecret = "" },
		"no redirect URI":          func(c *Config) { c.RedirectURIs = nil },
		"relative redirect URI":    func(c *Config) { c.RedirectURIs = []string{"/callback"} },
		"redirect URI of a script": func(c *Config) { c.RedirectURIs = []string{"javascript:alert(1)"} },
		"redirect with fragment":   func(c *Config) { c.RedirectURIs = []string{callback + "#x"} },
		"negative life":            func(c *Config) { c.AccessTTL = -1 },
		"folder that is not there": func(c *Config) { c.StatePath = t.TempDir() + "/none/state.json" },
	} {
		cfg := newWorld(t).cfg
		edit(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTheMetadataNamesEveryEndpoint(t *testing.T) {
	w := newWorld(t)
	var got map[string]any
	decode(t, w.do(httptest.NewRequest("GET", "/.well-known/oauth-authorization-server", nil)), &got)
	for name, want := range map[string]any{
		"issuer":                 origin,
		"authorization_endpoint": origin + "/authorize",
		"token_endpoint":         origin + "/token",
		"revocation_endpoint":    origin + "/revoke",
		"authorization_response_iss_parameter_supported": true,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

func TestTheCountersTellWhatHappened(t *testing.T) {
	w := newWorld(t)
	first := w.tokensFor("alice")
	second := w.tokensIn(w.refreshWith(first.RefreshToken))
	w.works(second.AccessToken)
	w.works("acme_at_wrong")
	w.refreshWith(first.RefreshToken)
	w.post("/revoke", "token", w.tokensFor("bob").AccessToken)
	w.post("/revoke", "token", "nothing of ours")
	want := Stats{TokenRequests: 4, Refreshes: 1, ReuseDetections: 1, APICalls: 2, APIRefusals: 1, Revocations: 1}
	if got := w.Stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
