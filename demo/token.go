// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"crypto/sha256"
	"encoding/base64"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	codeLife = time.Minute
	// A code is remembered this long, so that its second use is noticed.
	codeMemory = time.Hour
)

// code is an authorization code: what was asked, and who said yes.
type code struct {
	ask   ask
	user  string
	ends  time.Time
	used  bool
	grant string // what it was exchanged for
}

// tokens is the answer of the token endpoint (RFC 6749 §5.1).
type tokens struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.count(func(s *Stats) *int { return &s.TokenRequests })
	answer, bad := p.exchange(w, r)
	if bad != nil {
		bad.write(w)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (p *Provider) exchange(w http.ResponseWriter, r *http.Request) (*tokens, *fault) {
	form, bad := p.clientForm(w, r)
	if bad != nil {
		return nil, bad
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch form.Get("grant_type") {
	case "authorization_code":
		return p.redeem(form)
	case "refresh_token":
		return p.refresh(form)
	case "":
		return nil, invalidRequest("grant_type is missing")
	}
	return nil, &fault{http.StatusBadRequest, "unsupported_grant_type", "use authorization_code or refresh_token"}
}

// redeem exchanges a code. The lock is held from the look at the code to its
// end: of two that come with the same code at once, one wins.
func (p *Provider) redeem(form url.Values) (*tokens, *fault) {
	key := hashOf(form.Get("code"))
	c, known := p.codes[key]
	switch {
	case !known:
		return nil, invalidGrant("the code is unknown or expired")
	case c.used:
		// Two holders of one code: one of them stole it (RFC 6749 §4.1.2).
		return nil, p.end(c.grant, "the code was used before; what it was exchanged for has ended")
	case !p.cfg.Now().Before(c.ends):
		return nil, invalidGrant("the code is unknown or expired")
	case !c.ask.provenBy(form):
		// The code ends here, or a thief could try verifiers one after the other.
		p.codes[key] = c.spentOn("")
		return nil, invalidGrant("redirect_uri or code_verifier is not the one of the authorization request")
	}
	handle := randomBytes(handleSize)
	id, answer, bad := p.issue(handle, grant{User: c.user, Client: p.cfg.ClientID, Scopes: c.ask.scopes})
	if bad == nil {
		p.codes[key] = c.spentOn(id)
	}
	return answer, bad
}

func (c code) spentOn(grant string) code {
	c.used, c.grant = true, grant
	return c
}

// provenBy reports whether the form comes from who made the request: the same
// redirect_uri, and the verifier behind its challenge (RFC 7636 §4.6).
func (a ask) provenBy(form url.Values) bool {
	verifier := form.Get("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	return len(verifier) >= 43 && len(verifier) <= 128 &&
		same(base64.RawURLEncoding.EncodeToString(sum[:]), a.challenge) &&
		form.Get("redirect_uri") == a.redirect
}

// refresh exchanges a refresh token, which works once.
func (p *Provider) refresh(form url.Values) (*tokens, *fault) {
	text := form.Get("refresh_token")
	handle := handleOf(refreshPrefix, text)
	id := hashOf(string(handle))
	g, known := p.grants[id]
	switch {
	case handle == nil, !known, g.Refresh == "", !p.cfg.Now().Before(g.Ends):
		return nil, invalidGrant("the refresh token is unknown, expired or revoked")
	case !same(hashOf(text), g.Refresh):
		// Only a token of this family knows its handle, and this is not the
		// current one: somebody kept a copy. Who of the two is honest cannot be
		// told, so nobody goes on (RFC 9700 §4.14.2).
		p.stats.ReuseDetections++
		return nil, p.end(id, "the refresh token was used before; the whole grant has ended")
	case !within(strings.Fields(form.Get("scope")), g.Scopes):
		return nil, &fault{http.StatusBadRequest, "invalid_scope", "more than was granted"}
	}
	_, answer, bad := p.issue(handle, g)
	if bad == nil {
		p.stats.Refreshes++
	}
	return answer, bad
}

// issue gives the grant new tokens and saves it under its handle.
func (p *Provider) issue(handle []byte, g grant) (id string, answer *tokens, bad *fault) {
	now := p.cfg.Now()
	answer = &tokens{
		AccessToken: newToken(accessPrefix, handle),
		TokenType:   "Bearer",
		ExpiresIn:   int(math.Ceil(p.cfg.AccessTTL.Seconds())),
		Scope:       strings.Join(g.Scopes, " "),
	}
	g.Ends = now.Add(max(grantIdle, p.cfg.AccessTTL))
	g.Access = append(slices.Clone(g.Access), access{hashOf(answer.AccessToken), now.Add(p.cfg.AccessTTL)})
	g.Access = g.Access[max(0, len(g.Access)-maxAccess):]
	if slices.Contains(g.Scopes, "offline_access") {
		answer.RefreshToken = newToken(refreshPrefix, handle)
		g.Refresh = hashOf(answer.RefreshToken)
	}
	id = hashOf(string(handle))
	if err := p.change(func(all grants) { all[id] = g }); err != nil {
		return "", nil, unsaved()
	}
	return id, answer, nil
}

// end ends a family and says why.
func (p *Provider) end(id, why string) *fault {
	if err := p.change(func(all grants) { delete(all, id) }); err != nil {
		return unsaved()
	}
	return invalidGrant(why)
}

// revoke is RFC 7009. Any token of a family ends all of it, also one that has
// expired or was rotated away: a client that lost our last answer can still
// disconnect.
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request) {
	form, bad := p.clientForm(w, r)
	if bad == nil && form.Get("token") == "" {
		bad = invalidRequest("token is missing")
	}
	if bad == nil {
		bad = p.endFamilyOf(form.Get("token"))
	}
	if bad != nil {
		bad.write(w)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (p *Provider) endFamilyOf(token string) *fault {
	handle := handleOf(accessPrefix, token)
	if handle == nil {
		handle = handleOf(refreshPrefix, token)
	}
	id := hashOf(string(handle))
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.grants[id]; !known {
		return nil
	}
	if err := p.change(func(all grants) { delete(all, id) }); err != nil {
		return unsaved()
	}
	p.stats.Revocations++
	return nil
}

// within reports whether all of part is in whole.
func within(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(whole, s) })
}
