// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/session"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// Revocations take sessions back; *session.Revocations does.
type Revocations interface {
	// Refresh learns of those that other gateways have taken back.
	Refresh(ctx context.Context) (changed bool, err error)
	Revoke(ctx context.Context, who session.Owner, id string) error
	RevokeUser(ctx context.Context, tenant, user string) error
}

// sessionRequest is the body of POST /v1/sessions.
type sessionRequest struct {
	User              string    `json:"user"`
	Toolkits          *[]string `json:"toolkits"`           // default: all that the agent may use
	ManageConnections manage    `json:"manage_connections"` // default: true
	ExpiresIn         *int64    `json:"expires_in"`         // seconds; default: an hour
}

// manage is true, false, or {"enable": true, "callback_url": "https://…"}.
type manage struct {
	off      bool
	callback string
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *manage) UnmarshalJSON(text []byte) error {
	var enable *bool
	if json.Unmarshal(text, &enable) == nil {
		m.off = enable != nil && !*enable
		return nil
	}
	var long struct {
		Enable   *bool  `json:"enable"`
		Callback string `json:"callback_url"`
	}
	if err := strict(text, &long); err != nil {
		return err
	}
	*m = manage{off: long.Enable != nil && !*long.Enable, callback: long.Callback}
	return nil
}

// sessionAnswer is what becomes of it.
type sessionAnswer struct {
	ID    string `json:"id"`
	Token string `json:"token"`
	User  string `json:"user"`
	Agent string `json:"agent"`
	// BaseURL is the SDK's where the session is for one toolkit alone.
	BaseURL           string           `json:"base_url,omitempty"`
	Toolkits          []sessionToolkit `json:"toolkits"`
	ManageConnections bool             `json:"manage_connections"`
	CallbackURL       string           `json:"callback_url,omitempty"`
	IssuedAt          time.Time        `json:"issued_at"`
	ExpiresAt         time.Time        `json:"expires_at"`
}

type sessionToolkit struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	BaseURL string `json:"base_url"` // of the SDK, with the token as its API key
}

func (s *Service) makeSession(v *visit) error {
	if _, err := s.cfg.Minter(v.r, ""); err != nil { // before a word is read of it
		return err
	}
	var in sessionRequest
	text, err := v.read(&in)
	if err != nil {
		return err
	}
	if !caller.ValidUser(in.User) {
		return problem.New(problem.InvalidUser, "user", "`user` has to be one id of 1 to 256 printable ASCII characters, without spaces and commas.")
	}
	if v.who, err = s.cfg.Minter(v.r, in.User); err != nil {
		return err
	}
	wanted, err := s.wanted(v.who, in)
	if err != nil {
		return err
	}
	return s.once(v, text, func() (int, []byte, time.Time, error) {
		s.catchUp(v.r.Context())
		token, made := s.cfg.Sessions.Mint(wanted)
		if err := s.note(v, audit.SessionMade, made.User, made.ID); err != nil {
			return 0, nil, time.Time{}, err
		}
		return http.StatusCreated, encode(s.describe(token, made)), made.Expires, nil
	})
}

// catchUpLimit bounds it: a store that is away keeps nobody from a session.
const catchUpLimit = 2 * time.Second

// catchUp learns what was taken back until now, so that who signs out at one gateway and in
// again at another has a session behind that, and not among those that are over.
func (s *Service) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, catchUpLimit)
	defer cancel()
	_, _ = s.cfg.Revocations.Refresh(ctx)
}

// wanted is the session that is asked for. It can do no more than the agent.
func (s *Service) wanted(who caller.Caller, in sessionRequest) (caller.Session, error) {
	made := caller.Session{Tenant: who.Tenant, Agent: who.Agent, User: who.User, NoLinks: in.ManageConnections.off, CallbackURL: in.ManageConnections.callback}
	life := session.DefaultLife
	if in.ExpiresIn != nil {
		if *in.ExpiresIn < 1 || *in.ExpiresIn > int64(session.MaxLife/time.Second) {
			return made, badRequest("expires_in", "`expires_in` is in seconds: 1 to 86400, which is a day.")
		}
		life = time.Duration(*in.ExpiresIn) * time.Second
	}
	made.Expires = s.cfg.Now().Add(life)
	if made.CallbackURL != "" && !s.cfg.MayCallBack(who, made.CallbackURL) {
		return made, badRequest("callback_urls", "`callback_url` is not one that the agent "+who.Agent+" may have users sent to. The operator allows it, letter for letter, with callback_urls in the agent's block.")
	}
	if in.Toolkits == nil {
		return made, nil
	}
	made.Toolkits = slices.Compact(slices.Sorted(slices.Values(*in.Toolkits)))
	if len(made.Toolkits) == 0 || len(*in.Toolkits) > maxToolkits {
		return made, badRequest("toolkits", fmt.Sprintf("`toolkits` names 1 to %d toolkits. Leave it out for all that the agent may use.", maxToolkits))
	}
	for _, id := range made.Toolkits {
		if tk := s.cfg.Toolkits[id]; tk == nil {
			return made, problem.New(problem.UnknownToolkit, "toolkits", "There is no toolkit here by one of the names in `toolkits`.")
		} else if !s.cfg.May(who, id) {
			return made, problem.New(problem.ToolkitForbidden, "toolkits", "The agent "+who.Agent+" may not use "+tk.Name+". The operator allows it with toolkits.")
		}
	}
	return made, nil
}

const maxToolkits = 64

func (s *Service) describe(token string, made caller.Session) sessionAnswer {
	a := sessionAnswer{
		ID: made.ID, Token: token, User: made.User, Agent: made.Agent, Toolkits: []sessionToolkit{},
		ManageConnections: !made.NoLinks, CallbackURL: made.CallbackURL, IssuedAt: made.Issued, ExpiresAt: made.Expires,
	}
	who := caller.Caller{Tenant: made.Tenant, Agent: made.Agent, User: made.User, Session: &made}
	for _, tk := range s.cfg.Toolkits {
		if s.cfg.May(who, tk.ID) {
			a.Toolkits = append(a.Toolkits, sessionToolkit{tk.ID, tk.Name, s.baseURL(tk, &made)})
		}
	}
	slices.SortFunc(a.Toolkits, func(x, y sessionToolkit) int { return cmp.Compare(x.ID, y.ID) })
	if made.Only() != "" {
		a.BaseURL = a.Toolkits[0].BaseURL
	}
	return a
}

// baseURL is where the SDK finds a toolkit. A session for one alone needs no prefix, and
// the gateway cuts none.
func (s *Service) baseURL(tk *toolkit.Toolkit, made *caller.Session) string {
	if made.Only() != "" {
		return s.cfg.AgentsURL.String()
	}
	return s.cfg.AgentsURL.JoinPath(tk.ID).String()
}

// endSession takes one session back. It may be over already, or never have been: who asks
// wants it to be over, and it is.
func (s *Service) endSession(v *visit, id string) (err error) {
	if v.who, err = s.cfg.Minter(v.r, ""); err != nil {
		return err
	}
	if len(id) != len("ABCDEFGHIJKLMNOPQRSTUVWXYZ") || !caller.ValidName(id) {
		return problem.New(problem.NotFound, "session", "That is not a session's id. It is `id` of the answer that gave it out, not its token.")
	}
	if err := s.note(v, audit.SessionEnded, "", id); err != nil {
		return err
	}
	if err := s.cfg.Revocations.Revoke(v.r.Context(), session.Owner{Tenant: v.who.Tenant, Agent: v.who.Agent}, id); err != nil {
		return vault.Problem(err)
	}
	s.cfg.Ended()
	v.w.WriteHeader(http.StatusNoContent)
	return nil
}

// endSessions takes all sessions of a user back, whichever agent of the tenant has asked
// for them.
func (s *Service) endSessions(v *visit) (err error) {
	if _, err := s.cfg.Minter(v.r, ""); err != nil {
		return err
	}
	var in struct {
		User string `json:"user"`
	}
	if _, err = v.read(&in); err != nil {
		return err
	}
	if !caller.ValidUser(in.User) {
		return problem.New(problem.InvalidUser, "user", "`user` has to be one id of 1 to 256 printable ASCII characters, without spaces and commas.")
	}
	if v.who, err = s.cfg.Minter(v.r, in.User); err != nil {
		return err
	}
	if err := s.note(v, audit.SessionEnded, in.User, ""); err != nil {
		return err
	}
	if err := s.cfg.Revocations.RevokeUser(v.r.Context(), v.who.Tenant, in.User); err != nil {
		return vault.Problem(err)
	}
	s.cfg.Ended()
	v.w.WriteHeader(http.StatusNoContent)
	return nil
}

// note writes the audit line. What cannot be recorded is not done.
func (s *Service) note(v *visit, what audit.Event, user, id string) error {
	err := s.cfg.Audit.Record(audit.Record{Time: s.cfg.Now(), Event: what, RequestID: v.id, Tenant: v.who.Tenant, Agent: v.who.Agent, User: user, Session: id})
	if err != nil {
		p := problem.New(problem.AuditUnavailable, "audit", "The gateway cannot record this at the moment, so it was not done.")
		p.RetryAfter = 5 * time.Second
		return p.Because(err)
	}
	return nil
}
