// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/toolgate/toolgate/caddymodule"
	"github.com/toolgate/toolgate/demo"
)

// TestMain lets the test binary be toolgate itself, for tests that need another process.
func TestMain(m *testing.M) {
	if os.Getenv("TOOLGATE_TEST_COMMAND") != "" {
		caddy.CustomBinaryName = "toolgate"
		for _, command := range caddymodule.Commands() {
			caddycmd.RegisterCommand(command)
		}
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}

// world is a real Caddy with Toolgate, and Acme beside it.
type world struct {
	t       testing.TB
	dir     string
	address string // of Toolgate: host:port on loopback
	acme    *demo.Provider
	origin  string // of Acme
	extra   http.Handler
}

const clientSecret = "acme-client-secret-0123456789"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), address: freeAddress(t)}
	t.Setenv("XDG_DATA_HOME", w.dir)
	t.Setenv("ACME_CLIENT_SECRET", clientSecret)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.extra != nil && strings.HasPrefix(r.URL.Path, "/extra/") {
			w.extra.ServeHTTP(rw, r)
			return
		}
		w.acme.ServeHTTP(rw, r)
	}))
	w.origin = "http://" + server.Listener.Addr().String()
	acme, err := demo.New(demo.Config{
		Origin: w.origin, ClientID: "toolgate", ClientSecret: clientSecret,
		RedirectURIs: []string{w.public() + "/callback/acme"}, AccessTTL: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.acme = acme
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(func() { _ = caddy.Stop() })
	return w
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) port() string {
	_, port, _ := net.SplitHostPort(w.address)
	return port
}

func (w *world) public() string { return "http://localhost:" + w.port() }

// caddyfile is the usual configuration, with more lines for the global options, the
// option toolgate and the site.
func (w *world) caddyfile(global, option, site string) string {
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 2s
	storage file_system %[1]s
	%[4]s
	toolgate {
		public_url %[2]s
		store file %[1]s/connections.db
		audit %[1]s/audit.log
		toolkit acme {
			name Acme
			base_url %[3]s
			oauth2 {
				issuer %[3]s
				authorize_url %[3]s/authorize
				token_url %[3]s/token
				client_id toolgate
				client_secret {env.ACME_CLIENT_SECRET}
				scopes read write offline_access
			}
			identity /v1/me email
		}
		%[5]s
	}
}

http://localhost:%[7]s, http://127.0.0.1:%[7]s {
	bind 127.0.0.1
	toolgate_connect
	%[6]s
	toolgate
}
`, w.dir, w.public(), w.origin, global, option, site, w.port())
}

func (w *world) load(caddyfile string) {
	w.t.Helper()
	if err := w.tryLoad(caddyfile); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tryLoad(caddyfile string) error {
	w.t.Helper()
	config, _, err := adapt(caddyfile)
	if err != nil {
		w.t.Fatal(err)
	}
	return caddy.Load(config, true)
}

// call sends a request as an agent for alice and gives the status and the body.
func (w *world) call(method, path string, header ...string) (int, string) {
	w.t.Helper()
	res := w.open(method, path, header...)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func (w *world) open(method, path string, header ...string) *http.Response {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	w.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, w.public()+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	// A connection of its own for each: one that is kept may be closed by a reload
	// in the moment in which it is used again.
	r.Close = true
	r.Header.Set("X-User-Id", "alice")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// connect goes the way of alice's browser from a refusal to the result page.
func (w *world) connect(header ...string) string {
	w.t.Helper()
	status, body := w.call("GET", "/acme/v1/me", header...)
	var refusal struct {
		Code       string
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || status != http.StatusForbidden || refusal.Code != "auth_required" {
		w.t.Fatalf("instead of auth_required: %d %s", status, body)
	}
	b := &person{t: w.t, cookies: map[string]map[string]string{}}
	page := b.get(refusal.ConnectURL)
	page = b.submit(page, refusal.ConnectURL, "")
	if _, body := w.call("GET", "/acme/v1/me", header...); strings.Contains(body, "no_connection") {
		w.t.Errorf("while the user is on the way: %s", body)
	}
	page = b.submit(page, b.at, "login")
	return b.submit(page, b.at, "allow")
}

// person is a browser that follows redirects and keeps cookies. net/http's own jar
// refuses Secure cookies over http, which browsers take from loopback.
type person struct {
	t       testing.TB
	cookies map[string]map[string]string // by host:port
	at      string
}

func (p *person) get(address string) string { return p.do("GET", address, nil) }

var formToken = regexp.MustCompile(`name="(token|csrf)" value="([^"]+)"`)

// submit sends the page's form, with Acme's fields where an action is named.
func (p *person) submit(page, address, action string) string {
	p.t.Helper()
	found := formToken.FindStringSubmatch(page)
	if found == nil {
		p.t.Fatalf("no form at %s:\n%s", p.at, page)
	}
	form := url.Values{found[1]: {found[2]}}
	if action != "" {
		form.Set("action", action)
	}
	if action == "login" {
		form.Set("user", "alice")
		form.Set("password", "demo")
	}
	return p.do("POST", address, form)
}

func (p *person) do(method, address string, form url.Values) string {
	p.t.Helper()
	for range 10 {
		r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
		if err != nil {
			p.t.Fatal(err)
		}
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for name, value := range p.cookies[r.URL.Host] {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			p.t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		for _, c := range res.Cookies() {
			if p.cookies[r.URL.Host] == nil {
				p.cookies[r.URL.Host] = map[string]string{}
			}
			p.cookies[r.URL.Host][c.Name] = c.Value
		}
		p.at = address
		location := res.Header.Get("Location")
		if location == "" {
			return string(body)
		}
		next, err := r.URL.Parse(location)
		if err != nil {
			p.t.Fatal(err)
		}
		method, address, form = "GET", next.String(), nil
	}
	p.t.Fatalf("too many redirects at %s", address)
	return ""
}

func TestTheWholeStory(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	if page := w.connect(); !strings.Contains(page, "Connected as alice@acme.example") {
		t.Fatalf("the result page: %s", page)
	}
	if status, body := w.call("GET", "/acme/v1/me"); status != 200 || !strings.Contains(body, "alice@acme.example") {
		t.Fatalf("after connecting: %d %s", status, body)
	}
	if status, body := w.call("GET", "/v1/connections/acme"); status != 200 || !strings.Contains(body, `"status":"active"`) {
		t.Errorf("the status: %d %s", status, body)
	}
	if status, _ := w.call("GET", "/acme/v1/me", "X-User-Id", "bob"); status != http.StatusForbidden {
		t.Errorf("bob uses alice's connection: %d", status)
	}
	w.acme.ExpireAccessTokens()
	if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
		t.Errorf("after the token was expired: %d %s", status, body)
	}
	if stats := w.acme.Stats(); stats.Refreshes != 1 || stats.ReuseDetections != 0 {
		t.Errorf("at the provider: %+v", stats)
	}
	w.acme.RevokeUser("alice")
	if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusForbidden || !strings.Contains(body, "refresh_rejected") {
		t.Errorf("after the user took the grant back: %d %s", status, body)
	}
	if page := w.connect(); !strings.Contains(page, "Connected as alice@acme.example") {
		t.Errorf("connecting again: %s", page)
	}
	if status, _ := w.call("GET", "/acme/v1/me"); status != 200 {
		t.Errorf("after connecting again: %d", status)
	}
}

func TestConnectionsOutliveTheProcess(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.load(w.caddyfile("", "", ""))
	if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
		t.Errorf("after a restart: %d %s", status, body)
	}
}

func TestAReloadHarmsNoOpenStream(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(rw, "data: first\n\n")
		rw.(http.Flusher).Flush()
		<-release
		fmt.Fprint(rw, "data: second\n\n")
	})
	w.load(w.caddyfile("", "", ""))
	w.connect()
	res := w.open("GET", "/acme/extra/events")
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "data: first" {
		t.Fatalf("the first event: %q", lines.Text())
	}
	w.load(w.caddyfile("", "agent later {\n\t\t\tkey {env.LATER_KEY}\n\t\t}", ""))
	if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusUnauthorized {
		t.Errorf("the new configuration wants a key: %d %s", status, body)
	}
	close(release)
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if got := strings.Join(rest, "|"); got != "|data: second|" || lines.Err() != nil {
		t.Errorf("the rest of the stream: %q, %v", got, lines.Err())
	}
	w.load(w.caddyfile("", "", ""))
	if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
		t.Errorf("the connection after two reloads: %d %s", status, body)
	}
}

func TestAFailedReloadChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	for _, broken := range []string{
		w.caddyfile("", "encryption_key {env.NOT_SET}", ""),                               // fails in Start
		w.caddyfile("", "toolkit nowhere {\n\t\t\tapi_key {env.X}\n\t\t}", ""),            // fails in Provision
		strings.Replace(w.caddyfile("", "", ""), "connections.db", "no/such\x00/file", 1), // another store, which cannot be opened
	} {
		if err := w.tryLoad(broken); err == nil {
			t.Errorf("this loads:\n%s", broken)
		}
		if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
			t.Errorf("after a reload that failed: %d %s", status, body)
		}
	}
}

func TestNoSecretIsInTheLogsOrTheConfiguration(t *testing.T) {
	w := newWorld(t)
	const key = "tgk_0123456789abcdef0123456789abcdef"
	t.Setenv("BOT_KEY", key)
	log := filepath.Join(w.dir, "all.log")
	w.load(w.caddyfile(fmt.Sprintf("log {\n\t\toutput file %q\n\t\tlevel DEBUG\n\t}", log),
		"agent bot {\n\t\t\tkey {env.BOT_KEY}\n\t\t\tacts_for any\n\t\t}", "log"))
	w.connect("Authorization", "Bearer "+key)
	w.acme.ExpireAccessTokens()
	if status, body := w.call("GET", "/acme/v1/me", "Authorization", "Bearer "+key); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"all.log", "audit.log", "connections.db"} {
		text, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil || len(text) == 0 {
			t.Fatalf("%s: %d bytes, %v", name, len(text), err)
		}
		for _, secret := range []string{key, clientSecret, "acme_at_", "acme_rt_", "code=", "state=", "/connect/c_"} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s holds %s", name, secret)
			}
		}
	}
}
