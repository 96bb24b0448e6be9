// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Verifier tells who sits at a browser from what the browser sends with every request,
// such as the cookie of a site in front.
type Verifier interface {
	// User gives the user, or "" where the request does not say. An error: it cannot
	// be known at the moment.
	User(r *http.Request) (string, error)
}

// person is who sits at a browser.
type person struct {
	user  string // "": not known
	asked bool   // false: nobody asks here
}

// is reports whether it is the user whom a link is for.
func (p person) is(user string) bool { return !p.asked || p.user == user }

// verifies reports whether anybody asks who sits at a browser.
func (s *Service) verifies() bool { return s.cfg.Verifier != nil || s.cfg.SignIn != nil }

func (s *Service) personAt(r *http.Request) (p person, err error) {
	switch {
	case s.cfg.Verifier != nil:
		p.asked = true
		p.user, err = s.cfg.Verifier.User(r)
	case s.cfg.SignIn != nil:
		p = person{s.signedIn(r), true}
	}
	return p, err
}

// rightPerson reports whether it is the link's user who sits at the browser, or answers
// why it may not go on. It is asked each time that something is shown or done: a link
// that was forwarded, and a flow that one person starts and another one finishes, end
// here, before any code is spent (draft-ietf-oauth-security-topics-update, cross-user
// session fixation).
func (s *Service) rightPerson(v visit, l *part) bool {
	p, err := s.personAt(v.r)
	switch {
	case err != nil:
		s.trouble(v, l, "verify_user", err)
	case p.is(l.User):
		return true
	case s.cfg.SignIn != nil:
		if p.user != "" {
			s.report("refused", v, l, "other_user", nil)
		}
		s.signInPage(v, l, "", p.user)
	case p.user != "":
		s.report("refused", v, l, "other_user", nil)
		s.message(v, http.StatusForbidden, otherPerson)
	default:
		s.report("refused", v, l, "not_signed_in", nil)
		s.message(v, http.StatusForbidden, notSignedIn)
	}
	return false
}

// signInLife is for how long a browser stays signed in here.
const signInLife = time.Hour

// signedInAs is what the cookie of a browser that is signed in says.
type signedInAs struct {
	User  string    `json:"u"`
	Until time.Time `json:"t"`
}

func (s *Service) userCookie() http.Cookie {
	c := s.cookie()
	c.Name += "-user"
	c.MaxAge = int(signInLife.Seconds())
	return c
}

// signedIn gives the user that this browser has signed in as, or "".
func (s *Service) signedIn(r *http.Request) string {
	cookies := r.CookiesNamed(s.userCookie().Name)
	who := s.browser(r)
	if len(cookies) != 1 || who == "" {
		return ""
	}
	payload, mac, _ := strings.Cut(cookies[0].Value, ".")
	if !hmac.Equal([]byte(mac), []byte(s.userToken(who, payload))) {
		return ""
	}
	var as signedInAs
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(text, &as) != nil || !s.cfg.Now().Before(as.Until) {
		return ""
	}
	return as.User
}

// signInAs makes the browser the user's for a while.
func (s *Service) signInAs(v visit, user string) error {
	text, err := json.Marshal(signedInAs{user, s.cfg.Now().Add(signInLife)})
	if err != nil {
		return err
	}
	c := s.userCookie()
	payload := base64.RawURLEncoding.EncodeToString(text)
	c.Value = payload + "." + s.userToken(s.greet(v), payload)
	http.SetCookie(v.w, &c)
	return nil
}

// userToken holds a cookie to the browser that it was given to.
func (s *Service) userToken(browser, payload string) string {
	mac := hmac.New(sha256.New, s.cfg.Key)
	mac.Write([]byte("user\x00" + browser + "\x00" + payload))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
