// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// mall is a Shopify: every shop is a host with a server of its own, which signs where it
// sends the browser back to.
type mall struct {
	*force
	good     map[string]string // of a host: the token that is good there
	asked    []string          // host and grant type of token requests
	called   []string          // host of calls with a good token
	issued   int
	claiming func(q url.Values) // alters a callback before it is signed
	forging  func(q url.Values) // and after
}

func newMall(t *testing.T) *mall {
	m := &mall{force: newForce(t), good: map[string]string{}}
	m.shops = http.HandlerFunc(m.serve)
	return m
}

// serve is called by the force's server, one request after the other.
func (m *mall) serve(rw http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/admin/oauth/authorize":
		m.authorize(rw, r)
	case "/admin/oauth/access_token":
		m.token(rw, r)
	default:
		if token := r.Header.Get("X-Shopify-Access-Token"); token == "" || token != m.good[r.Host] {
			http.Error(rw, `{"errors":"[API] Invalid API key or access token"}`, http.StatusUnauthorized)
			return
		}
		m.called = append(m.called, r.Host)
		fmt.Fprintf(rw, `{"shop":{"myshopify_domain":%q}}`, r.Host)
	}
}

func (m *mall) authorize(rw http.ResponseWriter, r *http.Request) {
	q := url.Values{"code": {"code-of-" + r.Host}, "shop": {r.Host}, "timestamp": {"1337178173"}, "host": {"YWRtaW4"}, "state": {r.URL.Query().Get("state")}}
	if m.claiming != nil {
		m.claiming(q)
	}
	var parts []string
	for name, values := range q {
		parts = append(parts, name+"="+values[0])
	}
	slices.Sort(parts)
	mac := hmac.New(sha256.New, []byte(clientSecret))
	mac.Write([]byte(strings.Join(parts, "&")))
	q.Set("hmac", hex.EncodeToString(mac.Sum(nil)))
	if m.forging != nil {
		m.forging(q)
	}
	http.Redirect(rw, r, r.URL.Query().Get("redirect_uri")+"?"+q.Encode(), http.StatusFound)
}

func (m *mall) token(rw http.ResponseWriter, r *http.Request) {
	m.asked = append(m.asked, r.Host+" "+r.PostFormValue("grant_type"))
	own := r.PostFormValue("code") == "code-of-"+r.Host || r.PostFormValue("refresh_token") == "refresh-of-"+r.Host
	if !own || r.PostFormValue("client_secret") != clientSecret || r.PostFormValue("client_id") != "mall-client" {
		http.Error(rw, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	m.issued++
	m.good[r.Host] = fmt.Sprintf("token-of-%s-%d", r.Host, m.issued)
	fmt.Fprintf(rw, `{"access_token":%q,"refresh_token":"refresh-of-%s","expires_in":3600,"scope":"read_products"}`, m.good[r.Host], r.Host)
}

func (m *mall) loadShops() {
	m.t.Helper()
	log := fmt.Sprintf("log {\n\t\toutput file %q\n\t\tlevel DEBUG\n\t}", filepath.Join(m.dir, "all.log"))
	m.load(m.caddyfile(log, fmt.Sprintf(`toolkit mall {
			name Mall
			base_url https://{shop}.sf.example/admin/api/2026-10
			variable shop {
				from asked "Your shop's name"
				help "It is in the address of your shop's admin."
			}
			oauth2 {
				authorize_url https://{shop}.sf.example/admin/oauth/authorize
				token_url https://{shop}.sf.example/admin/oauth/access_token
				callback_hmac hmac
				callback_claim shop {shop}.sf.example
				client_id mall-client
				client_secret {env.ACME_CLIENT_SECRET}
				auth_style body
				scopes read_products
				scope_separator ,
				header X-Shopify-Access-Token
			}
			identity /shop.json shop.myshopify_domain
			transport http {
				network_proxy url %s
				tls_trust_pool file %s
			}
		}`, m.proxy, m.pool), ""))
}

// visitor is a browser that reaches the shops.
func (m *mall) visitor() *person {
	m.t.Helper()
	pool := x509.NewCertPool()
	text, err := os.ReadFile(m.pool)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		m.t.Fatal(err)
	}
	proxy, _ := url.Parse(m.proxy)
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Proxy: func(r *http.Request) (*url.URL, error) {
		if strings.HasSuffix(r.URL.Hostname(), ".sf.example") {
			return proxy, nil
		}
		return nil, nil
	}}
	m.t.Cleanup(way.CloseIdleConnections)
	return &person{t: m.t, cookies: map[string]map[string]string{}, via: way}
}

// names has a user connect with what they say of their shop.
func (m *mall) names(user, shop string) string {
	m.t.Helper()
	status, body := m.call("GET", "/mall/orders.json", "X-User-Id", user)
	var refusal struct {
		Code       string `json:"code"`
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || status != http.StatusForbidden || refusal.Code != "auth_required" {
		m.t.Fatalf("instead of auth_required: %d %s", status, body)
	}
	b := m.visitor()
	form := formOf(m.t, b.get(refusal.ConnectURL), refusal.ConnectURL)
	form.Set("said.shop", shop)
	return html.UnescapeString(b.do("POST", refusal.ConnectURL, form))
}

func TestEachUserConnectsTheShopThatTheyName(t *testing.T) {
	m := newMall(t)
	m.loadShops()
	for user, said := range map[string]string{"alice": "https://North.sf.example/admin/orders", "bob": "south"} {
		if page := m.names(user, said); !strings.Contains(page, "Connected as") || !strings.Contains(page, "Your shop's name") {
			t.Fatalf("%s: %s", user, page)
		}
	}
	shops := map[string]string{"alice": "north.sf.example", "bob": "south.sf.example"}
	for user, host := range shops {
		if status, body := m.call("GET", "/mall/orders.json?shop=elsewhere.sf.example", "X-User-Id", user); status != http.StatusOK || !strings.Contains(body, host) {
			t.Errorf("%s: %d %s", user, status, body)
		}
	}
	// A token that is refused is renewed where it is from, also after a restart.
	for range 2 {
		m.is(func() { m.good, m.asked = map[string]string{}, nil })
		for user, host := range shops {
			if status, body := m.call("GET", "/mall/orders.json", "X-User-Id", user); status != http.StatusOK || !strings.Contains(body, host) {
				t.Errorf("%s: %d %s", user, status, body)
			}
		}
		m.is(func() {
			slices.Sort(m.asked)
			if want := []string{"north.sf.example refresh_token", "south.sf.example refresh_token"}; !slices.Equal(m.asked, want) {
				t.Errorf("token requests %q", m.asked)
			}
		})
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		m.loadShops()
	}
	if _, body := m.call("GET", "/v1/connections/mall"); !strings.Contains(body, `"status":"active"`) || !strings.Contains(body, `"account":"north.sf.example"`) {
		t.Errorf("the status: %s", body)
	}
	_, reached := m.took()
	for _, host := range reached {
		if host != "north.sf.example" && host != "south.sf.example" {
			t.Errorf("%s was reached", host)
		}
	}
}

func TestNoSecretGoesWhereAUserMayNotLead(t *testing.T) {
	m := newMall(t)
	m.loadShops()
	for _, said := range append(strangers, "evil.example", "north.sf.example.evil.example", "a.b", "north:443", "north/", "..", "my") {
		if said == "my" || strings.HasSuffix(said, "na1.sf.example/services") || strings.HasSuffix(said, "na1.sf.example?x=1") || said == "http://na1.sf.example" {
			continue // a shop's name, or the address of one
		}
		if page := m.names("carol", said); !strings.Contains(page, "does not fit here") && !strings.Contains(page, "Something is missing") {
			t.Errorf("%q: %s", said, page)
		}
	}
	if _, reached := m.took(); len(reached) != 0 {
		t.Errorf("reached %q", reached)
	}
}

func TestACallbackThatIsForgedExchangesNothing(t *testing.T) {
	m := newMall(t)
	m.loadShops()
	for name, x := range map[string]struct {
		claiming, forging func(url.Values)
		says              string
	}{
		"another shop, signed":   {func(q url.Values) { q.Set("shop", "south.sf.example") }, nil, "another place than the one that you had named"},
		"no shop, signed":        {func(q url.Values) { q.Del("shop") }, nil, "another place than the one that you had named"},
		"another shop, unsigned": {nil, func(q url.Values) { q.Set("shop", "south.sf.example") }, "does not bear the signature"},
		"another code":           {nil, func(q url.Values) { q.Set("code", "code-of-south.sf.example") }, "does not bear the signature"},
		"no signature":           {nil, func(q url.Values) { q.Del("hmac") }, "does not bear the signature"},
		"two":                    {nil, func(q url.Values) { q.Add("hmac", "00") }, "does not bear the signature"},
	} {
		m.is(func() { m.claiming, m.forging = x.claiming, x.forging })
		if page := m.names("alice", "north"); !strings.Contains(page, x.says) || strings.Contains(page, "south") {
			t.Errorf("%s: %s", name, page)
		}
	}
	m.is(func() {
		if m.claiming, m.forging = nil, nil; len(m.asked) != 0 {
			t.Errorf("token requests %q", m.asked)
		}
	})
	if page := m.names("alice", "north"); !strings.Contains(page, "Connected as north.sf.example") {
		t.Error(page)
	}
	for _, bad := range []string{clientSecret, "token-of-", "refresh-of-", "code-of-"} {
		if strings.Contains(m.log(), bad) {
			t.Errorf("the log holds %q", bad)
		}
	}
	for _, told := range []string{"unsigned", "other_place"} {
		if !strings.Contains(m.log(), told) {
			t.Errorf("the log does not tell of %s", told)
		}
	}
}
