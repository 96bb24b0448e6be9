// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"strings"
)

// browserCookie tells browsers apart: a flow that one starts, no other finishes.
// __Host- keeps other hosts of the same domain from setting it; Lax, because the
// provider's redirect back is a navigation from another site.
const browserCookie = "__Host-toolgate"

// browser is the cookie's value, or "".
func browser(r *http.Request) string {
	cookies := r.CookiesNamed(browserCookie)
	if len(cookies) != 1 || len(cookies[0].Value) != base64.RawURLEncoding.EncodedLen(idBytes) {
		return ""
	}
	return cookies[0].Value
}

// greet gives the browser's cookie, setting one where there is none.
func greet(w http.ResponseWriter, r *http.Request) string {
	value := browser(r)
	if value == "" {
		value = random(idBytes)
	}
	http.SetCookie(w, &http.Cookie{
		Name: browserCookie, Value: value, Path: "/", MaxAge: 3600,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return value
}

// formToken proves that a form came from our page in this browser, for this link.
func (s *Service) formToken(browser, linkID string) string {
	mac := hmac.New(sha256.New, s.cfg.Key)
	mac.Write([]byte("form\x00" + browser + "\x00" + linkID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *Service) formTokenOK(r *http.Request, linkID string) bool {
	who := browser(r)
	return who != "" && hmac.Equal([]byte(r.PostFormValue("token")), []byte(s.formToken(who, linkID)))
}

// fromHere reports whether the browser is on this machine, with no proxy between.
func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	if ip == nil || !ip.IsLoopback() {
		return false
	}
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || strings.HasPrefix(name, "X-Forwarded-") {
			return false
		}
	}
	return true
}
