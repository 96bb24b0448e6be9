// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/tokencache/store"
)

// serveLink shows what the link is for. It changes nothing, however it is fetched:
// chat applications open links to draw a preview, and scanners follow them.
func (s *Service) serveLink(v visit, path string) {
	all, l, ok := s.openPart(v, path)
	switch {
	case !ok || !s.rightPerson(v, all.whole()):
	case l == nil:
		s.serveSeveral(v, all)
	case all.several() && (l.taken(s.cfg.Now()) != nil || s.over(v, all)):
		v.redirect(s.linkURL(all.ID)) // which says how it stands
	default:
		s.serveOne(v, l)
	}
}

func (s *Service) serveOne(v visit, l *part) {
	mine := s.is(v.r, l.Browser)
	switch {
	case !l.Used.IsZero() && mine:
		s.donePage(v, l)
	case !l.Used.IsZero():
		s.message(v, http.StatusGone, linkUsed)
	case l.taken(s.cfg.Now()) != nil:
		v.w.Header().Set("Refresh", "2") // seconds, then the same page again
		s.message(v, http.StatusOK, linkBusy)
	case s.expired(l.link) && !s.verifies():
		s.message(v, http.StatusGone, linkExpired)
	case mine:
		s.confirmPage(v, http.StatusOK, l, notices[l.Failure])
	default:
		s.confirmPage(v, http.StatusOK, l, "")
	}
}

// openLink finds a link that has a toolkit that is there, or answers why not.
func (s *Service) openLink(v visit, id string) (*link, bool) {
	l, err := s.links.find(v.r.Context(), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.message(v, http.StatusNotFound, linkUnknown)
		return nil, false
	case err != nil:
		s.trouble(v, nil, "link", err)
		return nil, false
	}
	if !l.Ended.IsZero() {
		s.message(v, http.StatusGone, linkEnded)
		return nil, false
	}
	if !slices.ContainsFunc(l.parts, s.offered) {
		s.message(v, http.StatusNotFound, toolkitGone)
		return nil, false
	}
	return l, true
}

// openPart finds what a path below connect/ is for: the one toolkit of a link, or one of
// several. nil: all of several.
func (s *Service) openPart(v visit, path string) (l *link, p *part, ok bool) {
	id, toolkitID, named := strings.Cut(path, "/")
	l, ok = s.openLink(v, id)
	switch {
	case !ok:
		return nil, nil, false
	case !named && l.several():
		return l, nil, true
	case !named:
		return l, l.parts[0], true
	}
	if p = l.part(toolkitID); p == nil || !l.several() {
		s.message(v, http.StatusNotFound, linkUnknown)
	} else if !s.offered(p) {
		s.message(v, http.StatusNotFound, toolkitGone)
	} else {
		return l, p, true
	}
	return nil, nil, false
}

// offered reports whether users can connect the part's toolkit, as things are now.
func (s *Service) offered(p *part) bool {
	e, known := s.cfg.Toolkits[p.Toolkit]
	return known && !e.Toolkit.Draft() && e.Toolkit.Auth.PerUser
}

func (s *Service) expired(l *link) bool { return !s.cfg.Now().Before(l.Expires) }

// serveStart is the button on the page: from here on something happens.
func (s *Service) serveStart(v visit, path string) {
	if !s.fromOurPage(v) {
		return
	}
	all, l, ok := s.openPart(v, path)
	if !ok {
		return
	}
	fits := s.formTokenOK(v.r, all.ID)
	switch {
	case s.browser(v.r) == "":
		s.message(v, http.StatusForbidden, formStale)
	case fits && s.cfg.SignIn != nil && v.r.PostFormValue("go") == signInPath:
		s.sendToSignIn(v, all.ID, "")
	case !s.rightPerson(v, all.whole()):
		// answered
	case fits && v.r.PostFormValue("go") == cancelling && !all.done():
		s.cancel(v, all)
	case l == nil:
		v.redirect(s.linkURL(all.ID)) // it has a button for each toolkit
	case all.several() && (!l.Used.IsZero() || s.over(v, all)):
		v.redirect(s.linkURL(all.ID)) // which shows what is left
	case !l.Used.IsZero():
		s.message(v, http.StatusGone, linkUsed)
	case s.expired(all) && !s.verifies():
		s.message(v, http.StatusGone, linkExpired)
	case !fits:
		// Two tabs that were opened at once, and the other one's cookie came
		// last. The page that follows has a token that fits.
		s.confirmPage(v, http.StatusForbidden, l, pressAgain)
	case v.r.PostFormValue("go") == approving:
		s.approve(v, l)
	case s.expired(all):
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

// cancelling is what the button says that calls a link off.
const cancelling = "cancel"

// cancel calls the link off, for a user who did not ask for it or thinks better of it. A
// sign-in that is under way ends with it.
func (s *Service) cancel(v visit, l *link) {
	if _, err := s.links.end(v.r.Context(), linkName(l.ID), v.id, "user"); err != nil {
		s.trouble(v, l.whole(), "cancel", err)
		return
	}
	s.report("cancelled", v, l.whole(), "", nil)
	v.redirect(cmp.Or(s.callback(l, cancelled), s.linkURL(l.ID))) // which says so
}

// startLate goes on from a fresh link: a link is short-lived so that nobody else can use
// it, and this is surely the one whom it was made for.
func (s *Service) startLate(v visit, l *part) {
	if _, ok := s.heardOut(v, l); !ok { // on a page of this link, whose form comes back to it
		return
	}
	who := caller.Caller{Tenant: l.Tenant, Agent: l.Agent, User: l.User}
	fresh, err := s.linkFor(v.r.Context(), who, l.left())
	if tooManyOpen(err) {
		s.message(v, http.StatusTooManyRequests, tooManyLinks)
		return
	}
	if err != nil {
		s.trouble(v, l, "start", err)
		return
	}
	s.start(v, fresh.part(l.Toolkit))
}

func (s *Service) start(v visit, l *part) {
	if s.cfg.Toolkits[l.Toolkit].Toolkit.OAuth == nil {
		s.takeKey(v, l)
		return
	}
	said, ok := s.heardOut(v, l)
	if !ok {
		return
	}
	l.Reading = s.readingSaid(v.r, l.Toolkit)
	now := s.cfg.Now()
	if err := s.cfg.Audit.Record(l.record(now, audit.LinkOpened, v.id, "")); err != nil {
		s.trouble(v, l, "audit", err)
		return
	}
	// The flow first: where the link cannot be written then, nothing says that
	// somebody is on the way.
	browser := s.greet(v)
	address, ref, err := s.begin(v.r.Context(), l, said, browser)
	var old []string
	if err == nil {
		err = s.take(v.r.Context(), l, hash(browser), func(p *part) {
			p.Started, p.Failure, p.Browser, p.Asked, p.Reading = now, "", "", said, l.Reading
			old = p.began(ref)
		})
	}
	if err != nil {
		old = []string{ref}
	}
	s.dropFlows(v.r.Context(), old...)
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

func (l *part) record(at time.Time, event audit.Event, requestID, reason string) audit.Record {
	return audit.Record{
		Time: at, Event: event, RequestID: requestID, Tenant: l.Tenant, Agent: l.Agent, User: l.User, Toolkit: l.Toolkit, Reason: reason,
	}
}

func (s *Service) report(what string, v visit, l *part, reason string, err error) {
	e := Event{What: what, RequestID: v.id, Reason: reason, Err: err}
	if l != nil {
		e.Tenant, e.Agent, e.User, e.Toolkit = l.Tenant, l.Agent, l.User, l.Toolkit
	}
	s.cfg.Report(e)
}
