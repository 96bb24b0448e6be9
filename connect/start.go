// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"errors"
	"net/http"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/tokencache/store"
)

// serveLink shows what the link is for. It changes nothing, however it is fetched:
// chat applications open links to draw a preview, and scanners follow them.
func (s *Service) serveLink(v visit, id string) {
	l, ok := s.openLink(v, id)
	if !ok || !s.rightPerson(v, l) {
		return
	}
	mine := s.is(v.r, l.Browser)
	switch {
	case !l.Used.IsZero() && mine:
		s.donePage(v, l)
	case !l.Used.IsZero():
		s.message(v, http.StatusGone, linkUsed)
	case l.taken(s.cfg.Now()) != nil:
		v.w.Header().Set("Refresh", "2") // seconds, then the same page again
		s.message(v, http.StatusOK, linkBusy)
	case s.expired(l) && !s.verifies():
		s.message(v, http.StatusGone, linkExpired)
	case mine:
		s.confirmPage(v, http.StatusOK, l, notices[l.Failure])
	default:
		s.confirmPage(v, http.StatusOK, l, "")
	}
}

// openLink finds a link whose toolkit is there, or answers why not.
func (s *Service) openLink(v visit, id string) (*link, bool) {
	l, err := s.find(v.r.Context(), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.message(v, http.StatusNotFound, linkUnknown)
		return nil, false
	case err != nil:
		s.trouble(v, nil, "link", err)
		return nil, false
	}
	if e, known := s.cfg.Toolkits[l.Toolkit]; !known || e.Toolkit.Draft() || !e.Toolkit.Auth.PerUser {
		s.message(v, http.StatusNotFound, toolkitGone)
		return nil, false
	}
	return l, true
}

func (s *Service) expired(l *link) bool { return !s.cfg.Now().Before(l.Expires) }

// serveStart is the button on the page: from here on something happens.
func (s *Service) serveStart(v visit, id string) {
	if !s.fromOurPage(v) {
		return
	}
	l, ok := s.openLink(v, id)
	if !ok {
		return
	}
	fits := s.formTokenOK(v.r, id)
	switch {
	case s.browser(v.r) == "":
		s.message(v, http.StatusForbidden, formStale)
	case fits && s.cfg.SignIn != nil && v.r.PostFormValue("go") == signInPath:
		s.sendToSignIn(v, l.ID)
	case !s.rightPerson(v, l):
		// answered
	case !l.Used.IsZero():
		s.message(v, http.StatusGone, linkUsed)
	case s.expired(l) && !s.verifies():
		s.message(v, http.StatusGone, linkExpired)
	case !fits:
		// Two tabs that were opened at once, and the other one's cookie came
		// last. The page that follows has a token that fits.
		s.confirmPage(v, http.StatusForbidden, l, pressAgain)
	case s.expired(l):
		s.startLate(v, l)
	default:
		s.start(v, l)
	}
}

// fromOurPage reports whether a form came from a page of ours in this browser, or
// answers why not. Another site must not start a flow in it: it could be the flow of
// somebody else, and the account would end up with them.
func (s *Service) fromOurPage(v visit) bool {
	if err := http.NewCrossOriginProtection().Check(v.r); err != nil {
		s.message(v, http.StatusForbidden, formForeign)
		return false
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		s.message(v, http.StatusBadRequest, formForeign)
		return false
	}
	return true
}

// startLate goes on from a fresh link: a link is short-lived so that nobody else can use
// it, and this is surely the one whom it was made for.
func (s *Service) startLate(v visit, l *link) {
	who := caller.Caller{Tenant: l.Tenant, Agent: l.Agent, User: l.User}
	fresh, err := s.linkFor(v.r.Context(), who, l.purpose())
	if err != nil {
		s.trouble(v, l, "start", err)
		return
	}
	s.start(v, fresh)
}

func (s *Service) start(v visit, l *link) {
	if s.cfg.Toolkits[l.Toolkit].Toolkit.OAuth == nil {
		s.takeKey(v, l)
		return
	}
	now := s.cfg.Now()
	if err := s.cfg.Audit.Record(l.record(now, audit.LinkOpened, v.id, "")); err != nil {
		s.trouble(v, l, "audit", err)
		return
	}
	// The flow first: where the link cannot be written then, nothing says that
	// somebody is on the way.
	address, err := s.begin(v.r.Context(), l, s.cfg.Toolkits[l.Toolkit].Toolkit, s.greet(v))
	if err == nil {
		err = s.update(v.r.Context(), l.ID, func(l *link) error {
			if err := l.taken(now); err != nil {
				return err
			}
			l.Started, l.Failure, l.Browser = now, "", ""
			return nil
		})
	}
	switch {
	case errors.Is(err, errTaken):
		v.redirect(s.linkURL(l.ID))
	case err != nil:
		s.trouble(v, l, "start", err)
	default:
		s.report("started", v, l, "", nil)
		v.redirect(address)
	}
}

// redirect sends the browser on with GET. The header is written by hand, since
// http.Redirect would put the address into a page too.
func (v visit) redirect(address string) {
	h := v.w.Header()
	h.Set("Location", address)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	v.w.WriteHeader(http.StatusSeeOther)
}

func (l *link) record(at time.Time, event audit.Event, requestID, reason string) audit.Record {
	return audit.Record{
		Time: at, Event: event, RequestID: requestID, Tenant: l.Tenant, Agent: l.Agent, User: l.User, Toolkit: l.Toolkit, Reason: reason,
	}
}

func (s *Service) report(what string, v visit, l *link, reason string, err error) {
	e := Event{What: what, RequestID: v.id, Reason: reason, Err: err}
	if l != nil {
		e.Tenant, e.Agent, e.User, e.Toolkit = l.Tenant, l.Agent, l.User, l.Toolkit
	}
	s.cfg.Report(e)
}
