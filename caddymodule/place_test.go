// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// force is a Salesforce: a login host that names each user's instance, and instances that
// know their own users alone. It is also a QuickBooks, whose callback names a company. It
// is reached through a proxy, by the names that certificates are for; whoever is asked for
// beside it answers too, as a thief would.
type force struct {
	*world
	proxy, pool string

	mu      sync.Mutex
	who     string            // sits at the browser
	realm   []string          // that the callback names, as often
	says    map[string]string // of a user: the instance_url of token answers
	home    map[string]string // and where the user really is
	tokens  map[string]string // that are good
	issued  int
	revoked []string
	reached []string     // hosts, by the proxy
	calls   []string     // host, path and user of each call of the API
	shops   http.Handler // what is below /admin/
}

func newForce(t *testing.T) *force {
	t.Helper()
	f := &force{world: newWorld(t), says: map[string]string{}, home: map[string]string{}, tokens: map[string]string{}}
	f.extra = http.HandlerFunc(f.authorize)
	server := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	server.TLS, f.pool = certificate(t, "*.sf.example", "*.my.sf.example", "sf.example", "evil.example", "evilsf.example", "*.sf.example.evil.example", "*.other.example")
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { f.connectTo(rw, r, server.Listener.Addr().String()) }))
	t.Cleanup(proxy.Close)
	f.proxy = proxy.URL
	return f
}

// certificate is one for these names, and the file that says it can be trusted.
func certificate(t *testing.T, names ...string) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

// connectTo is the proxy: every host is the one server.
func (f *force) connectTo(rw http.ResponseWriter, r *http.Request, server string) {
	host, port, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil || port != "443" {
		f.t.Errorf("the proxy is asked for %s %s", r.Method, r.Host)
	}
	f.mu.Lock()
	f.reached = append(f.reached, host)
	f.mu.Unlock()
	to, err := net.Dial("tcp", server)
	if err != nil {
		f.t.Error(err)
		return
	}
	from, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		f.t.Error(err)
		return
	}
	fmt.Fprint(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(to, bufio.NewReader(buffered)); to.Close() }()
	_, _ = io.Copy(from, to)
	from.Close()
}

// authorize is where the browser consents, at once.
func (f *force) authorize(rw http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := url.Values{"code": {"code-" + f.who}, "state": {r.URL.Query().Get("state")}, "realmId": f.realm}
	http.Redirect(rw, r, r.URL.Query().Get("redirect_uri")+"?"+q.Encode(), http.StatusFound)
}

func (f *force) serve(rw http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rw.Header().Set("Content-Type", "application/json")
	if r.Host == "login.sf.example" {
		f.login(rw, r)
		return
	}
	if f.shops != nil && strings.HasPrefix(r.URL.Path, "/admin/") {
		f.shops.ServeHTTP(rw, r)
		return
	}
	user := ""
	for name, token := range f.tokens {
		if r.Header.Get("Authorization") == "Bearer "+token {
			user = name
		}
	}
	f.calls = append(f.calls, r.Host+r.URL.Path+" "+user)
	realm := strings.Split(strings.TrimPrefix(r.URL.Path, "/v3/company/"), "/")[0]
	switch own := r.Host == "qb.sf.example" || f.home[user] == r.Host; {
	case user == "" || !own:
		http.Error(rw, `[{"errorCode":"INVALID_SESSION_ID"}]`, http.StatusUnauthorized)
	case r.Host == "qb.sf.example" && realm != companies[user]:
		http.Error(rw, `{"fault":"003100 ApplicationAuthorizationFailed"}`, http.StatusForbidden)
	default:
		rw.Header().Add("Link", "<https://"+r.Host+`/data?page=2>; rel="next"`)
		rw.Header().Add("Link", `<https://na9.sf.example/data>; rel="another"`)
		fmt.Fprintf(rw, `{"preferred_username":"%s@sf.example","CompanyInfo":{"CompanyName":"%[1]s Ltd"},"at":%q}`, user, r.Host)
	}
}

// companies are users' own.
var companies = map[string]string{"alice": "11", "bob": "22"}

func (f *force) login(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/revoke" {
		f.revoked = append(f.revoked, r.PostFormValue("token"))
		return
	}
	user := strings.TrimPrefix(r.PostFormValue("code"), "code-")
	if refresh := r.PostFormValue("refresh_token"); refresh != "" {
		user = strings.TrimPrefix(refresh, "refresh-")
	}
	if user == "" {
		http.Error(rw, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	f.issued++
	f.tokens[user] = fmt.Sprintf("token-of-%s-%d", user, f.issued)
	answer, _ := json.Marshal(map[string]string{"access_token": f.tokens[user], "refresh_token": "refresh-" + user, "instance_url": f.says[user], "issued_at": "1700000000000"})
	_, _ = rw.Write(answer)
}

func (f *force) is(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// moves puts a user's account at an instance. Tokens from before are good no more.
func (f *force) moves(user, instance string) {
	f.is(func() {
		delete(f.tokens, user)
		f.says[user], f.home[user] = instance, strings.TrimPrefix(instance, "https://")
	})
}

// toolkits are the two, the first with these hosts for instances.
func (f *force) toolkits(hosts string) string {
	common := fmt.Sprintf(`
			client_id force-client
			client_secret {env.ACME_CLIENT_SECRET}
			oauth2 {
				authorize_url %s/extra/authorize
				token_url https://login.sf.example/token
				revoke_url https://login.sf.example/revoke
				auth_style body
			}
			transport http {
				network_proxy url %s
				tls_trust_pool file %s
			}
		}`, f.origin, f.proxy, f.pool)
	return `toolkit force {
			base_url https://{instance}
			variable instance {
				from token_reply instance_url
				host ` + hosts + `
			}` + common + `
		toolkit books {
			base_url https://qb.sf.example/v3/company/{realm_id}
			variable realm_id {
				from callback realmId
				segment digits 20
			}
			identity /companyinfo/{realm_id} CompanyInfo.CompanyName` + common
}

func (f *force) loadWith(hosts string) {
	log := fmt.Sprintf("log {\n\t\toutput file %q\n\t\tlevel DEBUG\n\t}", filepath.Join(f.dir, "all.log"))
	f.load(f.caddyfile(log, f.toolkits(hosts), ""))
}

// connectAs goes the way of a user's browser and gives the page where it ends.
func (f *force) connectAs(user, toolkit, instance string, realm ...string) string {
	f.t.Helper()
	f.is(func() { f.who, f.realm = user, realm })
	f.moves(user, instance)
	status, body := f.call("GET", "/"+toolkit+"/data", "X-User-Id", user)
	var refusal struct {
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || status != http.StatusForbidden {
		f.t.Fatalf("instead of auth_required: %d %s", status, body)
	}
	b := &person{t: f.t, cookies: map[string]map[string]string{}}
	return b.submit(b.get(refusal.ConnectURL), refusal.ConnectURL, "")
}

// took gives the calls and the hosts since it was last asked, and forgets them.
func (f *force) took() (calls, reached []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls, reached = f.calls, f.reached
	f.calls, f.reached = nil, nil
	return calls, reached
}

func (f *force) log() string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "all.log"))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

func TestTwoUsersHaveInstancesOfTheirOwn(t *testing.T) {
	f := newForce(t)
	f.loadWith("*.sf.example")
	for user, instance := range map[string]string{"alice": "https://na1.my.sf.example", "bob": "https://na2.sf.example"} {
		if page := f.connectAs(user, "force", instance); !strings.Contains(page, "is connected") {
			t.Fatalf("%s: %s", user, page)
		}
	}
	f.took()
	for user, host := range map[string]string{"alice": "na1.my.sf.example", "bob": "na2.sf.example"} {
		res := f.open("GET", "/force/data", "X-User-Id", user)
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		calls, _ := f.took()
		if res.StatusCode != http.StatusOK || !strings.Contains(string(body), host) || !slices.Equal(calls, []string{host + "/data " + user}) {
			t.Errorf("%s: %d %s, calls %q", user, res.StatusCode, body, calls)
		}
		// The next page comes by us; what is at another instance is not ours.
		if links := strings.Join(res.Header["Link"], ", "); links != "<"+f.public()+`/force/data?page=2>; rel="next", <https://na9.sf.example/data>; rel="another"` {
			t.Errorf("%s: links %s", user, links)
		}
	}

	// The account moves with a renewal, and the call that met it is made there.
	f.moves("alice", "https://na3.my.sf.example")
	if status, body := f.call("GET", "/force/data"); status != http.StatusOK || !strings.Contains(body, "na3.my.sf.example") {
		t.Errorf("after the move: %d %s", status, body)
	}
	if calls, _ := f.took(); !slices.Equal(calls, []string{"na1.my.sf.example/data ", "na3.my.sf.example/data alice"}) {
		t.Errorf("calls %q", calls)
	}
	if status, _ := f.call("GET", "/force/data", "X-User-Id", "bob"); status != http.StatusOK {
		t.Errorf("bob: %d", status)
	}
	if err := caddy.Stop(); err != nil { // what was moved is kept
		t.Fatal(err)
	}
	f.loadWith("*.sf.example")
	if status, body := f.call("GET", "/force/data"); status != http.StatusOK || !strings.Contains(body, "na3.my.sf.example") {
		t.Errorf("after a restart: %d %s", status, body)
	}
	record, err := os.ReadFile(filepath.Join(f.dir, "audit.log"))
	if err != nil || !strings.Contains(string(record), `"host":"na1.my.sf.example"`) || !strings.Contains(string(record), `"host":"na3.my.sf.example"`) {
		t.Errorf("on paper: %s, %v", record, err)
	}
}

// strangers are what a token endpoint must not be able to name.
var strangers = []string{
	"", "https://evil.example", "https://evilsf.example", "https://sf.example", "https://na1.sf.example.evil.example", "http://na1.sf.example", "na1.sf.example:8443",
	"https://na1.sf.example@evil.example", "https://u:p@na1.sf.example", `https://evil.example\.sf.example`, "https://evil.example%2f.sf.example", "https://evil.example/.sf.example",
	"https://na1.sf.example/services", "https://na1.sf.example?x=1", "https://na1.sf.example.", "https://..sf.example", "https://xn--e1a.sf.example", "https://127.0.0.1", "https://[::1]",
	"https://na1.sf.example\r\nX-Evil: 1", "https://na1。sf.example", "https://{instance}.sf.example",
}

func TestNoTokenGoesWhereThePatternDoesNotLead(t *testing.T) {
	f := newForce(t)
	f.loadWith("*.sf.example")
	for _, stranger := range strangers {
		if page := f.connectAs("carol", "force", stranger); !strings.Contains(page, "did not say where your account is to be found") {
			t.Errorf("%q: %s", stranger, page)
		}
	}
	if page := f.connectAs("alice", "force", "https://na1.sf.example"); !strings.Contains(page, "is connected") {
		t.Fatal(page)
	}
	calls, reached := f.took()
	for _, stranger := range strangers {
		// A renewal that names one: the token is new, and goes where it went.
		f.is(func() { delete(f.tokens, "alice"); f.says["alice"] = stranger })
		if status, body := f.call("GET", "/force/data"); status != http.StatusOK || !strings.Contains(body, "na1.sf.example") {
			t.Errorf("%q: %d %s", stranger, status, body)
		}
		more, hosts := f.took()
		calls, reached = append(calls, more...), append(reached, hosts...)
	}
	for _, call := range calls {
		if !strings.HasPrefix(call, "na1.sf.example/") {
			t.Errorf("a call went to %s", call)
		}
	}
	for _, host := range reached {
		if host != "na1.sf.example" && host != "login.sf.example" {
			t.Errorf("%s was reached", host)
		}
	}
	log := f.log()
	if n := strings.Count(log, "names an address that the toolkit's variables do not allow"); n < len(strangers) {
		t.Errorf("the log tells of %d strangers", n)
	}
	for line := range strings.SplitSeq(log, "\n") {
		if strings.Contains(line, "evil") || strings.Contains(line, "token-of-") {
			t.Errorf("the log holds what a stranger wrote, or a token: %s", line)
		}
	}
	f.is(func() {
		if len(f.revoked) != len(strangers) || f.revoked[0] != "refresh-carol" {
			t.Errorf("given back: %q", f.revoked)
		}
	})

	// A later configuration does not lead her token to its own hosts, and hers is not in it.
	f.loadWith("*.other.example")
	if status, body := f.call("GET", "/force/data"); status != http.StatusForbidden || !strings.Contains(body, "provider_config") {
		t.Errorf("with other patterns: %d %s", status, body)
	}
	if status, body := f.call("GET", "/v1/connections/force"); status != http.StatusOK || !strings.Contains(body, "provider_config") {
		t.Errorf("its status: %d %s", status, body)
	}
	if more, hosts := f.took(); len(more)+len(hosts) != 0 {
		t.Errorf("calls %q, reached %q", more, hosts)
	}
}

func TestACompanysNumberIsProvedByTheIdentityCall(t *testing.T) {
	f := newForce(t)
	f.loadWith("*.sf.example")
	for _, forged := range [][]string{{"22"}, {"33"}} {
		if page := f.connectAs("alice", "books", "", forged...); !strings.Contains(page, "does not confirm that you may use the account") {
			t.Errorf("%q: %s", forged, page)
		}
	}
	if calls, _ := f.took(); !slices.Equal(calls, []string{"qb.sf.example/v3/company/22/companyinfo/22 alice", "qb.sf.example/v3/company/33/companyinfo/33 alice"}) {
		t.Errorf("calls %q", calls)
	}
	for _, altered := range [][]string{nil, {""}, {"11", "11"}, {"11/../22"}, {"11%2f22"}, {"..;"}, {strings.Repeat("1", 21)}} {
		if page := f.connectAs("alice", "books", "", altered...); !strings.Contains(page, "was changed on the way") {
			t.Errorf("%q: %s", altered, page)
		}
	}
	if calls, reached := f.took(); len(calls)+len(reached) != 0 {
		t.Errorf("the code was spent: %q, %q", calls, reached)
	}
	if page := f.connectAs("alice", "books", "", "11"); !strings.Contains(page, "Connected as alice Ltd") {
		t.Fatal(page)
	}
	f.took()
	if status, body := f.call("GET", "/books/invoice/1"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if calls, _ := f.took(); !slices.Equal(calls, []string{"qb.sf.example/v3/company/11/invoice/1 alice"}) {
		t.Errorf("calls %q", calls)
	}
	for _, bad := range []string{"connect: failed", "unproven", "altered"} {
		if !strings.Contains(f.log(), bad) {
			t.Errorf("the log does not tell of %s", bad)
		}
	}
}
