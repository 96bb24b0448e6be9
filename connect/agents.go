// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Agents are those that are configured; *gateway.Gateway knows them.
type Agents interface {
	// Several reports whether a tenant has more than one, so that its users say which of
	// them may use a connection.
	Several(tenant string) bool
	// Entitled are those that the operator lets act for a user and use a toolkit.
	Entitled(tenant, user, toolkitID string) []string
}

// oneAgent is where nobody has said that there are more.
type oneAgent struct{}

func (oneAgent) Several(string) bool                  { return false }
func (oneAgent) Entitled(_, _, _ string) (_ []string) { return nil }

// admits reports whether an agent may use a connection, as a call would find it.
func (s *Service) admits(conn connection.Connection, agent string) bool {
	return conn.Admits(agent, s.cfg.Agents.Several(conn.Tenant))
}

// errChanged: the connection is not any more what the user was shown.
var errChanged = errors.New("the connection has changed since it was shown")

// right is what an agent may do over a connection from now on.
type right string

const (
	mayNot  right = "nothing"
	mayUse  right = "use"  // it, as it is
	mayRead right = "read" // and so may all others
)

// let has an agent use a connection from now on, or not any more. The connection has to be
// as fits wants it; nil: any is fine.
func (s *Service) let(ctx context.Context, requestID string, key connection.Key, agent string, may right, fits func(connection.Connection) bool) (conn connection.Connection, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishLimit)
	defer cancel()
	events := []audit.Event{audit.AgentApproved}
	switch may {
	case mayNot:
		events[0] = audit.AgentBarred
	case mayRead:
		events = append(events, audit.ReadOnly)
	}
	var moot error
	err = persist(ctx, func() error {
		moot = nil
		if conn, err = s.cfg.Vault.Load(ctx, key); errors.Is(err, connection.ErrNotConnected) {
			moot = err
			return nil
		}
		if err != nil {
			return err
		}
		if fits != nil && !fits(conn) {
			moot = errChanged
			return nil
		}
		for ; len(events) > 0; events = events[1:] {
			r := audit.Record{Time: s.cfg.Now(), Event: events[0], RequestID: requestID, Tenant: key.Tenant, Agent: agent, User: key.User, Toolkit: key.Toolkit, Connection: conn.ID}
			if err := s.cfg.Audit.Record(r); err != nil {
				return err
			}
		}
		if may != mayNot {
			conn = conn.Admit(agent)
			conn.ReadOnly = conn.ReadOnly || may == mayRead
		} else {
			conn = conn.Bar(agent, s.cfg.Agents.Entitled(key.Tenant, key.User, key.Toolkit))
		}
		conn, err = s.cfg.Vault.Save(ctx, conn) // ErrConflict: a refresh came between, and its token is to stay
		return err
	})
	switch {
	case err != nil:
		return conn, fmt.Errorf("noting which agents may use a connection: %w", err)
	case moot != nil:
		return conn, moot
	}
	s.cfg.Connected(conn)
	switch may {
	case mayNot:
		s.cfg.Withdrawn(key, agent)
	case mayRead:
		s.cfg.Stopped(key) // others may be writing over it
	}
	return conn, nil
}

// letOne is the button of an agent on the page of what a person has connected. The name
// comes from the form, and counts only where that page shows it.
func (s *Service) letOne(v visit, conn connection.Connection, may bool) (undoing, error) {
	agent := v.r.PostFormValue("agent")
	shown := func(c connection.Connection) bool {
		return c.ID == conn.ID && slices.ContainsFunc(s.usersOf(c), func(u agentRow) bool { return u.Name == agent && u.May != may })
	}
	what := mayNot
	if may {
		what = mayUse
	}
	if _, err := s.let(v.r.Context(), v.id, conn.Key, agent, what, shown); errors.Is(err, errChanged) {
		return "", connection.ErrNotConnected // a second click, or another tab: the page shows how it stands
	} else if err != nil {
		return "", err
	}
	if may {
		return allowed, nil
	}
	return barred, nil
}

// agentRow is an agent of which a connection's user is told.
type agentRow struct {
	Name string
	May  bool
}

// usersOf are the agents that may use a connection, and those that might. Where a tenant
// has one agent, the user has made the connection for that, and is asked nothing.
func (s *Service) usersOf(c connection.Connection) (all []agentRow) {
	if !s.cfg.Agents.Several(c.Tenant) && len(c.Barred) == 0 {
		return nil
	}
	may := c.Agents
	if may == nil {
		may = s.cfg.Agents.Entitled(c.Tenant, c.User, c.Toolkit)
	}
	for _, name := range slices.Sorted(slices.Values(may)) {
		all = append(all, agentRow{name, true})
	}
	for _, name := range slices.Sorted(slices.Values(c.Barred)) {
		all = append(all, agentRow{name, false})
	}
	return all
}

// approving is what the button says that lets an agent use a connection which is there.
const approving = "approve"

// approvable gives the connection that a link's agent may not use yet, where it works and
// all that is missing is its user's word. What has ended, or was granted for less than the
// link is for, is connected anew, and the user's word is in that.
//
// Where nobody asks who sits at a browser, and browsers elsewhere are served, whoever has
// the link would give that word, the agent itself included. Then the user signs in at the
// provider, whose account has to be the one that is connected.
func (s *Service) approvable(ctx context.Context, p *part) (conn connection.Connection, ok bool, err error) {
	if !s.verifies() && !s.cfg.LocalOnly || p.Agent == "" || len(p.Scopes) > 0 || !s.offered(p) {
		return conn, false, nil
	}
	at, err := s.place(ctx, p)
	if _, ambiguous := errors.AsType[*connection.Ambiguous](err); ambiguous {
		return conn, false, nil
	}
	return at.before, err == nil && s.lacksApproval(at.before, p), err
}

func (s *Service) lacksApproval(conn connection.Connection, p *part) bool {
	if conn.ID == "" {
		return false
	}
	status, _ := s.standing(conn, s.cfg.Toolkits[p.Toolkit].Toolkit)
	return status == connection.Active && !s.admits(conn, p.Agent)
}

// approvePage asks whether an agent may use what is connected. Whose account that is, is
// shown to who is known to be its user.
func (s *Service) approvePage(v visit, status int, l *part, conn connection.Connection, notice string) {
	tk := s.cfg.Toolkits[l.Toolkit].Toolkit
	back, to := s.wayBack(l, notice)
	browser := s.greet(v)
	data := view{
		Title: s.say(v, "Let %s use %s?", view{Agent: l.Agent, Lang: s.language(v.r)}.Asker(), tk.Name), Toolkit: tk.Name, Agent: l.Agent, User: l.User, Since: conn.CreatedAt,
		Token: s.formToken(browser, l.ID), Shown: s.shown(browser, conn), Minutes: s.minutesLeft(l.link), Notice: notice, Back: back, BackTo: to, Mine: s.mine(),
		Reading: s.narrowing(conn), ReadOnly: conn.ReadOnly,
	}
	if s.verifies() {
		data.Account, data.Label, data.Scopes = conn.AccountLabel, conn.Label, conn.Scopes
		data.Users = slices.Sorted(slices.Values(conn.Agents))
	}
	v.w.Header().Set("Referrer-Policy", "same-origin") // see confirmPage
	s.show(v, status, "approve.html", s.formActions(l.link), data)
}

// shown is what a page has said of a connection, for its form to bring back: the page may
// have stood open while somebody connected another account there, or for more.
func (s *Service) shown(browser string, c connection.Connection) string {
	said := append([]string{"shown", c.Tenant, c.User, c.Toolkit, c.ID, c.AccountLabel}, slices.Sorted(slices.Values(c.Scopes))...)
	return s.formToken(browser, vault.Name(said...))
}

// approve is the button on that page. Nobody is sent to the provider: what it granted is
// there, and stays as it is.
func (s *Service) approve(v visit, l *part) {
	conn, ok, err := s.approvable(v.r.Context(), l)
	if err != nil {
		s.trouble(v, l, "approve", err)
		return
	}
	browser := s.browser(v.r)
	same := func(c connection.Connection) bool {
		return hmac.Equal([]byte(v.r.PostFormValue("shown")), []byte(s.shown(browser, c)))
	}
	if !ok || !same(conn) {
		s.confirmPage(v, http.StatusConflict, l, notices[changed])
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), finishLimit)
	defer cancel()
	until := s.cfg.Now().Add(finishLimit)
	switch err := s.take(ctx, l, hash(browser), func(p *part) { p.Busy, p.Failure = until, "" }); {
	case errors.Is(err, errTaken):
		v.redirect(s.linkURL(l.ID))
		return
	case err != nil:
		s.trouble(v, l, "approve", err)
		return
	}
	what := mayUse
	if said := s.readingSaid(v.r, l.Toolkit); said != nil && *said {
		what = mayRead
	}
	now, err := s.let(ctx, v.id, conn.Key, l.Agent, what, func(c connection.Connection) bool { return same(c) && s.lacksApproval(c, l) })
	failure := ""
	switch {
	case errors.Is(err, errChanged), errors.Is(err, connection.ErrNotConnected):
		failure = changed
	case err != nil:
		failure = ours
	default:
		l.Account, l.approved, l.ReadOnly = now.AccountLabel, now.Key, now.ReadOnly
		s.report("agent_approved", v, l, "", nil)
	}
	if failure != "" {
		s.report("failed", v, l, failure, err)
	}
	s.showEnd(v, l, failure, s.conclude(ctx, v, l, hash(browser), failure))
}
