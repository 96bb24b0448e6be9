// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package demo is Acme: a small OAuth 2 provider with pages for people and an
// API for programs. `toolgate demo` runs it, so that the whole way from "not
// connected" to an answer can be walked without an account anywhere; tests run
// it as the strict provider at the other end.
//
// It is strict where real providers are: exact redirect URIs, PKCE, codes and
// refresh tokens that work once, whole families that end when one is used
// twice. It is a demo in one thing only: the password of its people is public.
//
// A program that plays the browser posts to the authorize address itself, with
// the csrf value of the page and action=login (user, password), allow, deny or
// switch.
package demo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says who Acme is and who its one client is.
type Config struct {
	// Origin is where Acme is reached, such as "http://127.0.0.1:9090", and its
	// issuer. Scheme and host only, no trailing slash. Required.
	Origin string
	// ClientID names the one registered client. Required.
	ClientID string
	// ClientSecret is that client's secret. Required.
	ClientSecret string
	// RedirectURIs are where answers may be sent: http or https, no fragment,
	// compared byte by byte. At least one.
	RedirectURIs []string
	// AccessTTL is how long an access token works. 0: one minute, so that a demo
	// gets to see a refresh.
	AccessTTL time.Duration
	// StatePath is the JSON file that keeps grants over a restart. Its folder
	// must exist. "": grants live in memory and end with the process.
	StatePath string
	// Now tells the time. nil: time.Now.
	Now func() time.Time
}

// Stats counts what Acme was asked since it was made.
type Stats struct {
	TokenRequests   int // every POST /token, also those refused
	Refreshes       int // refresh tokens that were exchanged
	ReuseDetections int // refresh tokens used a second time, each ending its family
	APICalls        int // every call under /v1, also those refused
	APIRefusals     int // the calls among them answered 401
	Revocations     int // families ended through POST /revoke
}

// Provider is Acme. It is an http.Handler, safe for concurrent use.
type Provider struct {
	cfg     Config
	mux     *http.ServeMux
	pages   *template.Template
	csrfKey []byte

	mu       sync.Mutex // guards all below
	stats    Stats
	grants   grants             // the only part that outlives the process
	codes    map[string]code    // by hash
	sessions map[string]session // by hash of the cookie
	notes    map[string][]note  // by user
	lastNote int
}

// New checks cfg, reads the state file where there is one, and writes it once,
// so that a folder that cannot be written to shows now and not at a user's
// first refresh.
func New(cfg Config) (*Provider, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("demo provider: %w", err)
	}
	pages, err := template.ParseFS(files, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("demo provider: reading pages: %w", err)
	}
	p := &Provider{
		cfg:      cfg.withDefaults(),
		pages:    pages,
		csrfKey:  randomBytes(32),
		codes:    map[string]code{},
		sessions: map[string]session{},
		notes:    map[string][]note{},
	}
	if p.grants, err = loadGrants(cfg.StatePath, cfg.ClientID); err != nil {
		return nil, fmt.Errorf("demo provider: %w", err)
	}
	if err := p.change(func(grants) {}); err != nil {
		return nil, fmt.Errorf("demo provider: %w", err)
	}
	p.seedNotes()
	p.mux = p.routes()
	return p, nil
}

func (c Config) check() error {
	origin, err := url.Parse(c.Origin)
	if err != nil || !isWeb(origin) || c.Origin != originOf(origin) {
		return fmt.Errorf("origin %q: want scheme and host only, such as http://127.0.0.1:9090", c.Origin)
	}
	if c.ClientID == "" || c.ClientSecret == "" {
		return errors.New("a client id and a client secret are needed")
	}
	if len(c.RedirectURIs) == 0 {
		return errors.New("at least one redirect URI is needed")
	}
	for _, uri := range c.RedirectURIs {
		if u, err := url.Parse(uri); err != nil || !isWeb(u) || strings.Contains(uri, "#") {
			return fmt.Errorf("redirect URI %q: want an absolute http or https address without a fragment", uri)
		}
	}
	if c.AccessTTL < 0 {
		return fmt.Errorf("access tokens cannot live %v", c.AccessTTL)
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.RedirectURIs = slices.Clone(c.RedirectURIs)
	if c.AccessTTL == 0 {
		c.AccessTTL = time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (p *Provider) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("/", p.lost)
	mux.Handle("GET /acme.css", http.FileServerFS(files))
	mux.Handle("GET /acme.svg", http.FileServerFS(files))

	mux.HandleFunc("GET /.well-known/oauth-authorization-server", p.metadata)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /revoke", p.revoke)

	mux.HandleFunc("GET /v1/me", p.api("read", p.me))
	mux.HandleFunc("GET /v1/notes", p.api("read", p.listNotes))
	mux.HandleFunc("POST /v1/notes", p.api("write", p.addNote))
	mux.HandleFunc("GET /v1/notes/{id}", p.api("read", p.getNote))
	mux.HandleFunc("GET /v1/ticks", p.api("", p.ticks))
	mux.HandleFunc("PUT /v1/blob", p.api("", p.takeBlob))
	mux.HandleFunc("GET /v1/blob", p.api("", p.giveBlob))
	mux.HandleFunc("/v1/echo", p.api("", p.echo))
	mux.HandleFunc("/v1/", p.api("", p.noEndpoint))
	return mux
}

// ServeHTTP answers one request.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	p.mux.ServeHTTP(w, r)
}

// Stats returns the counters as they stand.
func (p *Provider) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *Provider) count(counter func(*Stats) *int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*counter(&p.stats)++
}

// RevokeUser ends all grants of a user, as if the user had removed the app in
// Acme's settings: access and refresh tokens stop working.
func (p *Provider) RevokeUser(name string) {
	p.force(func(all grants) {
		maps.DeleteFunc(all, func(_ string, g grant) bool { return g.User == name })
		// A code on its way to the client would bring the user back.
		maps.DeleteFunc(p.codes, func(_ string, c code) bool { return c.user == name })
	})
}

// ExpireAccessTokens makes all access tokens expired from now on. Refresh
// tokens remain.
func (p *Provider) ExpireAccessTokens() {
	p.force(func(all grants) {
		for id, g := range all {
			g.Access = nil
			all[id] = g
		}
	})
}

// isWeb reports whether u is absolute, for browsers, and without a password.
func isWeb(u *url.URL) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the process rather than be weak
	return b
}
