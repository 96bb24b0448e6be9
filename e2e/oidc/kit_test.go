// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long anything may take before it counts as never.
const patience = 30 * time.Second

// bin is where the two programs are built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "toolgate-oidc-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		for _, build := range [][]string{
			{"build", "-C", "../..", "-o", filepath.Join(dir, "toolgate"), "./cmd/toolgate"},
			{"build", "-o", filepath.Join(dir, "provider"), "github.com/zitadel/oidc/v3/example/server"},
		} {
			if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "go %s: %v\n%s", strings.Join(build, " "), err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// world is the provider, something in front of it that looks on, and Toolgate.
type world struct {
	t        *testing.T
	provider string // its origin
	gateway  string // where agents and browsers reach Toolgate
	user     string // whom the agent acts for

	mu        sync.Mutex
	access    string // the latest access token
	refreshes int
	refused   int // answers 401 of the API
	hold      chan struct{}
	held      chan struct{}
}

const clientSecret = "secret" // the example server's own

// newWorld starts all of it, with more lines for the option toolgate and what names the
// account.
func newWorld(t *testing.T, option, identity string) *world {
	t.Helper()
	w := &world{t: t, user: "alice", held: make(chan struct{}, 100)}
	providerPort, gatewayPort := freePort(t), freePort(t)
	w.provider, w.gateway = "http://localhost:"+providerPort, "http://localhost:"+gatewayPort
	front := httptest.NewServer(w.lookOn())
	t.Cleanup(front.Close)
	w.run("provider", []string{"PORT=" + providerPort, "REDIRECT_URI=" + w.gateway + "/callback/zitadel," + w.gateway + "/signin"})
	dir := t.TempDir()
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(caddyfile, dir, w.gateway, front.URL, w.provider, gatewayPort, strings.ReplaceAll(option, "ISSUER", w.provider+"/"), identity)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("toolgate", []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "PROVIDER_SECRET=" + clientSecret}, "run", "--config", config, "--adapter", "caddyfile")
	w.answers(w.provider + "/.well-known/openid-configuration")
	w.answers(w.gateway + "/")
	return w
}

const caddyfile = `{
	admin off
	persist_config off
	grace_period 1s
	toolgate {
		public_url %[2]s
		store file %[1]s/connections.db
		%[6]s
		toolkit zitadel {
			base_url %[3]s
			oauth2 {
				issuer %[4]s/
				authorize_url %[4]s/auth
				token_url %[3]s/oauth/token
				client_id web
				client_secret {env.PROVIDER_SECRET}
				scopes openid profile email offline_access
			}
			identity %[7]s
		}
	}
}

http://localhost:%[5]s {
	bind 127.0.0.1
	toolgate_connect
	toolgate
}
`

// lookOn is an API whose tokens are the provider's, and stands in front of the token
// endpoint. It holds calls up where a test wants that.
func (w *world) lookOn() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /me", w.me)
	target, _ := url.Parse(w.provider)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = w.note
	mux.HandleFunc("POST /oauth/token", func(rw http.ResponseWriter, r *http.Request) {
		r.Host = target.Host
		proxy.ServeHTTP(rw, r)
	})
	return mux
}

// me asks the provider what a token is worth (RFC 7662). Its own userinfo answers 403
// for one that has ended.
func (w *world) me(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	hold := w.hold
	w.mu.Unlock()
	if hold != nil {
		w.held <- struct{}{}
		<-hold
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	res := w.asClient("/oauth/introspect", url.Values{"token": {token}})
	defer res.Body.Close()
	var said struct {
		Active bool   `json:"active"`
		Email  string `json:"email"`
	}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		w.t.Error(err)
	}
	if !said.Active {
		w.mu.Lock()
		w.refused++
		w.mu.Unlock()
		rw.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(rw, "the token has ended", http.StatusUnauthorized)
		return
	}
	_ = json.NewEncoder(rw).Encode(said)
}

// asClient sends a form to the provider in the client's name.
func (w *world) asClient(path string, form url.Values) *http.Response {
	r, _ := http.NewRequest("POST", w.provider+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("web", clientSecret)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Error(err)
		return &http.Response{Body: http.NoBody}
	}
	return res
}

func (w *world) note(res *http.Response) error {
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	defer w.mu.Unlock()
	var tokens struct {
		Access string `json:"access_token"`
	}
	if res.StatusCode != http.StatusOK {
		return nil
	}
	if err := json.Unmarshal(body, &tokens); err != nil {
		return err
	}
	if w.access != "" {
		w.refreshes++
	}
	w.access = tokens.Access
	return nil
}

func (w *world) counts() (refreshes, refused int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refreshes, w.refused
}

// holdCalls makes calls of the API wait at the provider's door until release.
func (w *world) holdCalls() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	hold := make(chan struct{})
	w.hold = hold
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.hold = nil
		close(hold)
	}
}

// revoke ends the latest access token at the provider (RFC 7009), and leaves the
// refresh token alone.
func (w *world) revoke() {
	w.t.Helper()
	w.mu.Lock()
	token := w.access
	w.mu.Unlock()
	res := w.asClient("/revoke", url.Values{"token": {token}, "token_type_hint": {"access_token"}})
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("revoking: %s", res.Status)
	}
}

// call asks the provider who the user is, through Toolgate and without a token.
func (w *world) call() (status int, body string) {
	r, _ := http.NewRequestWithContext(context.Background(), "GET", w.gateway+"/zitadel/me", nil)
	r.Header.Set("X-User-Id", w.user)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Error(err)
	}
	return res.StatusCode, string(text)
}

var (
	formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)
	requestID = regexp.MustCompile(`name="id" value="([^"]+)"`)
)

// connect goes alice's way from the link to the result page.
func (w *world) connect(link string) string {
	w.t.Helper()
	browser := newBrowser()
	page, _ := w.page(browser.Get(link))
	return w.logIn(browser, link, url.Values{"token": {found(w.t, formToken, page)}}, "test-user@localhost", http.StatusOK)
}

func newBrowser() *http.Client {
	jar, _ := cookiejar.New(nil)
	return &http.Client{Jar: jar, Timeout: patience}
}

// logIn sends a form that leads to the provider's login, and logs in there.
func (w *world) logIn(browser *http.Client, address string, form url.Values, user string, want int) string {
	w.t.Helper()
	page, at := w.page(browser.PostForm(address, form))
	form = url.Values{"id": {found(w.t, requestID, page)}, "username": {user}, "password": {"verysecure"}}
	page, _ = w.pageWith(want)(browser.PostForm(at.ResolveReference(&url.URL{Path: "/login/username"}).String(), form))
	return page
}

// refusedLink is the link that the agent gets.
func (w *world) refusedLink() string {
	w.t.Helper()
	status, body := w.call()
	var refusal struct {
		Code       string
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || status != http.StatusForbidden || refusal.Code != "auth_required" {
		w.t.Fatalf("before connecting: %d %s", status, body)
	}
	return refusal.ConnectURL
}

func (w *world) page(res *http.Response, err error) (text string, at *url.URL) {
	w.t.Helper()
	return w.pageWith(http.StatusOK)(res, err)
}

func (w *world) pageWith(want int) func(res *http.Response, err error) (text string, at *url.URL) {
	return func(res *http.Response, err error) (text string, at *url.URL) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != want {
			w.t.Fatalf("%s: %s, %v\n%s", res.Request.URL, res.Status, err, body)
		}
		return string(body), res.Request.URL
	}
}

func found(t *testing.T, pattern *regexp.Regexp, page string) string {
	t.Helper()
	match := pattern.FindStringSubmatch(page)
	if match == nil {
		t.Fatalf("no %s in:\n%s", pattern, page)
	}
	return match[1]
}

// run starts a program that ends with the test.
func (w *world) run(name string, env []string, args ...string) {
	w.t.Helper()
	var printed bytes.Buffer
	command := exec.Command(filepath.Join(bin, name), args...)
	command.Env = append(os.Environ(), env...)
	command.Stdout, command.Stderr = &printed, &printed
	if err := command.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if w.t.Failed() {
			w.t.Logf("%s printed:\n%s", name, printed.String())
		}
	})
}

// answers waits until something is there. Another process says in no other way that
// it listens.
func (w *world) answers(address string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(address); err == nil {
			res.Body.Close()
			return
		}
	}
	w.t.Fatalf("nothing is at %s", address)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
