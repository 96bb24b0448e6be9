// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/demo"
)

// world is a real Caddy with Toolgate, and Acme beside it.
type world struct {
	t       testing.TB
	dir     string
	address string // of Toolgate: host:port on loopback
	acme    *demo.Provider
	origin  string // of Acme
	extra   http.Handler
	// front comes before all of it, and decides whether next is called.
	front func(rw http.ResponseWriter, r *http.Request, next http.Handler)
	conns atomic.Int64 // open connections to Acme
}

const clientSecret = "acme-client-secret-0123456789"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), address: freeAddress(t)}
	t.Setenv("XDG_DATA_HOME", w.dir)
	t.Setenv("ACME_CLIENT_SECRET", clientSecret)
	inner := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.extra != nil && strings.HasPrefix(r.URL.Path, "/extra/") {
			w.extra.ServeHTTP(rw, r)
			return
		}
		w.acme.ServeHTTP(rw, r)
	})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.front != nil {
			w.front(rw, r, inner)
			return
		}
		inner.ServeHTTP(rw, r)
	}))
	server.Listener = countingListener{server.Listener, &w.conns}
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

// countingListener knows how many of its connections are open, upgraded ones too.
type countingListener struct {
	net.Listener
	open *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &countedConn{Conn: c, gone: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
}

type countedConn struct {
	net.Conn
	gone func()
}

func (c *countedConn) Close() error {
	defer c.gone()
	return c.Conn.Close()
}

// freeAddress gives a port that nobody listens on and that no connection of a client's
// gets from the kernel, which gives those from 32768 on (Linux) or 49152 on: a port
// that was free a moment ago would otherwise be one of theirs now and then.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(17000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("no port is free")
	return ""
}

func (w *world) port() string {
	_, port, _ := net.SplitHostPort(w.address)
	return port
}

func (w *world) public() string { return "http://localhost:" + w.port() }

// caddyfile is the usual configuration, with more lines for the global options, the
// option toolgate and the site.
func (w *world) caddyfile(global, option, site string) string {
	if !strings.Contains(global, "servers {") { // of which Caddy takes one
		global += "\n\tservers {\n\t\tlistener_wrappers {\n\t\t\ttoolgate\n\t\t\ttls\n\t\t}\n\t}"
	}
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
				revoke_url %[3]s/revoke
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
	name    string            // and password, at sites that ask for it by HTTP Basic
	status  int               // of the last answer
	via     http.RoundTripper // nil: net/http's
}

func (p *person) get(address string) string { return p.do("GET", address, nil) }

var formToken = regexp.MustCompile(`name="(token|csrf)" value="([^"]+)"`)

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// formOf is what a page's form holds before anybody has filled it in.
func formOf(t testing.TB, page, at string) url.Values {
	t.Helper()
	form := url.Values{}
	page, _, _ = strings.Cut(page, "</form>") // the first one's
	for _, field := range hiddenField.FindAllStringSubmatch(page, -1) {
		form.Set(field[1], field[2])
	}
	if len(form) == 0 {
		t.Fatalf("no form at %s:\n%s", at, page)
	}
	return form
}

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
		if p.name != "" {
			r.SetBasicAuth(p.name, "pw-"+p.name)
		}
		var way http.RoundTripper = http.DefaultTransport
		if p.via != nil {
			way = p.via
		}
		res, err := way.RoundTrip(r)
		if err != nil {
			p.t.Fatal(err)
		}
		p.status = res.StatusCode
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
