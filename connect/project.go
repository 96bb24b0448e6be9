// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
)

// Project is a link without an end, at connect/ itself: whoever is recognised there sees
// what they still have to connect. The address names nobody, so there is one for all.
type Project struct {
	// Tenant and Agent are for whom people connect.
	Tenant, Agent string
	// Toolkits by their ids, in the order in which they are shown.
	Toolkits []string
	// ActsFor reports whether the agent may act for a user.
	ActsFor func(user string) bool
}

// projectPath is its name where a page is named; no link has it.
const projectPath = "connect"

// standsAt is how a user's connections to the project's toolkits stand.
type standsAt struct {
	tasks   []task
	lacking []string // toolkits
	done    int
}

// serveProject shows what the person at the browser still lacks. It changes nothing.
func (s *Service) serveProject(v visit) {
	user, ok := s.projectUser(v)
	if !ok {
		return
	}
	s.projectPage(v, http.StatusOK, user, "")
}

// projectUser gives the person, or answers why the page is not for them.
func (s *Service) projectUser(v visit) (string, bool) {
	user, ok := s.whoIs(v, projectPath)
	if ok && !s.cfg.Project.ActsFor(user) {
		s.cfg.Report(Event{What: "refused", Tenant: s.cfg.Project.Tenant, User: user, Agent: s.cfg.Project.Agent, RequestID: v.id, Reason: "acts_for"})
		s.message(v, http.StatusForbidden, notForYou)
		return "", false
	}
	return user, ok
}

// serveProjectStart is the button on that page. It makes an ordinary link for what is
// missing, and goes on from there.
func (s *Service) serveProjectStart(v visit) {
	if !s.fromOurPage(v) {
		return
	}
	fits := s.formTokenOK(v.r, projectPath)
	switch {
	case s.browser(v.r) == "":
		s.message(v, http.StatusForbidden, formStale)
		return
	case fits && s.cfg.SignIn != nil && v.r.PostFormValue("go") == signInPath:
		s.sendToSignIn(v, "", projectPath)
		return
	}
	user, ok := s.projectUser(v)
	if !ok {
		return
	}
	if !fits {
		s.projectPage(v, http.StatusForbidden, user, pressAgain)
		return
	}
	stands, err := s.progress(v, user)
	if err != nil {
		s.trouble(v, nil, "project", err)
		return
	}
	if len(stands.lacking) == 0 {
		v.redirect(s.projectURL()) // another tab was faster
		return
	}
	who := caller.Caller{Tenant: s.cfg.Project.Tenant, Agent: s.cfg.Project.Agent, User: user}
	var l *link
	what, err := s.purposeOf(v.r.Context(), who, Ask{Toolkits: stands.lacking[:min(len(stands.lacking), maxTogether)]})
	if err == nil {
		l, err = s.linkFor(v.r.Context(), who, what)
	}
	if err != nil {
		s.trouble(v, nil, "project", err)
		return
	}
	v.redirect(s.linkURL(l.ID))
}

// progress looks how each of the project's toolkits stands for a user.
func (s *Service) progress(v visit, user string) (all standsAt, err error) {
	conns, err := s.cfg.Vault.OfUser(v.r.Context(), s.cfg.Project.Tenant, user)
	if err != nil {
		return all, err
	}
	defaults, err := s.defaultsOf(v.r.Context(), conns)
	if err != nil {
		return all, err
	}
	for _, id := range s.cfg.Project.Toolkits {
		if !s.offered(&part{Toolkit: id}) {
			continue
		}
		tk := s.cfg.Toolkits[id].Toolkit
		t := task{Name: tk.Name, State: taskOpen}
		resting := false
		for _, c := range conns {
			if of, several := defaults[toolkitOf(c.Key)]; c.Toolkit != id || several && !of.Nobody && of.Default != c.Key.Account {
				continue // calls that name no account do not go to it
			}
			status, _ := s.standing(c, tk)
			t.Asked = saidOf(tk, c.Variables)
			t.Account = cmp.Or(c.AccountLabel, c.Label)
			if status == connection.Active && s.admits(c, s.cfg.Project.Agent) {
				t.State = taskDone
				break
			}
			if status == connection.Active {
				t.Notice = "It is connected, and the assistant may not use it yet."
				continue
			}
			t.Notice, resting = states[status], resting || status == connection.Inactive
		}
		switch {
		case t.State == taskDone:
			all.done++
		case !resting: // what somebody has switched off they do not lack
			all.lacking = append(all.lacking, id)
		}
		all.tasks = append(all.tasks, t)
	}
	return all, nil
}

func (s *Service) projectPage(v visit, status int, user, notice string) {
	stands, err := s.progress(v, user)
	if err != nil {
		s.trouble(v, nil, "project", err)
		return
	}
	data := view{Title: s.say(v, "Connect your accounts"), Agent: s.cfg.Project.Agent, User: user, Tasks: stands.tasks, Notice: notice, Mine: s.mine()}
	data.Done = stands.done
	actions := "'none'"
	if len(stands.lacking) > 0 {
		data.Token = s.formToken(s.greet(v), projectPath)
		v.w.Header().Set("Referrer-Policy", "same-origin") // see confirmPage
		actions = "'self'"
	}
	s.show(v, status, "project.html", actions, data)
}

// project reports whether there is one here. It is only for people who are recognised.
func (s *Service) project() bool {
	return s.cfg.Project != nil && s.verifies() && slices.ContainsFunc(s.cfg.Project.Toolkits, func(id string) bool { return s.offered(&part{Toolkit: id}) })
}

func (s *Service) projectURL() string { return s.cfg.PublicURL.JoinPath(projectPath).String() }
