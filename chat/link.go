// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
)

type linkInput struct {
	Toolkits  []string `json:"toolkits"`
	Account   string   `json:"account"`
	Reconnect bool     `json:"reconnect"`
}

type linkOutput struct {
	Status          string     `json:"status"`
	Message         string     `json:"message"`
	ConnectURL      string     `json:"connect_url,omitempty"`
	ExpiresAt       *time.Time `json:"expires_at,omitempty"`
	Unauthenticated []string   `json:"unauthenticated"`
	Connections     []entry    `json:"connections"`
}

// entry is one connection.
type entry struct {
	Toolkit    string            `json:"toolkit"`
	Name       string            `json:"name"`
	Status     connection.Status `json:"status"`
	Reason     connection.Reason `json:"reason,omitempty"`
	Account    string            `json:"account,omitempty"`
	ID         string            `json:"id,omitempty"`
	ConnectURL string            `json:"connect_url,omitempty"`
	ExpiresAt  *time.Time        `json:"expires_at,omitempty"`
}

// The statuses of what was asked for as a whole.
const (
	authNeeded    = "authentication_needed"
	authenticated = "fully_authenticated"
	noAuth        = "no_auth_required"
)

// several: there are accounts, and a call has to name one.
const several connection.Reason = "multiple_connections"

// maxTogether is how many toolkits one link is for at most.
const maxTogether = 20

// getLink is the tool that gives links.
func (s *Service) getLink(c *call, in linkInput) (outcome, error) {
	ids, err := s.meant(c, in.Toolkits)
	if err != nil {
		return outcome{}, err
	}
	if in.Account != "" && len(ids) != 1 {
		return outcome{}, problem.New(problem.BadRequest, "account", "An account is of one toolkit. Name that toolkit alone.")
	}
	back, err := s.comeBack(c)
	if err != nil {
		return outcome{}, err
	}
	var now survey
	look := func() (over bool, err error) {
		now, err = s.survey(c, ids, in, back.since)
		return len(now.lacking) == 0, err
	}
	if back.accepted {
		err = s.await(c, maxWait, look)
	} else {
		_, err = look()
	}
	if err != nil {
		return outcome{}, err
	}
	out := linkOutput{Status: authenticated, Unauthenticated: []string{}, Connections: []entry{}}
	for _, st := range now.all {
		out.Connections = append(out.Connections, entryOf(st))
	}
	for _, st := range slices.Concat(now.lacking, now.resting) {
		out.Unauthenticated = append(out.Unauthenticated, st.Toolkit.ID)
	}
	switch {
	case len(ids) == 0:
		out.Status, out.Message = noAuth, "None of these toolkits needs the user to connect anything."
		return outcome{body: out, result: out.Status}, nil
	case len(now.lacking) > 0:
		return s.offer(c, in, out, now)
	case len(now.resting) > 0:
		out.Status, out.Message = authNeeded, s.atRest(now.resting)
	default:
		out.Message = names(now.all) + verb(now.all) + " connected. Go on."
	}
	return outcome{body: out, result: out.Status}, nil
}

// survey is how the connections stand that were asked about.
type survey struct {
	all     []Standing
	lacking []Standing // for which there is a link
	resting []Standing // switched off: a link would undo with one press what the user has decided
}

// survey looks at them. One that is to be connected anew is lacking until it was, since then.
func (s *Service) survey(c *call, ids []string, in linkInput, since time.Time) (now survey, err error) {
	for _, id := range ids {
		st, err := s.standing(c, id, in.Account)
		if err != nil {
			return now, err
		}
		now.all = append(now.all, st)
		switch {
		case st.Status == connection.Inactive:
			now.resting = append(now.resting, st)
		case st.Status != connection.Active, in.Reconnect && !st.UpdatedAt.After(since):
			now.lacking = append(now.lacking, st)
		}
	}
	return now, nil
}

// offer has the user asked by the client where that is possible, and else gives the link.
func (s *Service) offer(c *call, in linkInput, out linkOutput, now survey) (outcome, error) {
	first := now.lacking[:min(len(now.lacking), maxTogether)]
	ask := Ask{Account: in.Account, CallbackURL: c.callback}
	for _, st := range first {
		ask.Toolkits = append(ask.Toolkits, st.Toolkit.ID)
	}
	link, err := s.cfg.Connections.Link(c.ctx, c.who, ask)
	if err != nil {
		return outcome{}, err
	}
	if asks := s.elicit(c, link, first); asks != nil {
		return outcome{asks: asks}, nil
	}
	at := link.ExpiresAt.UTC().Truncate(time.Second)
	out.Status, out.ConnectURL, out.ExpiresAt = authNeeded, link.URL, &at
	for i := range out.Connections {
		if slices.Contains(ask.Toolkits, out.Connections[i].Toolkit) {
			out.Connections[i].ConnectURL, out.Connections[i].ExpiresAt = link.URL, &at
		}
	}
	out.Message = "The user has to connect " + names(first) + ". Show them this link and do not open it yourself: " + link.URL + " . When they say that they are done, call " + s.name(toolWait) + "."
	if in.Reconnect {
		out.Message += " To see whether they have, do not ask to reconnect again."
	}
	if len(now.lacking) > len(first) {
		out.Message += " Afterwards call this again: the link is for the first of them."
	}
	if len(now.resting) > 0 {
		out.Message += " " + s.atRest(now.resting)
	}
	return outcome{body: out, result: out.Status}, nil
}

func (s *Service) atRest(resting []Standing) string {
	text := names(resting) + verb(resting) + " connected, and the user has switched that off. Only they can switch it on again"
	if s.cfg.ManageURL != "" {
		text += ", at " + s.cfg.ManageURL + " "
	}
	return text + "."
}

// meant are the toolkits that a tool was asked about; none is all that the user connects.
// Those that need no connecting are left out.
func (s *Service) meant(c *call, asked []string) (ids []string, err error) {
	if len(asked) == 0 {
		return s.perUser(c.who), nil
	}
	for _, id := range asked {
		if slices.Contains(ids, id) {
			continue
		}
		if tk := s.cfg.Toolkits[id]; tk != nil && !tk.Auth.PerUser && !tk.Draft() && s.cfg.Agents.May(c.who, id) {
			continue
		}
		ids = append(ids, id) // one that is not known, or not allowed, is refused where it is looked up
	}
	if len(ids) == 1 {
		c.about = ids[0]
	}
	return ids, nil
}

// standing is how one connection stands. Where the user has several accounts and none is
// the default, that is no reason to connect anything.
func (s *Service) standing(c *call, id, account string) (Standing, error) {
	st, err := s.cfg.Connections.Standing(c.ctx, c.who, id, account)
	p, ok := errors.AsType[*problem.Problem](err)
	switch {
	case !ok:
		return st, err
	case p.Code == problem.SeveralAccounts && account == "":
		name := id
		if tk := s.cfg.Toolkits[id]; tk != nil {
			name = tk.Name
		}
		return Standing{Toolkit: problem.Toolkit{ID: id, Name: name}, Status: connection.Active, Reason: several, Others: p.Choices}, nil
	case p.Code == problem.UnknownToolkit:
		p = problem.Of(p)
		p.Detail += " There are: " + strings.Join(s.known(c.who), ", ") + "."
		return st, p
	}
	return st, err
}

func entryOf(st Standing) entry {
	return entry{Toolkit: st.Toolkit.ID, Name: st.Toolkit.Name, Status: st.Status, Reason: st.Reason, Account: st.Account, ID: st.ID}
}

// names are the toolkits' names, as people say them.
func names(all []Standing) string {
	var list []string
	for _, st := range all {
		list = append(list, st.Toolkit.Name)
	}
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
	}
	return strings.Join(list, "")
}

func verb(all []Standing) string {
	if len(all) == 1 {
		return " is"
	}
	return " are"
}
