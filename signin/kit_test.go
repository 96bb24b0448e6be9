// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

const (
	issuer   = "https://id.example"
	clientID = "toolgate-pages"
	keyID    = "k1"
)

var start = time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC)

// idp is an OpenID provider in memory.
type idp struct {
	t       testing.TB
	key     crypto.PrivateKey
	public  crypto.PublicKey
	now     time.Time
	methods []string // of client authentication

	mu     sync.Mutex
	claims map[string]any // of the id_token, over the usual ones
	asked  map[string]int // by path
	form   url.Values     // of the last token request
	basic  string
	down   bool
	status int // of the token endpoint, if not 200
}

func newIDP(t testing.TB) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &idp{t: t, key: key, public: key.Public(), now: start, asked: map[string]int{}}
}

// RoundTrip implements http.RoundTripper.
func (p *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path]++
	if p.down {
		return nil, errors.New("connection refused")
	}
	rec := httptest.NewRecorder()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		p.write(rec, map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token", "jwks_uri": issuer + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"}, "token_endpoint_auth_methods_supported": p.methods,
		})
	case "/keys":
		s := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: p.public, KeyID: keyID, Algorithm: "ES256"}}}
		s.SetIssuer(issuer)
		s.ServeHTTP(rec, httptest.NewRequest("GET", issuer+"/keys", nil))
	case "/token":
		p.token(rec, r)
	default:
		rec.WriteHeader(http.StatusNotFound)
	}
	res := rec.Result()
	res.Request = r
	return res, nil
}

func (p *idp) token(rec *httptest.ResponseRecorder, r *http.Request) {
	_ = r.ParseForm()
	p.form = r.PostForm
	id, password, _ := r.BasicAuth()
	p.basic = id + ":" + password
	if p.status != 0 {
		rec.WriteHeader(p.status)
		p.write(rec, map[string]any{"error": "invalid_grant", "error_description": "the code marker-code is not known"})
		return
	}
	p.write(rec, map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": p.sign(nil)})
}

// sign makes a token; more goes over what the test has set. nil leaves a claim out.
func (p *idp) sign(more map[string]any) string {
	claims := map[string]any{"iss": issuer, "aud": clientID, "sub": "person-1", "exp": p.now.Add(time.Hour).Unix(), "iat": p.now.Unix()}
	maps.Copy(claims, p.claims)
	maps.Copy(claims, more)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	return oidctest.SignIDToken(p.key, keyID, "ES256", string(text))
}

func (p *idp) write(rec *httptest.ResponseRecorder, v any) {
	rec.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rec).Encode(v)
}

func (p *idp) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

func (p *idp) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *idp) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}
