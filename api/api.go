// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package api is what the operator's own app talks to, over HTTP with JSON.
package api

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// Config makes a Service.
type Config struct {
	// PublicURL is where the API is reached: below it at /v1/.
	PublicURL *url.URL
	// Here reports whether a request came to that URL's host.
	Here func(r *http.Request) bool
	// AgentsURL is where agents call toolkits.
	AgentsURL *url.URL
	Toolkits  map[string]*toolkit.Toolkit
	// Minter tells which agent asks for a session, and refuses one that may not have
	// one for that user; "" is nobody yet.
	Minter func(r *http.Request, user string) (caller.Caller, error)
	// May reports whether an agent may use a toolkit.
	May func(who caller.Caller, toolkitID string) bool
	// MayCallBack reports whether an agent may have users sent to an address.
	MayCallBack func(who caller.Caller, address string) bool
	Sessions    Sessions
	Revocations Revocations
	// Ended is told that sessions were taken back: what goes on in them ends.
	Ended func()
	Vault Vault
	Audit interface{ Record(audit.Record) error }
	// Report is told of each answer, for the log. Nil: nobody.
	Report func(Event)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Sessions makes tokens; *session.Desk does.
type Sessions interface {
	Mint(s caller.Session) (token string, made caller.Session)
}

// Event is one request.
type Event struct {
	RequestID string
	Caller    caller.Caller
	What      string // session_made, session_ended, sessions_ended, refused
	Code      problem.Code
	Err       error
}

// Service serves the API. It is safe for concurrent use.
type Service struct {
	cfg    Config
	prefix string
}

// New makes a service. It touches neither store nor network.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Report == nil {
		cfg.Report = func(Event) {}
	}
	return &Service{cfg: cfg, prefix: strings.TrimRight(cfg.PublicURL.JoinPath("/").Path, "/") + "/v1/"}
}

// visit is one request.
type visit struct {
	w   http.ResponseWriter
	r   *http.Request
	id  string
	who caller.Caller
}

// Handles reports whether the request is for the API: one of its own paths, on the
// public URL's host. A request that names a toolkit is for the gateway.
func (s *Service) Handles(r *http.Request) bool {
	if r.Header["X-Toolkit"] != nil || !s.cfg.Here(r) {
		return false
	}
	page, _, _ := s.page(r.URL.Path)
	return page == sessionsPath
}

const sessionsPath = "sessions"

func (s *Service) page(path string) (page, rest string, ok bool) {
	path, ok = strings.CutPrefix(path, s.prefix)
	page, rest, _ = strings.Cut(path, "/")
	return page, rest, ok
}

// ServeHTTP serves a request that Handles has taken.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r, id: rand.Text()}
	w.Header().Set("X-Toolgate-Request-Id", v.id)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	what, err := s.serve(v)
	e := Event{RequestID: v.id, Caller: v.who, What: what}
	if err != nil {
		p := problem.Of(err)
		p.Step = "api"
		if r.ProtoMajor == 1 && r.ContentLength != 0 {
			// Where the connection is to be used again, the server reads the body to its
			// end before it answers, for as long as a client takes to send it.
			w.Header().Set("Connection", "close")
		}
		p.Write(w, r.Header.Get("Accept"), v.id)
		e.What, e.Code, e.Err = "refused", p.Code, p.Unwrap()
	}
	s.cfg.Report(e)
}

func (s *Service) serve(v *visit) (what string, err error) {
	_, rest, _ := s.page(v.r.URL.Path)
	switch {
	case v.r.Header["Origin"] != nil:
		// The agent's key has no business in a browser.
		return "", problem.New(problem.BrowserRequest, "origin", "This address is for servers. A web page cannot call it.")
	case rest == "" && v.r.Method == http.MethodPost:
		return "session_made", s.makeSession(v)
	case rest == "revoke" && v.r.Method == http.MethodPost:
		return "sessions_ended", s.endSessions(v)
	case rest == "" || rest == "revoke":
		return "", notAllowed("POST")
	case v.r.Method == http.MethodDelete:
		return "session_ended", s.endSession(v, rest)
	default:
		return "", notAllowed("DELETE")
	}
}

func notAllowed(allow string) error {
	p := problem.New(problem.MethodRefused, "method", "This address answers "+allow+".")
	p.Allow = allow
	return p
}

// answer writes a body as JSON.
func (v *visit) answer(status int, body []byte) error {
	h := v.w.Header()
	h.Set("Content-Type", "application/json")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(body)
	return nil
}

// encode cannot fail for what it is given. Links stay as they are: & has to be &.
func encode(body any) []byte {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body)
	return []byte(text.String())
}
