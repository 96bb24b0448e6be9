// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"time"

	"github.com/toolgate/toolgate/credential"
)

// cookie tells browsers apart: a flow that one starts, no other finishes. __Host-
// keeps other hosts of the same domain from setting it; Lax, because the provider's
// redirect back is a navigation from another site. It outlives the link, so that a
// page that was open for as long as its link still works.
func (s *Service) cookie() http.Cookie {
	c := http.Cookie{
		Name: "__Host-toolgate", Path: "/", MaxAge: int((s.cfg.LinkLife + time.Hour).Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if s.cfg.PublicURL.Scheme == "http" {
		// That is this machine, where other browsers make an exception and
		// Safari keeps no Secure cookie (WebKit bug 281149).
		c.Name, c.Secure = "toolgate-connect", false
	}
	return c
}

// browser is the cookie's value, or "". Of two, somebody may have planted one.
func (s *Service) browser(r *http.Request) string {
	cookies := r.CookiesNamed(s.cookie().Name)
	if len(cookies) != 1 || len(cookies[0].Value) != base64.RawURLEncoding.EncodedLen(idBytes) {
		return ""
	}
	return cookies[0].Value
}

// is reports whether the request is from the browser with this hash.
func (s *Service) is(r *http.Request, browserHash string) bool {
	who := s.browser(r)
	return who != "" && subtle.ConstantTimeCompare([]byte(hash(who)), []byte(browserHash)) == 1
}

// greet gives the browser's cookie, setting one where there is none. One that is
// there stays as it is, since other tabs rely on it, and begins its life anew.
func (s *Service) greet(v visit) string {
	c := s.cookie()
	c.Value = s.browser(v.r)
	if c.Value == "" {
		c.Value = random(idBytes)
	}
	http.SetCookie(v.w, &c)
	return c.Value
}

// formToken proves that a form came from our page in this browser, for this link.
func (s *Service) formToken(browser, linkID string) string {
	mac := hmac.New(sha256.New, s.cfg.Key)
	mac.Write([]byte("form\x00" + browser + "\x00" + linkID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *Service) formTokenOK(r *http.Request, linkID string) bool {
	who := s.browser(r)
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
		if credential.TellsOrigin(name) {
			return false
		}
	}
	return true
}
