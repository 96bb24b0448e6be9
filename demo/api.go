// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxNotes    = 100      // per user; the oldest goes
	maxNoteText = 4 << 10  // bytes
	maxNoteBody = 32 << 10 // bytes; JSON may take six for one
)

// note is a line that a user keeps at Acme, until Acme is started anew.
type note struct {
	ID      string    `json:"id"`
	Text    string    `json:"text"`
	Created time.Time `json:"created_at"`
}

// api wraps a handler in what every call under /v1 goes through (RFC 6750): a
// token that works, and the scope if one is named.
func (p *Provider) api(scope string, handle func(http.ResponseWriter, *http.Request, person)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.count(func(s *Stats) *int { return &s.APICalls })
		g, why := p.granted(r)
		who, _ := personNamed(g.User)
		switch {
		case why != "":
			p.count(func(s *Stats) *int { return &s.APIRefusals })
			challenge(w, http.StatusUnauthorized, "invalid_token", why, "")
		case scope != "" && !slices.Contains(g.Scopes, scope):
			challenge(w, http.StatusForbidden, "insufficient_scope", "this call needs the scope "+scope, scope)
		default:
			handle(w, r, who)
		}
	}
}

// granted finds the grant behind a request's token, or says why there is none.
func (p *Provider) granted(r *http.Request) (g grant, why string) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return grant{}, "no access token was sent"
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return grant{}, "send one Authorization header with a bearer token"
	}
	hash := hashOf(token)
	p.mu.Lock()
	defer p.mu.Unlock()
	g = p.grants[hashOf(string(handleOf(accessPrefix, token)))]
	for _, a := range g.Access {
		if same(a.Hash, hash) && p.cfg.Now().Before(a.Ends) {
			return g, ""
		}
	}
	return grant{}, "the access token is unknown, expired or revoked"
}

func challenge(w http.ResponseWriter, status int, code, why, scope string) {
	value := fmt.Sprintf(`Bearer realm="acme", error="%s", error_description="%s"`, code, why)
	if scope != "" {
		value += fmt.Sprintf(`, scope="%s"`, scope)
	}
	w.Header().Set("WWW-Authenticate", value)
	writeError(w, status, code, why)
}

func (p *Provider) me(w http.ResponseWriter, _ *http.Request, who person) {
	writeJSON(w, http.StatusOK, who)
}

func (p *Provider) listNotes(w http.ResponseWriter, _ *http.Request, who person) {
	p.mu.Lock()
	notes := slices.Clone(p.notes[who.ID])
	p.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"notes": notes})
}

func (p *Provider) getNote(w http.ResponseWriter, r *http.Request, who person) {
	p.mu.Lock()
	notes := slices.Clone(p.notes[who.ID])
	p.mu.Unlock()
	i := slices.IndexFunc(notes, func(n note) bool { return n.ID == r.PathValue("id") })
	if i < 0 {
		writeError(w, http.StatusNotFound, "not_found", "you have no such note")
		return
	}
	writeJSON(w, http.StatusOK, notes[i])
}

func (p *Provider) addNote(w http.ResponseWriter, r *http.Request, who person) {
	var in struct{ Text string }
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxNoteBody)).Decode(&in)
	text := strings.TrimSpace(in.Text)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge) || len(text) > maxNoteText:
		writeError(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("a note has at most %d bytes", maxNoteText))
	case err != nil:
		writeError(w, http.StatusBadRequest, "invalid_request", `send JSON such as {"text": "buy milk"}`)
	case text == "":
		writeError(w, http.StatusBadRequest, "invalid_request", "text is missing")
	default:
		n := p.keepNote(who.ID, text)
		// Absolute, as many providers write it: gateways must make it theirs.
		w.Header().Set("Location", p.cfg.Origin+"/v1/notes/"+n.ID)
		writeJSON(w, http.StatusCreated, n)
	}
}

func (p *Provider) keepNote(user, text string) note {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastNote++
	n := note{ID: strconv.Itoa(p.lastNote), Text: text, Created: p.cfg.Now().UTC()}
	notes := append(p.notes[user], n)
	p.notes[user] = slices.Clone(notes[max(0, len(notes)-maxNotes):])
	return n
}

func (p *Provider) seedNotes() {
	p.keepNote("alice", "Order rocket skates before Friday")
	p.keepNote("alice", "Dinner with Bob, bring the portable hole")
	p.keepNote("bob", "Return the anvil, it was too heavy")
}

// echo shows a call as it arrived, for who wants to see what a gateway made of
// it. It tells that a credential came, never which: answers get logged, and
// shown in chats.
func (p *Provider) echo(w http.ResponseWriter, r *http.Request, _ person) {
	size, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body broke off")
		return
	}
	headers := r.Header.Clone()
	headers.Set("Authorization", "Bearer … (set)")
	writeJSON(w, http.StatusOK, map[string]any{
		"method":     r.Method,
		"path":       r.URL.EscapedPath(),
		"query":      r.URL.RawQuery,
		"host":       r.Host,
		"headers":    headers,
		"body_bytes": size,
	})
}

func (p *Provider) noEndpoint(w http.ResponseWriter, r *http.Request, _ person) {
	writeError(w, http.StatusNotFound, "not_found", "nothing here answers to "+r.Method+" "+r.URL.Path)
}
