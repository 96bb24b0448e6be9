// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// JWT is the token of a site where people are signed in already, in a cookie or in the
// Authorization header that a proxy in front puts there. It implements
// [connect.Verifier].
type JWT struct {
	cookie   string
	claims   Claims
	audience []string
	verifier *oidc.IDTokenVerifier
	keys     *keyCache
}

// JWTConfig makes a JWT.
type JWTConfig struct {
	Keys     string   // the address of the JSON Web Key Set
	Issuer   string   // as the claim iss has it
	Audience []string // one of which aud has to name
	Cookie   string   // "": Authorization: Bearer
	Claims   Claims
	// Algorithms that tokens may be signed with. Nil: those with a public key.
	Algorithms []string
	// Transport gets the keys. Nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// NewJWT makes a JWT. It touches no network.
func NewJWT(cfg JWTConfig) *JWT {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	if cfg.Algorithms == nil {
		cfg.Algorithms = algorithms
	}
	keys := &keyCache{next: cfg.Transport, now: cfg.Now}
	ctx := oidc.ClientContext(context.Background(), plainClient(keys))
	return &JWT{
		cookie: cfg.Cookie, claims: cfg.Claims, audience: cfg.Audience, keys: keys,
		verifier: oidc.NewVerifier(cfg.Issuer, oidc.NewRemoteKeySet(ctx, cfg.Keys), &oidc.Config{
			SkipClientIDCheck: true, SupportedSigningAlgs: cfg.Algorithms, Now: cfg.Now,
		}),
	}
}

// User implements [connect.Verifier]. A token that is no good is none: the site gives
// people a fresh one.
func (j *JWT) User(r *http.Request) (string, error) {
	raw := j.token(r)
	if raw == "" {
		return "", nil
	}
	token, err := j.verifier.Verify(r.Context(), raw)
	if err != nil {
		if away := j.keys.failure(); away != nil {
			return "", fmt.Errorf("the keys of verify_user jwt: %w", away)
		}
		return "", nil
	}
	claims, err := exactly(token, j.keys.now())
	if err != nil || !j.forUs(token.Audience) {
		return "", nil
	}
	user, err := j.claims.user(claims)
	if err != nil {
		return "", nil
	}
	return user, nil
}

func (j *JWT) forUs(audience []string) bool {
	return slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(j.audience, a) })
}

func (j *JWT) token(r *http.Request) string {
	if j.cookie != "" {
		cookies := r.CookiesNamed(j.cookie)
		if len(cookies) != 1 { // of two, somebody may have planted one
			return ""
		}
		return cookies[0].Value
	}
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return ""
	}
	raw, _ := strings.CutPrefix(values[0], "Bearer ")
	return raw
}

// keyCache keeps the key set for a moment: it is asked for with each token whose key is
// not known, and such tokens anybody can make.
type keyCache struct {
	next http.RoundTripper
	now  func() time.Time

	mu     sync.Mutex
	text   []byte
	header http.Header
	err    error
	until  time.Time
}

const (
	keysLast  = 10 * time.Second
	faultLast = time.Second
	maxKeys   = 1 << 20
)

// RoundTrip implements http.RoundTripper, for one address.
func (c *keyCache) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.now().Before(c.until) {
		c.fetchLocked(r)
	}
	if c.err != nil {
		return nil, c.err
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: c.header.Clone(), ContentLength: int64(len(c.text)), Body: io.NopCloser(bytes.NewReader(c.text)),
	}, nil
}

func (c *keyCache) fetchLocked(r *http.Request) {
	c.text, c.header, c.err = nil, nil, nil
	res, err := c.next.RoundTrip(r)
	if err == nil {
		defer res.Body.Close()
		c.header = res.Header
		c.text, err = io.ReadAll(io.LimitReader(res.Body, maxKeys))
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("they answered %d", res.StatusCode)
		}
	}
	c.until = c.now().Add(keysLast)
	if err != nil {
		c.err, c.until = errors.New("the key set cannot be had: "+err.Error()), c.now().Add(faultLast)
	}
}

// failure is why the keys could not be had last time, if so.
func (c *keyCache) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.now().Before(c.until) {
		return nil
	}
	return c.err
}
