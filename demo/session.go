// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	cookieName  = "acme_session"
	sessionLife = 12 * time.Hour
	password    = "demo" // everybody's, and the page says so
)

// person has an account at Acme.
type person struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Initial is what the pages show for a picture.
func (p person) Initial() string { return p.Name[:1] }

func people() []person {
	return []person{
		{"alice", "Alice Archer", "alice@acme.example"},
		{"bob", "Bob Barker", "bob@acme.example"},
		{"carol", "Carol Clerk", "carol@acme.example"},
	}
}

func personNamed(id string) (person, bool) {
	i := slices.IndexFunc(people(), func(p person) bool { return p.ID == id })
	if i < 0 {
		return person{}, false
	}
	return people()[i], true
}

// session is one person signed in with one browser.
type session struct {
	user string
	ends time.Time
}

// visit is one browser at the pages, signed in or not.
type visit struct {
	id   string // the cookie's value
	csrf string
	who  *person
}

// visitOf recognises the browser by its cookie and gives one to who has none.
// Nothing is kept for a visitor until they sign in.
func (p *Provider) visitOf(w http.ResponseWriter, r *http.Request) visit {
	cookie, err := r.Cookie(cookieName)
	if err != nil || cookie.Value == "" {
		return p.newVisit(w)
	}
	v := visit{id: cookie.Value, csrf: p.csrfOf(cookie.Value)}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, known := p.sessions[hashOf(v.id)]
	if !known || !p.cfg.Now().Before(s.ends) {
		return v
	}
	if who, known := personNamed(s.user); known {
		v.who = &who
	}
	return v
}

func (p *Provider) newVisit(w http.ResponseWriter) visit {
	id := base64.RawURLEncoding.EncodeToString(randomBytes(32))
	http.SetCookie(w, &http.Cookie{
		Name:     cookieName,
		Value:    id,
		Path:     "/",
		HttpOnly: true,
		Secure:   strings.HasPrefix(p.cfg.Origin, "https:"),
		// Lax, not Strict: people come here by a link from somewhere else.
		SameSite: http.SameSiteLaxMode,
	})
	return visit{id: id, csrf: p.csrfOf(id)}
}

// csrfOf ties a form to the browser it was made for. Another site can send the
// form but cannot read the page, and so never learns this value.
func (p *Provider) csrfOf(visit string) string {
	mac := hmac.New(sha256.New, p.csrfKey)
	mac.Write([]byte(visit))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (p *Provider) signIn(w http.ResponseWriter, r *http.Request, asked ask, v visit) {
	who, known := personNamed(r.PostFormValue("user"))
	if !known || !same(r.PostFormValue("password"), password) {
		p.loginPage(w, r, asked, v, "That was not it. Choose a person; the password is “demo”.")
		return
	}
	p.signOut(v)
	// A new cookie: one that somebody planted in this browser beforehand must
	// not become a signed-in one.
	p.openSession(p.newVisit(w), who)
	again(w, r)
}

func (p *Provider) openSession(v visit, who person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[hashOf(v.id)] = session{user: who.ID, ends: p.cfg.Now().Add(sessionLife)}
	p.sweep(p.grants)
}

func (p *Provider) signOut(v visit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, hashOf(v.id))
}
