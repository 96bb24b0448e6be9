// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// clientName is what the one registered client is called on the pages.
const clientName = "Toolgate demo"

// scope is something a client may ask for, and what that is in words.
type scope struct{ Name, Words, Detail string }

func scopes() []scope {
	return []scope{
		{"read", "See your profile and your notes", "Your name, your email address and every note you keep at Acme."},
		{"write", "Write notes for you", "New notes appear in your account. It cannot change or delete old ones."},
		{"offline_access", "Stay connected while you are away", "The access ends when you disconnect, or after 90 days without use."},
	}
}

func scopeNames() (names []string) {
	for _, s := range scopes() {
		names = append(names, s.Name)
	}
	return names
}

// ask is an authorization request that may be put before a person.
type ask struct {
	redirect  string
	state     string
	challenge string
	scopes    []string
}

// authorize is both sides of the pages: GET shows the one that is due, POST
// takes what the person did there. Each reads the request anew from the
// address, so a form carries nothing that could differ from what was checked.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	redirect, why := p.trustedRedirect(query)
	if why != "" {
		// Never a redirect: an address that is not registered may be a thief's.
		p.errorPage(w, http.StatusBadRequest, "This link does not work", why)
		return
	}
	asked, bad := readAsk(query)
	asked.redirect = redirect
	if bad != nil {
		p.sendBack(w, asked, url.Values{"error": {bad.code}, "error_description": {bad.why}})
		return
	}
	v := p.visitOf(w, r)
	if r.Method == http.MethodPost {
		p.decide(w, r, asked, v)
		return
	}
	p.showDue(w, r, asked, v)
}

// trustedRedirect checks what must hold before anything may be sent anywhere.
func (p *Provider) trustedRedirect(query url.Values) (redirect, why string) {
	id, uri := query["client_id"], query["redirect_uri"]
	switch {
	case len(id) != 1 || id[0] != p.cfg.ClientID:
		return "", "The app that sent you here is not known to Acme (client_id)."
	case len(uri) != 1 || !slices.Contains(p.cfg.RedirectURIs, uri[0]):
		return "", "The app that sent you here gave a return address that it has not registered with Acme (redirect_uri). Addresses must match exactly."
	}
	return uri[0], ""
}

func readAsk(query url.Values) (ask, *fault) {
	a := ask{state: query.Get("state"), challenge: query.Get("code_challenge")}
	if name := repeated(query); name != "" {
		return a, invalidRequest(name + " is given more than once")
	}
	switch query.Get("response_type") {
	case "code":
	case "":
		return a, invalidRequest("response_type is missing")
	default:
		return a, &fault{0, "unsupported_response_type", "only code is supported"}
	}
	if mode := query.Get("response_mode"); mode != "" && mode != "query" {
		return a, invalidRequest("only response_mode query is supported")
	}
	// A missing method means plain (RFC 7636 §4.3), and plain protects from
	// nobody who can read the address.
	if query.Get("code_challenge_method") != "S256" || !isDigest(a.challenge) {
		return a, invalidRequest("PKCE with code_challenge_method S256 is required")
	}
	a.scopes = readScopes(query.Get("scope"))
	if !within(a.scopes, scopeNames()) {
		return a, &fault{0, "invalid_scope", "known are: " + strings.Join(scopeNames(), " ")}
	}
	return a, nil
}

// readScopes sorts and drops doubles; who names none gets to read.
func readScopes(text string) []string {
	names := strings.Fields(text)
	if len(names) == 0 {
		return []string{"read", "offline_access"}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isDigest reports whether s is a SHA-256 in base64url.
func isDigest(s string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && len(raw) == 32
}

func (p *Provider) showDue(w http.ResponseWriter, r *http.Request, asked ask, v visit) {
	if v.who == nil {
		p.loginPage(w, r, asked, v, "")
		return
	}
	p.consentPage(w, r, asked, v)
}

// decide takes what the person did on a page.
func (p *Provider) decide(w http.ResponseWriter, r *http.Request, asked ask, v visit) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	// The token is of this visit, and a visit is of one person: who signed in as
	// somebody else in another tab cannot allow here in the wrong name.
	if !same(r.PostFormValue("csrf"), v.csrf) {
		p.errorPage(w, http.StatusForbidden, "This page is too old", "You signed in or out in the meantime, or your browser keeps no cookies. Go back to the app and start again.")
		return
	}
	action := r.PostFormValue("action")
	switch {
	case action == "login":
		p.signIn(w, r, asked, v)
	case action == "switch":
		p.signOut(v)
		again(w, r)
	case v.who == nil: // the session ended while the page was open
		again(w, r)
	case action == "allow":
		p.sendBack(w, asked, url.Values{"code": {p.newCode(asked, v.who.ID)}})
	case action == "deny":
		p.sendBack(w, asked, url.Values{"error": {"access_denied"}, "error_description": {"the user said no"}})
	default:
		p.errorPage(w, http.StatusBadRequest, "Nothing was chosen", "Go back and choose Allow or Deny.")
	}
}

func (p *Provider) newCode(asked ask, user string) string {
	text := base64.RawURLEncoding.EncodeToString(randomBytes(32))
	ends := p.cfg.Now().Add(codeLife)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[hashOf(text)] = code{ask: asked, user: user, ends: ends}
	p.sweep(p.grants)
	return text
}

// again shows the page that is due now. 303 turns the POST into a GET, so that
// going back or reloading repeats nothing.
func again(w http.ResponseWriter, r *http.Request) {
	redirect(w, r.URL.RequestURI())
}

// sendBack ends the request at the client, with iss so that it can tell which
// provider answered (RFC 9207).
func (p *Provider) sendBack(w http.ResponseWriter, asked ask, answer url.Values) {
	answer.Set("iss", p.cfg.Origin)
	if asked.state != "" {
		answer.Set("state", asked.state)
	}
	sep := "?"
	if strings.Contains(asked.redirect, "?") {
		sep = "&" // the registered address has a query of its own, which stays
	}
	redirect(w, asked.redirect+sep+answer.Encode())
}

func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}
