// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

const (
	accessPrefix  = "acme_at_"
	refreshPrefix = "acme_rt_"

	handleSize = 16
	secretSize = 32

	maxForm = 64 << 10
)

// newToken makes a token: prefix, then base64url of
//
//	handle (16 bytes) | secret (32 random bytes)
//
// The handle names the family, so that an old refresh token is recognised as a
// reuse however often it was rotated since, without a list of all spent ones.
func newToken(prefix string, handle []byte) string {
	return prefix + base64.RawURLEncoding.EncodeToString(append(handle[:handleSize:handleSize], randomBytes(secretSize)...))
}

// handleOf reads the handle out of a token; nil: no token of that kind.
func handleOf(prefix, token string) []byte {
	text, found := strings.CutPrefix(token, prefix)
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if !found || err != nil || len(raw) != handleSize+secretSize {
		return nil
	}
	return raw[:handleSize]
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// same compares in a time that tells nothing, the length included.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// clientForm reads the form of a request that the client makes itself, and
// checks that it is the client. Only the body counts: secrets in an address end
// up in logs.
func (p *Provider) clientForm(w http.ResponseWriter, r *http.Request) (url.Values, *fault) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, invalidRequest("the body is not a form, or too large")
	}
	form := r.PostForm
	if name := repeated(form); name != "" {
		return nil, invalidRequest(name + " is given more than once")
	}
	id, secret, basic := r.BasicAuth()
	switch {
	case basic && form.Has("client_secret"):
		return nil, invalidRequest("the client authenticates twice; choose Basic or the body")
	case basic:
		id, secret = formDecoded(id), formDecoded(secret)
	default:
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	// Both are always compared: the time must not tell which was wrong.
	idFits, secretFits := same(id, p.cfg.ClientID), same(secret, p.cfg.ClientSecret)
	if !idFits || !secretFits {
		return nil, &fault{http.StatusUnauthorized, "invalid_client", "client id or secret is wrong"}
	}
	return form, nil
}

// formDecoded undoes the form encoding that RFC 6749 §2.3.1 asks for inside
// Basic. What does not decode was never encoded.
func formDecoded(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}

// repeated names a parameter that is given more than once, which RFC 6749 §3.1
// forbids: two readers might each pick a different one.
func repeated(form url.Values) string {
	for name, values := range form {
		if len(values) > 1 {
			return name
		}
	}
	return ""
}

// fault is an error of the OAuth endpoints (RFC 6749 §5.2).
type fault struct {
	status    int
	code, why string
}

func (f *fault) write(w http.ResponseWriter) {
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="acme"`)
	}
	writeError(w, f.status, f.code, f.why)
}

func invalidRequest(why string) *fault { return &fault{http.StatusBadRequest, "invalid_request", why} }
func invalidGrant(why string) *fault   { return &fault{http.StatusBadRequest, "invalid_grant", why} }

// unsaved asks to try again: nothing has changed, so the same token or code
// still works once the disk does.
func unsaved() *fault {
	return &fault{http.StatusServiceUnavailable, "temporarily_unavailable", "the change could not be saved; nothing has changed"}
}

// metadata is RFC 8414.
func (p *Provider) metadata(w http.ResponseWriter, _ *http.Request) {
	origin, methods := p.cfg.Origin, []string{"client_secret_basic", "client_secret_post"}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         origin,
		"authorization_endpoint":                         origin + "/authorize",
		"token_endpoint":                                 origin + "/token",
		"revocation_endpoint":                            origin + "/revoke",
		"service_documentation":                          origin + "/",
		"scopes_supported":                               scopeNames(),
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          methods,
		"revocation_endpoint_auth_methods_supported":     methods,
		"authorization_response_iss_parameter_supported": true,
	})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

func writeError(w http.ResponseWriter, status int, code, why string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": why})
}
