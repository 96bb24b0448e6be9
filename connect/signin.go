// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// SignIn finds out who sits at a browser by sending it away. Errors of its are for the
// operator's log; [ErrNotRecognised] is the user's.
type SignIn interface {
	// Begin gives the address to send the browser to, from which it comes back to
	// t.Back with t.State. It may fill in t's Nonce and Verifier.
	Begin(ctx context.Context, t *Trip) (address string, err error)
	// Finish gives the user, by what the browser brings back.
	Finish(ctx context.Context, query url.Values, t Trip) (user string, err error)
	// Place is where people are sent, for the page to name it.
	Place() *url.URL
}

// Trip is one way to a [SignIn] and back. It is kept sealed and good for one return.
type Trip struct {
	State    string `json:"state"`
	Back     string `json:"back"`
	Nonce    string `json:"nonce,omitempty"`    // for an id_token
	Verifier string `json:"verifier,omitempty"` // PKCE

	LinkID  string    `json:"link,omitempty"` // "": to a page of the person's own
	Page    string    `json:"page,omitempty"` // which; the version before knows one alone
	Browser string    `json:"browser"`        // hash of the one that started
	Started time.Time `json:"started"`
	// User is whom the operator's server saw, and Proof the hash of what the browser
	// has to bring back from there.
	User  string `json:"user,omitempty"`
	Proof string `json:"proof,omitempty"`

	version uint64
}

// ErrNotRecognised: the user declined to sign in, or is nobody whom this service knows.
var ErrNotRecognised = errors.New("the user was not recognised")

const signInPath = "signin"

// SignInURI is the address to register with the service that users sign in with.
func SignInURI(public *url.URL) string { return public.JoinPath(signInPath).String() }

// sendToSignIn is the button of the sign-in page: for a link, or else for a page.
func (s *Service) sendToSignIn(v visit, linkID, page string) {
	if !s.trips.admits(s.clientOf(v.r), s.cfg.Now()) {
		s.report("refused", v, nil, "too_many_sign_ins", nil)
		v.w.Header().Set("Retry-After", "60")
		s.message(v, http.StatusTooManyRequests, tooMany)
		return
	}
	t := &Trip{
		State: random(stateBytes), Back: SignInURI(s.cfg.PublicURL),
		LinkID: linkID, Page: page, Browser: hash(s.greet(v)), Started: s.cfg.Now(),
	}
	address, err := s.cfg.SignIn.Begin(v.r.Context(), t)
	if err == nil {
		err = s.saveTrip(v.r.Context(), t)
	}
	if err != nil {
		s.trouble(v, nil, "sign_in", err)
		return
	}
	v.redirect(address)
}

// serveSignedIn is where the browser comes back to. As with a provider's callback, only
// the browser that was sent may come back, and once: else somebody could have others
// sign in for a browser of theirs, or be signed in as somebody else without knowing.
func (s *Service) serveSignedIn(v visit) {
	t, err := s.tripOf(v.r.Context(), v.r.URL.Query().Get("state"))
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.message(v, http.StatusBadRequest, signInUnknown)
		return
	case err != nil:
		s.trouble(v, nil, "sign_in", err)
		return
	case !s.is(v.r, t.Browser):
		s.report("refused", v, nil, "other_browser", nil)
		s.message(v, http.StatusForbidden, otherBrowser)
		return
	}
	var l *link
	onward := s.mineURL("")
	if t.Page == projectPath {
		onward = s.projectURL()
	}
	if t.LinkID != "" {
		var ok bool
		if l, ok = s.openLink(v, t.LinkID); !ok {
			return
		}
		onward = s.linkURL(l.ID) // which looks whether it is the right one
	}
	if err := s.cfg.Vault.Delete(v.r.Context(), tripName(t.State), t.version); errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		v.redirect(onward) // a double click: the other one goes on
		return
	} else if err != nil {
		s.trouble(v, l.whole(), "sign_in", err)
		return
	}
	user, err := s.cfg.SignIn.Finish(v.r.Context(), v.r.URL.Query(), *t)
	if err == nil && !caller.ValidUser(user) {
		err = ErrNotRecognised
	}
	if err == nil {
		err = s.signInAs(v, user)
	}
	switch {
	case errors.Is(err, ErrNotRecognised):
		s.report("refused", v, l.whole(), "not_recognised", err)
		s.message(v, http.StatusForbidden, notRecognised)
	case err != nil:
		s.trouble(v, l.whole(), "sign_in", err)
	default:
		v.redirect(onward)
	}
}

func (s *Service) saveTrip(ctx context.Context, t *Trip) error {
	text, err := json.Marshal(t)
	if err == nil {
		err = s.cfg.Vault.Put(ctx, vault.Document{Name: tripName(t.State), Plain: text, Version: t.version + 1, Expires: t.Started.Add(flowLife)})
	}
	if err != nil {
		return fmt.Errorf("writing a sign-in: %w", err)
	}
	t.version++
	return nil
}

func (s *Service) tripOf(ctx context.Context, state string) (*Trip, error) {
	d, err := s.cfg.Vault.Get(ctx, tripName(state))
	if err != nil {
		return nil, err
	}
	t := &Trip{version: d.Version}
	if err := json.Unmarshal(d.Plain, t); err != nil {
		return nil, fmt.Errorf("reading a sign-in: %w", err)
	}
	return t, nil
}

func tripName(state string) string { return vault.Name("signin", hash(state)) }
