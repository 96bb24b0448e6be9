// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/toolkit"
)

// trip is a callback that may be acted on: whose it is and what it says.
type trip struct {
	state   string
	flow    *flow
	link    *part            // of it, for the toolkit
	toolkit *toolkit.Toolkit // at the authorization server that the flow is for
	code    string           // the provider's yes
	refusal string           // or its no, an error code
	scopes  []string         // that were granted

	requestID string           // of the callback
	query     url.Values       // of the callback, as it came
	own       *toolkit.Toolkit // toolkit at the addresses of this grant, once they are known
	label     string           // the account's, once it was asked for
	asked     bool
	// nameless is why label is not known, where that passes.
	nameless error
}

// finishLimit is how long a callback may be at work.
const finishLimit = time.Minute

// serveCallback is where the provider sends the browser back. Everything is checked
// before the code is spent: the state is ours and fresh, it was made for this
// toolkit, in this browser, and the answer is from the provider that was asked.
func (s *Service) serveCallback(v visit, toolkitID string) {
	t, ok := s.checkCallback(v, toolkitID)
	if !ok {
		return
	}
	// The browser may be closed now; the code is spent all the same, and its
	// tokens must not be lost half-way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), finishLimit)
	defer cancel()
	if err := s.claim(ctx, t); errors.Is(err, errTaken) {
		v.redirect(s.linkURL(t.link.ID))
		return
	} else if err != nil {
		s.trouble(v, t.link, "claim", err)
		return
	}
	failure := s.complete(ctx, v, t)
	s.showEnd(v, t.link, failure, s.conclude(ctx, v, t.link, t.flow.Browser, failure))
}

// showEnd shows how it went. err: the link could not be told.
func (s *Service) showEnd(v visit, l *part, failure string, err error) {
	switch {
	case errors.Is(err, errEnded):
		v.redirect(s.linkURL(l.ID)) // which says so
	case err != nil && failure == "":
		// The grant is kept, and that is what the user has to know.
		s.report("trouble", v, l, "conclude", err)
		s.donePage(v, l)
	case err != nil:
		s.trouble(v, l, "conclude", err)
	case failure == ours:
		s.sorry(v)
	default:
		// To a clean address: the code must not stay in the history, and a page
		// that is loaded again must not send a key again.
		v.redirect(cmp.Or(s.sentBack(l, failure), s.nextPage(l, failure)))
	}
}

// nextPage is where a part's end leads: to the link's page, and to the form again where
// what was entered is no good.
func (s *Service) nextPage(l *part, failure string) string {
	if failure != "" && s.cfg.Toolkits[l.Toolkit].Toolkit.OAuth == nil {
		return s.partURL(l)
	}
	return s.linkURL(l.ID)
}

// checkCallback finds the flow that the callback belongs to, or answers why it may
// not go on.
func (s *Service) checkCallback(v visit, toolkitID string) (*trip, bool) {
	query := v.r.URL.Query()
	if len(query["state"]) != 1 || len(query["code"]) > 1 || len(query["iss"]) > 1 || len(query["error"]) > 1 {
		s.message(v, http.StatusBadRequest, stateUnknown)
		return nil, false
	}
	t := &trip{state: query.Get("state"), code: query.Get("code"), refusal: query.Get("error"), query: query, requestID: v.id}
	var err error
	t.flow, err = s.flowOf(v.r.Context(), t.state)
	if errors.Is(err, store.ErrNotFound) {
		s.message(v, http.StatusBadRequest, stateUnknown)
		return nil, false
	}
	if err != nil {
		s.trouble(v, nil, "flow", err)
		return nil, false
	}
	l, ok := s.openLink(v, t.flow.LinkID)
	if !ok {
		return nil, false
	}
	if t.link = l.part(t.flow.Toolkit); t.link == nil || !s.offered(t.link) {
		s.message(v, http.StatusNotFound, toolkitGone)
		return nil, false
	}
	t.link.Reading = t.flow.ReadOnly
	if t.toolkit, err = s.cfg.Toolkits[t.link.Toolkit].Toolkit.At(t.flow.Asked); err != nil {
		s.report("refused", v, t.link, "configured_anew", err)
		s.message(v, http.StatusConflict, toolkitGone)
		return nil, false
	}
	return t, s.checkTrip(v, t, toolkitID, query)
}

// checkTrip answers where it is not this flow's browser, toolkit, client or provider
// that comes back. The state stays: whoever it belongs to can still finish.
func (s *Service) checkTrip(v visit, t *trip, toolkitID string, query url.Values) bool {
	issuer, client := t.toolkit.Grantee()
	switch {
	case t.flow.Toolkit != toolkitID:
		// A flow for one toolkit and a code for another (COAT).
		s.report("refused", v, t.link, "toolkit_mismatch", nil)
		s.message(v, http.StatusBadRequest, stateUnknown)
	case !s.is(v.r, t.flow.Browser):
		// Somebody else's flow was put into this browser, or the other way round.
		s.report("refused", v, t.link, "other_browser", nil)
		s.message(v, http.StatusForbidden, otherBrowser)
	case !s.rightPerson(v, t.link):
		return false // answered
	case t.flow.Spent || t.link.taken(s.cfg.Now()) != nil:
		// The back button, a double click, another tab: show how it went.
		v.redirect(s.linkURL(t.link.ID))
	case t.toolkit.OAuth == nil || t.flow.ClientID != client || t.flow.Issuer != issuer:
		s.report("refused", v, t.link, "configured_anew", nil)
		s.message(v, http.StatusConflict, toolkitGone)
	case query.Has("iss") && t.toolkit.OAuth.Issuer != "" && query.Get("iss") != t.toolkit.OAuth.Issuer:
		// RFC 9207: another authorization server answered. Its error texts
		// are not shown either.
		s.report("refused", v, t.link, "issuer_mismatch", nil)
		s.message(v, http.StatusBadRequest, issuerWrong)
	default:
		return true
	}
	return false
}

// claim makes the caller the only one to go on: with this state, and with this link,
// which other tabs may have flows for. Whatever comes of it, the state is spent.
func (s *Service) claim(ctx context.Context, t *trip) error {
	if err := s.spend(ctx, t.state, *t.flow); err != nil {
		return err
	}
	until := s.cfg.Now().Add(finishLimit)
	return s.take(ctx, t.link, t.flow.Browser, func(p *part) { p.Busy = until })
}

// errEnded: the link was called off while its work was being done.
var errEnded = errors.New("the link was called off")

// conclude writes into the link how it went, for the browser with this hash to see. It
// did its work only if it went well. Whoever calls a link off has the last word: what was
// connected while they did so is taken back.
func (s *Service) conclude(ctx context.Context, v visit, done *part, browser, failure string) error {
	now, ended, forgotten := s.cfg.Now(), false, false
	err := persist(ctx, func() error {
		err := s.updatePart(ctx, done, func(l *part) error {
			l.Busy, l.Browser, l.Failure = time.Time{}, browser, failure
			if ended = !l.Ended.IsZero(); failure == "" && !ended {
				l.Used, l.Account, l.Asked, l.ReadOnly = now, done.Account, done.Asked, done.ReadOnly // another tab may have said something else
				l.Approved = done.approved != connection.Key{}
			}
			done.link = l.link // as it is from now on
			return nil
		})
		if errors.Is(err, store.ErrNotFound) {
			ended, forgotten = true, true // it was removed, with all that is kept of the user
			return nil
		}
		return err
	})
	if err != nil || !ended {
		return err
	}
	if failure == "" {
		if err := s.takeBack(ctx, v.id, done, forgotten); err != nil {
			return err
		}
	}
	return errEnded
}
