// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"strings"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
)

// SessionPrefix marks session tokens.
const SessionPrefix = "tgs_"

// inSession tells who calls with a session's token. The session is for one agent, and
// can do no more than that one may today.
func (g *Gateway) inSession(token string, h http.Header) (caller.Caller, *Agent, error) {
	if g.cfg.Sessions == nil {
		return caller.Caller{}, nil, unknownAgent("session", "This gateway gives out no sessions.")
	}
	s, err := g.cfg.Sessions.Open(token)
	if err != nil {
		return caller.Caller{}, nil, err
	}
	who := caller.Caller{Tenant: s.Tenant, Agent: s.Agent, User: s.User, Session: s}
	agent := g.agentOf(who)
	switch user, given := h["X-User-Id"]; {
	case agent == nil:
		return who, nil, unknownAgent("session_agent", "The agent "+s.Agent+", for which the session was made, is not configured any more.")
	case given && user[0] != s.User:
		return who, agent, problem.New(problem.UserMismatch, "session", "The session is for another user than X-User-Id says. Leave the header out.")
	case !agent.actsFor(s.User):
		return who, agent, mayNotActFor(agent)
	}
	return who, agent, nil
}

// Minter tells which agent asks for a session for a user. A session cannot make others:
// whoever got hold of one would have it for ever.
func (g *Gateway) Minter(r *http.Request, user string) (caller.Caller, error) {
	if err := onceEach(r.Header); err != nil {
		return caller.Caller{}, err
	}
	proven, err := g.agents.prove(r.Header)
	agent := proven.agent
	switch {
	case err != nil:
		return caller.Caller{}, err
	case proven.token != "":
		return caller.Caller{}, problem.New(problem.NotPermitted, "session", "A session cannot do this. Send the agent's own key.")
	}
	who := caller.Caller{Tenant: agent.Tenant, Agent: agent.Name, User: user}
	switch header, given := r.Header["X-User-Id"]; {
	case !agent.has(caller.Mint):
		return who, lacking(agent, caller.Mint)
	case user != "" && given && header[0] != user:
		return who, problem.New(problem.UserMismatch, "x-user-id", "X-User-Id names another user than the body does. Leave the header out.")
	case user != "" && !agent.actsFor(user):
		return who, mayNotActFor(agent)
	}
	return who, nil
}

func mayNotActFor(agent *Agent) error {
	return problem.New(problem.UserMismatch, "acts_for", "The agent "+agent.Name+" may not act for this user. The operator allows it with acts_for.")
}

// leastToken is how many letters a token has behind its prefix, at the very least.
const leastToken = 60

// HoldsToken reports whether a text has something in it that looks like a session's token,
// anybody's. Its letters need no escaping, so it is found wherever it was put.
func HoldsToken(text string) bool {
	for {
		i := strings.Index(text, SessionPrefix)
		if i < 0 {
			return false
		}
		text = text[i+len(SessionPrefix):]
		if n := strings.IndexFunc(text, notInToken); n >= leastToken || n < 0 && len(text) >= leastToken {
			return true
		}
	}
}

func notInToken(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
}
