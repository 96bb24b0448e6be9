// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/connection"
)

// task is a part of a link for several toolkits, as its page shows it.
type task struct {
	Name    string
	Address string // of the part's own page, and where its button leads
	State   taskState
	Account string
	Notice  string   // what went wrong
	Scopes  []string // that will be asked for
	Host    string   // where the user agrees; "" where a key is entered here
	Asked   []question
	// Approve: it is connected, and its user has to let the agent use it.
	Approve  bool
	Reading  *readingChoice
	ReadOnly bool
	Since    time.Time // it was connected, where that is so

	Shown string // of what is said about it, for the form

	there  connection.Connection // that is to be approved
	onward *url.URL              // where the button leads
}

// toApprove has a task be one for which nobody goes to the provider.
func (s *Service) toApprove(t *task, conn connection.Connection) {
	t.there = conn
	t.Approve, t.Since, t.Scopes, t.Host, t.onward, t.Asked = true, conn.CreatedAt, nil, "", nil, nil
	t.Reading, t.ReadOnly = s.narrowing(conn), conn.ReadOnly
	if s.verifies() {
		t.Account, t.Scopes = conn.AccountLabel, conn.Scopes
	}
}

// taskState is how a part stands.
type taskState string

const (
	taskOpen  taskState = "open"  // to be done
	taskGoing taskState = "going" // somebody has gone to the provider
	taskBusy  taskState = "busy"  // the provider's answer is being worked on
	taskDone  taskState = "done"
	taskGone  taskState = "gone" // not offered any more
)

// Known reports whether there is something that the user has said before.
func (t task) Known() bool {
	return slices.ContainsFunc(t.Asked, func(q question) bool { return q.Known })
}

// Open reports whether there is something for the user to do.
func (t task) Open() bool { return t.State == taskOpen || t.State == taskGoing }

// over reports whether nothing more can be done with the link from this browser.
func (s *Service) over(v visit, l *link) bool {
	return !s.verifies() && (s.expired(l) || l.othersToo(hash(s.browser(v.r))))
}

// serveSeveral shows what a link for several toolkits has come to. As with one, it
// changes nothing.
func (s *Service) serveSeveral(v visit, l *link) {
	switch {
	case !s.verifies() && l.othersToo(hash(s.browser(v.r))):
		s.message(v, http.StatusGone, linkUsed)
		return
	case !l.done() && s.over(v, l):
		s.message(v, http.StatusGone, linkExpired)
		return
	}
	data := view{Toolkit: s.names(l), Agent: l.Agent, User: l.User, Mine: s.mine(), Minutes: s.minutesLeft(l)}
	var onward []*url.URL
	for _, p := range l.parts {
		t, err := s.taskOf(v, p)
		if err != nil {
			s.trouble(v, p, "asked", err)
			return
		}
		if t.Open() {
			conn, ok, err := s.approvable(v.r.Context(), p)
			if err != nil {
				s.trouble(v, p, "link", err)
				return
			}
			if ok {
				s.toApprove(&t, conn)
			}
		}
		switch {
		case t.State == taskDone:
			data.Done++
		case t.State == taskBusy:
			v.w.Header().Set("Refresh", "2") // seconds, then the same page again
		case t.Open() && t.Host != "":
			onward = append(onward, t.onward)
		}
		data.Tasks = append(data.Tasks, t)
	}
	if data.Title = s.say(v, "Connect %s", data.Toolkit); l.done() {
		data.Title, data.Back = s.say(v, "Everything is connected"), s.callback(l, connected)
	}
	actions := "'none'"
	if !l.done() {
		browser := s.greet(v)
		data.Token = s.formToken(browser, l.ID)
		for i := range data.Tasks {
			data.Tasks[i].Shown = s.shown(browser, data.Tasks[i].there)
		}
		actions = s.formActions(l, onward...)
		_, data.BackTo = s.wayBack(l.parts[0], "")
		v.w.Header().Set("Referrer-Policy", "same-origin") // see confirmPage
	}
	s.show(v, http.StatusOK, "several.html", actions, data)
}

// taskOf tells how a part stands, as much of it as this browser may see: where nobody
// asks who sits there, only the one that did something is told what came of it.
func (s *Service) taskOf(v visit, p *part) (t task, err error) {
	t = task{Name: p.Toolkit, State: taskOpen, Address: s.partURL(p)}
	if e, known := s.cfg.Toolkits[p.Toolkit]; known {
		t.Name = e.Toolkit.Name
		if o := e.Toolkit.OAuth; o != nil {
			if t.Asked, err = s.questions(v, p); err != nil {
				return t, err
			}
			t.onward, t.Host = placeOf(e.Toolkit, t.Asked)
			t.Scopes = o.Asking(p.Scopes).Scopes
			if t.Reading, err = s.reading(v, p); err != nil {
				return t, err
			}
		}
	}
	told := s.verifies() || s.is(v.r, p.Browser)
	if told {
		t.Account, t.Notice = p.Account, notices[p.Failure]
	}
	now := s.cfg.Now()
	switch {
	case !p.Used.IsZero():
		t.State, t.Notice = taskDone, ""
	case !s.offered(p):
		t.State, t.Notice = taskGone, ""
	case p.taken(now) != nil:
		t.State = taskBusy
	case p.underWay(now):
		t.State = taskGoing
	}
	return t, nil
}

// names are the toolkits of a link, for people.
func (s *Service) names(l *link) string {
	var all []string
	for _, p := range l.parts {
		name := p.Toolkit
		if e, known := s.cfg.Toolkits[p.Toolkit]; known {
			name = e.Toolkit.Name
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

// partURL is the address of one part of a link.
func (s *Service) partURL(p *part) string {
	if !p.several() {
		return s.linkURL(p.ID)
	}
	return s.cfg.PublicURL.JoinPath("connect", p.ID, p.Toolkit).String()
}
