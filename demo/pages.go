// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"embed"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed pages acme.css acme.svg
var files embed.FS

// page is what every page needs; the rest is of some pages only.
type page struct {
	Title string
	App   string

	Action  string // where the form goes: the address of this very request
	CSRF    string
	Back    string // where the person will be sent, in short
	Notice  string
	People  []person
	Who     person
	Scopes  []scope
	Heading string
	Text    string
}

func (p *Provider) home(w http.ResponseWriter, _ *http.Request) {
	p.show(w, http.StatusOK, "home", "", page{Title: "Acme, a demo provider", People: people(), Scopes: scopes()})
}

func (p *Provider) lost(w http.ResponseWriter, _ *http.Request) {
	p.errorPage(w, http.StatusNotFound, "There is nothing here", "The address may be mistyped.")
}

func (p *Provider) errorPage(w http.ResponseWriter, status int, heading, text string) {
	p.show(w, status, "error", "", page{Title: heading + " · Acme", Heading: heading, Text: text})
}

func (p *Provider) loginPage(w http.ResponseWriter, r *http.Request, asked ask, v visit, notice string) {
	status := http.StatusOK
	if notice != "" {
		status = http.StatusForbidden
	}
	p.show(w, status, "login", asked.redirect, page{
		Title:  "Sign in · Acme",
		Action: r.URL.RequestURI(),
		CSRF:   v.csrf,
		Notice: notice,
		People: people(),
	})
}

func (p *Provider) consentPage(w http.ResponseWriter, r *http.Request, asked ask, v visit) {
	back, _ := url.Parse(asked.redirect)
	p.show(w, http.StatusOK, "consent", asked.redirect, page{
		Title:  "Allow access? · Acme",
		Action: r.URL.RequestURI(),
		CSRF:   v.csrf,
		Back:   back.Host,
		Who:    *v.who,
		Scopes: slices.DeleteFunc(scopes(), func(s scope) bool { return !slices.Contains(asked.scopes, s.Name) }),
	})
}

// show writes a page whose form may lead to the address back; "" for none.
func (p *Provider) show(w http.ResponseWriter, status int, name, back string, data page) {
	data.App = clientName
	var out bytes.Buffer // first all of it: half a page with status 200 helps nobody
	if err := p.pages.ExecuteTemplate(&out, name, data); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy(back))
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer") // the address of the page holds the client's state
	w.WriteHeader(status)
	w.Write(out.Bytes())
}

// policy is what a page may do: look like itself and send its form. Chromium
// also checks form-action for all redirects that follow a form, so where Allow
// leads must be named. A client whose callback redirects on to a third origin is
// therefore stopped here, as by other strict providers; it has to show a page of
// its own in between.
func policy(back string) string {
	forms := "'self'"
	if u, err := url.Parse(back); err == nil && back != "" {
		forms += " " + originOf(u)
	}
	return strings.Join([]string{
		"default-src 'none'",
		"style-src 'self'",
		"img-src 'self'",
		"form-action " + forms,
		"frame-ancestors 'none'",
		"base-uri 'none'",
	}, "; ")
}
