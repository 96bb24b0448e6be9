// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"time"

	"github.com/toolgate/toolgate/connection"
)

type listInput struct {
	Toolkits []string `json:"toolkits"`
}

type listOutput struct {
	Connections []entry `json:"connections"`
}

// list is the tool that tells what is connected, each account by itself.
func (s *Service) list(c *call, in listInput) (outcome, error) {
	ids, err := s.meant(c, in.Toolkits)
	if err != nil {
		return outcome{}, err
	}
	out := listOutput{Connections: []entry{}}
	for _, id := range ids {
		st, err := s.standing(c, id, "")
		if err != nil {
			return outcome{}, err
		}
		if st.Reason != several { // then all of them are among the others
			out.Connections = append(out.Connections, entryOf(st))
		}
		for _, other := range st.Others {
			out.Connections = append(out.Connections, entry{Toolkit: st.Toolkit.ID, Name: st.Toolkit.Name, Status: connection.Status(other.Status), Account: other.Label, ID: other.ID})
		}
	}
	return outcome{body: out, result: "listed"}, nil
}

type waitInput struct {
	Toolkit string `json:"toolkit"`
	Account string `json:"account"`
	Seconds int    `json:"timeout_seconds"` // the schema has the default
}

type standingOutput struct {
	Toolkit string            `json:"toolkit"`
	Status  connection.Status `json:"status"`
	Reason  connection.Reason `json:"reason,omitempty"`
	Message string            `json:"message"`
}

// maxWait is how long a tool waits at most: many clients give a tool 30 seconds. The schema
// says so too.
const maxWait = 25 * time.Second

// lookEvery is how often who waits looks, without having heard of anything.
const lookEvery = 5 * time.Second

// wait is the tool that waits for the user.
func (s *Service) wait(c *call, in waitInput) (outcome, error) {
	c.about = in.Toolkit
	var st Standing
	err := s.await(c, min(time.Duration(in.Seconds)*time.Second, maxWait), func() (over bool, err error) {
		st, err = s.standing(c, in.Toolkit, in.Account)
		return st.Status == connection.Active, err
	})
	if err != nil {
		return outcome{}, err
	}
	out := standingOutput{Toolkit: st.Toolkit.ID, Status: st.Status, Reason: st.Reason}
	switch {
	case st.Reason == several:
		out.Message = "The user has several accounts of " + st.Toolkit.Name + " and no default: name one."
	case st.Status == connection.Active:
		out.Message = st.Toolkit.Name + " is connected. Go on."
	case st.Status == connection.Inactive:
		out.Message = s.atRest([]Standing{st})
	case st.Status == connection.Pending:
		out.Message = "The user is on the way to connect " + st.Toolkit.Name + ". Call this again."
	default:
		out.Message = st.Toolkit.Name + " is not connected yet. Ask the user whether they have opened the link, and call this again when they say that they are done."
	}
	return outcome{body: out, result: string(st.Status)}, nil
}

// await returns when look says that it is over, after the limit, or when the client has
// gone. In between it looks when it hears of a change, and now and then: what another
// gateway does may not be told, and nor is that a token has ended.
func (s *Service) await(c *call, limit time.Duration, look func() (over bool, err error)) error {
	changed, stop := s.cfg.Changes.Watch(c.who.Tenant, c.who.User)
	defer stop() // watched before the first look, so that nothing happens in between
	end := time.NewTimer(limit)
	defer end.Stop()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for {
		if over, err := look(); over || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-again.C:
		case <-end.C:
			_, err := look()
			return err
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

type disconnectInput struct {
	Toolkit string `json:"toolkit"`
	Account string `json:"account"`
}

// disconnect is the tool that takes a connection away.
func (s *Service) disconnect(c *call, in disconnectInput) (outcome, error) {
	c.about = in.Toolkit
	said, err := s.cfg.Connections.Disconnect(c.ctx, c.id, c.who, in.Toolkit, in.Account)
	if err != nil {
		return outcome{}, err
	}
	return outcome{body: standingOutput{Toolkit: in.Toolkit, Status: connection.NotConnected, Message: said}, result: "disconnected"}, nil
}
