// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

func newJWT(p *idp, change func(*JWTConfig)) *JWT {
	cfg := JWTConfig{Keys: issuer + "/keys", Issuer: issuer, Audience: []string{"connect", clientID}, Cookie: "session", Claims: Claims{User: "sub"}, Transport: p, Now: p.clock}
	if change != nil {
		change(&cfg)
	}
	return NewJWT(cfg)
}

func with(cookies ...string) *http.Request {
	r, _ := http.NewRequest("GET", "https://connect.example.com/connect/c_1", nil)
	for _, c := range cookies {
		r.AddCookie(&http.Cookie{Name: "session", Value: c})
	}
	return r
}

func TestASitesTokenNamesTheUser(t *testing.T) {
	p := newIDP(t)
	j := newJWT(p, nil)
	for range 3 {
		if user, err := j.User(with(p.sign(nil))); err != nil || user != "person-1" {
			t.Errorf("%q, %v", user, err)
		}
	}
	if n := p.count("/keys"); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
	bearer := newJWT(p, func(cfg *JWTConfig) { cfg.Cookie = "" })
	r := with()
	r.Header.Set("Authorization", "Bearer "+p.sign(nil))
	if user, err := bearer.User(r); err != nil || user != "person-1" {
		t.Errorf("%q, %v", user, err)
	}
	r.Header.Add("Authorization", "Bearer "+p.sign(nil))
	if user, _ := bearer.User(r); user != "" {
		t.Errorf("two headers: %q", user)
	}
}

func TestATokenThatIsNoGoodIsNone(t *testing.T) {
	p := newIDP(t)
	j := newJWT(p, nil)
	other := newIDP(t)
	good := p.sign(nil)
	for name, cookies := range map[string][]string{
		"none": {}, "two": {good, good}, "empty": {""}, "garbage": {"a.b.c"}, "cut": {good[:len(good)-4]},
		"another key":      {other.sign(nil)},
		"another issuer":   {p.sign(map[string]any{"iss": "https://evil.example"})},
		"another audience": {p.sign(map[string]any{"aud": "api"})},
		"no audience":      {p.sign(map[string]any{"aud": nil})},
		"expired":          {p.sign(map[string]any{"exp": start.Add(-time.Second).Unix()})},
		"no end":           {p.sign(map[string]any{"exp": nil})},
		"no subject":       {p.sign(map[string]any{"sub": nil})},
		"HMAC":             {oidctest.SignIDToken([]byte("0123456789abcdef0123456789abcdef"), keyID, "HS256", `{"iss":"`+issuer+`","aud":"connect","sub":"x","exp":9999999999}`)},
		"unsigned":         {"eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJjb25uZWN0Iiwic3ViIjoieCIsImV4cCI6OTk5OTk5OTk5OX0."},
	} {
		if user, err := j.User(with(cookies...)); err != nil || user != "" {
			t.Errorf("%s: %q, %v", name, user, err)
		}
	}
	only := newJWT(p, func(cfg *JWTConfig) { cfg.Algorithms = []string{"RS256"} })
	if user, _ := only.User(with(good)); user != "" {
		t.Errorf("an algorithm that is not allowed: %q", user)
	}
}

// Anybody can make tokens whose key is not known, and each asks for the keys.
func TestUnknownKeysAreNotAskedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP(t)
		j := newJWT(p, nil)
		stranger := newIDP(t).sign(nil)
		for range 100 {
			if user, err := j.User(with(stranger)); user != "" || err != nil {
				t.Fatalf("%q, %v", user, err)
			}
		}
		if n := p.count("/keys"); n != 1 {
			t.Errorf("the keys were read %d times", n)
		}
		synctest.Wait() // a request for keys that has just ended may still be shared
		next := newIDP(t)
		p.set(func() { p.key, p.public, p.now = next.key, next.public, p.now.Add(11*time.Second) })
		if user, err := j.User(with(p.sign(nil))); user != "person-1" || err != nil {
			t.Errorf("after the site has changed its key: %q, %v", user, err)
		}
	})
}

func TestWithoutTheKeysNobodyIsRefused(t *testing.T) {
	p := newIDP(t)
	p.down = true
	j := newJWT(p, nil)
	if user, err := j.User(with(p.sign(nil))); err == nil || user != "" {
		t.Errorf("%q, %v", user, err)
	}
	p.set(func() { p.down, p.now = false, p.now.Add(2*time.Second) })
	if user, err := j.User(with("a.b.c")); err != nil || user != "" {
		t.Errorf("%q, %v", user, err)
	}
	if user, err := j.User(with(p.sign(nil))); err != nil || user != "person-1" {
		t.Errorf("%q, %v", user, err)
	}
}
