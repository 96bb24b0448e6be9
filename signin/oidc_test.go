// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/secret"
)

func newOIDC(p *idp) *OIDC {
	return &OIDC{
		Issuer: &url.URL{Scheme: "https", Host: "id.example"}, ClientID: clientID, ClientSecret: secret.New("marker-secret"),
		Scopes: []string{"email"}, Claims: Claims{User: "sub"}, Transport: p, Now: p.clock,
	}
}

// begun is a trip whose id_token will fit.
func begun(t *testing.T, o *OIDC, p *idp) (trip connect.Trip, address url.Values) {
	t.Helper()
	trip = connect.Trip{State: "the-state", Back: "https://connect.example.com/signin"}
	to, err := o.Begin(t.Context(), &trip)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil || u.Host != "id.example" || u.Path != "/authorize" {
		t.Fatalf("sent to %s", to)
	}
	if p.claims == nil {
		p.claims = map[string]any{}
	}
	p.set(func() { p.claims["nonce"] = trip.Nonce })
	return trip, u.Query()
}

var answered = url.Values{"state": {"the-state"}, "code": {"marker-code"}}

func TestAPersonSignsInWithAnOpenIDProvider(t *testing.T) {
	p := newIDP(t)
	o := newOIDC(p)
	if p.count("/.well-known/openid-configuration") != 0 {
		t.Error("the provider is asked before anybody comes")
	}
	trip, address := begun(t, o, p)
	for name, want := range map[string]string{
		"response_type": "code", "client_id": clientID, "scope": "openid email", "state": "the-state",
		"redirect_uri": "https://connect.example.com/signin", "nonce": trip.Nonce, "code_challenge_method": "S256",
	} {
		if got := address.Get(name); got != want || got == "" {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	user, err := o.Finish(t.Context(), answered, trip)
	if err != nil || user != "person-1" {
		t.Errorf("%q, %v", user, err)
	}
	if p.form.Get("code_verifier") != trip.Verifier || p.form.Get("code") != "marker-code" || p.basic != clientID+":marker-secret" || p.form.Has("client_secret") {
		t.Errorf("the token request: %v, %s", p.form, p.basic)
	}
	again, _ := begun(t, o, p)
	if again.Nonce == trip.Nonce || again.Verifier == trip.Verifier {
		t.Error("two sign-ins share a secret")
	}
	if n := p.count("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("the metadata was read %d times", n)
	}
}

func TestTheClientProvesItselfInOneWay(t *testing.T) {
	for _, c := range []struct {
		methods []string
		secret  string
		body    bool
	}{{nil, "s", false}, {[]string{"client_secret_basic", "client_secret_post"}, "s", false}, {[]string{"client_secret_post"}, "s", true}, {nil, "", true}} {
		p := newIDP(t)
		p.methods = c.methods
		o := newOIDC(p)
		o.ClientSecret = secret.New(c.secret)
		trip, _ := begun(t, o, p)
		p.set(func() { p.status = 400 })
		_, _ = o.Finish(t.Context(), answered, trip)
		if p.count("/token") != 1 || (p.form.Get("client_id") != "") != c.body || p.form.Get("client_secret") != map[bool]string{true: c.secret}[c.body] {
			t.Errorf("%v: %d requests, %v", c.methods, p.count("/token"), p.form)
		}
	}
}

func TestOnlyAnIDTokenForThisSignInCounts(t *testing.T) {
	for name, change := range map[string]map[string]any{
		"another nonce":             {"nonce": "x"},
		"no nonce":                  {"nonce": nil},
		"another issuer":            {"iss": "https://evil.example"},
		"another audience":          {"aud": "somebody"},
		"no audience":               {"aud": nil},
		"two audiences, and no azp": {"aud": []string{clientID, "other"}},
		"another azp":               {"azp": "other"},
		"expired":                   {"exp": start.Add(-time.Second).Unix()},
		"no end":                    {"exp": nil},
		"not yet":                   {"nbf": start.Add(time.Hour).Unix()},
		"no subject":                {"sub": nil},
		"a number for a subject":    {"sub": 7},
	} {
		p := newIDP(t)
		o := newOIDC(p)
		trip, _ := begun(t, o, p)
		maps.Copy(p.claims, change)
		if user, err := o.Finish(t.Context(), answered, trip); err == nil {
			t.Errorf("%s: %q", name, user)
		}
	}
	p := newIDP(t)
	o := newOIDC(p)
	trip, _ := begun(t, o, p)
	maps.Copy(p.claims, map[string]any{"aud": []string{clientID, "other"}, "azp": clientID})
	if user, err := o.Finish(t.Context(), answered, trip); err != nil {
		t.Errorf("two audiences: %q, %v", user, err)
	}
	p.set(func() { p.key = newIDP(t).key })
	if user, err := o.Finish(t.Context(), answered, trip); err == nil {
		t.Errorf("another key: %q", user)
	}
	if user, err := o.Finish(t.Context(), answered, connect.Trip{}); err == nil {
		t.Errorf("a trip that nobody began: %q", user)
	}
}

func TestWhoDeclinesIsNotRecognised(t *testing.T) {
	p := newIDP(t)
	o := newOIDC(p)
	trip, _ := begun(t, o, p)
	for _, q := range []url.Values{
		{"error": {"access_denied"}}, {"error": {"login_required"}, "code": {"c"}}, {}, {"code": {"a", "b"}},
		{"code": {"c"}, "iss": {"https://evil.example"}}, {"code": {"c"}, "iss": {issuer, issuer}},
	} {
		if _, err := o.Finish(t.Context(), q, trip); !errors.Is(err, connect.ErrNotRecognised) {
			t.Errorf("%v: %v", q, err)
		}
	}
	if _, err := o.Finish(t.Context(), url.Values{"error": {"server_error"}}, trip); err == nil || errors.Is(err, connect.ErrNotRecognised) {
		t.Errorf("a provider with a problem: %v", err)
	}
	if p.count("/token") != 0 {
		t.Error("a code was spent")
	}
}

func TestAProviderThatIsAwayIsAskedAgain(t *testing.T) {
	p := newIDP(t)
	o := newOIDC(p)
	p.down = true
	if _, err := o.Begin(t.Context(), new(connect.Trip)); err == nil || errors.Is(err, connect.ErrNotRecognised) {
		t.Errorf("%v", err)
	}
	for range 10 {
		_, _ = o.Begin(t.Context(), new(connect.Trip))
	}
	if n := p.count("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("it was asked %d times in one moment", n)
	}
	p.set(func() { p.down, p.now = false, p.now.Add(2*time.Second) })
	trip, _ := begun(t, o, p)
	p.set(func() { p.status = 400 })
	_, err := o.Finish(t.Context(), answered, trip)
	if err == nil || !strings.Contains(err.Error(), "400 invalid_grant") || strings.Contains(err.Error(), "marker") {
		t.Errorf("%v", err)
	}
	p.set(func() { p.down = true })
	if _, err = o.Finish(t.Context(), answered, trip); err == nil || strings.Contains(fmt.Sprint(err), "marker") {
		t.Errorf("%v", err)
	}
}

func TestClaimsNameTheUser(t *testing.T) {
	for _, c := range []struct {
		claims Claims
		of     map[string]any
		user   string
	}{
		{Claims{User: "sub"}, map[string]any{"sub": "a"}, "a"},
		{Claims{User: "https://slack.com/user_id", Prefix: "slack:"}, map[string]any{"https://slack.com/user_id": "U1"}, "slack:U1"},
		{Claims{User: "email"}, map[string]any{"email": "a@b.example", "email_verified": true}, "a@b.example"},
		{Claims{User: "email"}, map[string]any{"email": "a@b.example", "email_verified": "true"}, "a@b.example"},
		{Claims{User: "email"}, map[string]any{"email": "a@b.example", "email_verified": false}, ""},
		{Claims{User: "email"}, map[string]any{"email": "a@b.example"}, ""},
		{Claims{User: "sub", Prefix: "p:"}, map[string]any{"sub": ""}, ""},
		{Claims{User: "sub", Require: map[string][]string{"hd": {"a.example", "b.example"}}}, map[string]any{"sub": "a", "hd": "b.example"}, "a"},
		{Claims{User: "sub", Require: map[string][]string{"hd": {"a.example"}}}, map[string]any{"sub": "a", "hd": "c.example"}, ""},
		{Claims{User: "sub", Require: map[string][]string{"hd": {"a.example"}}}, map[string]any{"sub": "a"}, ""},
		{Claims{User: "sub", Require: map[string][]string{"hd": {""}}}, map[string]any{"sub": "a", "hd": 7}, "a"},
	} {
		user, err := c.claims.user(c.of)
		if user != c.user || (err == nil) != (c.user != "") {
			t.Errorf("%v of %v: %q, %v", c.claims, c.of, user, err)
		}
	}
}
