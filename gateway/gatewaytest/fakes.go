// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gatewaytest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Credentials is a fake token cache. A user is connected once Connect was called;
// a renewal gives "<token>.2", "<token>.3" and so on.
type Credentials struct {
	mu     sync.Mutex
	grants map[connection.Key]connection.Connection
	first  map[connection.Key]string

	// TokenErr and RenewErr answer every call where they are set.
	TokenErr, RenewErr error

	renewals, worked int
	given            int
	rejected         []string
}

func newCredentials() *Credentials {
	return &Credentials{grants: map[connection.Key]connection.Connection{}, first: map[connection.Key]string{}}
}

// Connect gives a user a token for a toolkit.
func (c *Credentials) Connect(user string, tk *toolkit.Toolkit, token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := connection.Key{Tenant: caller.DefaultTenant, User: user, Toolkit: tk.ID}
	c.first[key] = token
	c.grants[key] = connection.Connection{
		Key: key, ID: "con_" + user, Version: 1, Status: connection.Active,
		AccessToken: secret.New(token), Granted: connection.Grantee{Hosts: tk.Origins()},
	}
}

// Add gives a user a token for a further account.
func (c *Credentials) Add(user string, tk *toolkit.Toolkit, id, label, token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := connection.Key{Tenant: caller.DefaultTenant, User: user, Toolkit: tk.ID, Account: id}
	c.first[key] = token
	c.grants[key] = connection.Connection{
		Key: key, ID: id, Version: 1, Status: connection.Active, AccountLabel: label,
		AccessToken: secret.New(token), Granted: connection.Grantee{Hosts: tk.Origins()},
	}
}

// Drop takes a user's first connection away.
func (c *Credentials) Drop(user, toolkitID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.grants, connection.Key{Tenant: caller.DefaultTenant, User: user, Toolkit: toolkitID})
}

// accounts are those that a key may mean. Without the first one, nobody is the default.
func (c *Credentials) accounts(key connection.Key) connection.Accounts {
	found := connection.Accounts{Nobody: true}
	for k, grant := range c.grants {
		if k.Tenant == key.Tenant && k.User == key.User && k.Toolkit == key.Toolkit {
			found.All = append(found.All, grant.Choice())
			found.Nobody = found.Nobody && k.Account != ""
		}
	}
	slices.SortFunc(found.All, func(a, b connection.Choice) int { return strings.Compare(a.ID, b.ID) })
	return found
}

// Change edits what a user has granted.
func (c *Credentials) Change(user, toolkitID string, edit func(*connection.Connection)) {
	c.ChangeAccount(user, toolkitID, "", edit)
}

// ChangeAccount edits what a user has granted for a further account.
func (c *Credentials) ChangeAccount(user, toolkitID, id string, edit func(*connection.Connection)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := connection.Key{Tenant: caller.DefaultTenant, User: user, Toolkit: toolkitID, Account: id}
	grant := c.grants[key]
	edit(&grant)
	c.grants[key] = grant
}

// Fail sets TokenErr and RenewErr.
func (c *Credentials) Fail(token, renew error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.TokenErr, c.RenewErr = token, renew
}

// TokenFor implements gateway.Credentials.
func (c *Credentials) TokenFor(ctx context.Context, _ *toolkit.Toolkit, key connection.Key, admit func(connection.Connection) error) (connection.Connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return connection.Connection{}, ctx.Err()
	case c.TokenErr != nil:
		return connection.Connection{}, c.TokenErr
	}
	account, err := c.accounts(key).Pick(key.Account)
	if err != nil {
		return connection.Connection{}, err
	}
	key.Account = account
	if err := admit(c.grants[key]); err != nil {
		return connection.Connection{}, err
	}
	c.given++
	return c.grants[key], nil
}

// Renew implements gateway.Credentials: once for a token, however many ask.
func (c *Credentials) Renew(_ context.Context, _ *toolkit.Toolkit, stale connection.Connection) (connection.Connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	grant := c.grants[stale.Key]
	if c.RenewErr != nil {
		return grant, c.RenewErr
	}
	if grant.AccessToken.Equal(stale.AccessToken) {
		c.renewals++
		grant.Version++
		grant.AccessToken = secret.New(c.first[stale.Key] + "." + strconv.FormatUint(grant.Version, 10))
		c.grants[stale.Key] = grant
	}
	return grant, nil
}

// Rejected implements gateway.Credentials.
func (c *Credentials) Rejected(_ context.Context, _ connection.Connection, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rejected = append(c.rejected, path)
}

// Worked implements gateway.Credentials.
func (c *Credentials) Worked(connection.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worked++
}

// Counts gives how often a token was renewed and worked, and the paths where even a
// new one was refused.
func (c *Credentials) Counts() (renewals, worked int, rejected []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.renewals, c.worked, append([]string(nil), c.rejected...)
}

// Given gives how often a token was given.
func (c *Credentials) Given() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.given
}

// LinkExpiry is when the links of [Links] end.
var LinkExpiry = time.Date(2026, 11, 20, 9, 15, 0, 0, time.UTC)

// Links makes links that lead nowhere.
type Links struct {
	mu      sync.Mutex
	err     error
	pending bool
	asked   []gateway.Ask
}

// Asked gives what links were asked for.
func (l *Links) Asked() []gateway.Ask {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

// Open says that the user has opened the link.
func (l *Links) Open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = true
}

// Fail makes every link fail.
func (l *Links) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// Link implements gateway.Links.
func (l *Links) Link(_ context.Context, who caller.Caller, tk *toolkit.Toolkit, ask gateway.Ask) (gateway.Link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return gateway.Link{}, l.err
	}
	l.asked = append(l.asked, ask)
	id := who.User + "_" + tk.ID
	if ask.Account != "" {
		id += "_" + ask.Account
	}
	return gateway.Link{
		ConnectURL: "https://connect.example.com/connect/lnk_" + id,
		ExpiresAt:  LinkExpiry,
		StatusURL:  "https://connect.example.com/v1/connections/" + tk.ID,
		Pending:    l.pending,
	}, nil
}

// Audit keeps its lines in memory.
type Audit struct {
	mu    sync.Mutex
	lines []audit.Record
	err   error
}

// Fail makes every line fail.
func (a *Audit) Fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// Record implements gateway.Audit.
func (a *Audit) Record(r audit.Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	a.lines = append(a.lines, r)
	return nil
}

// Lines gives what was recorded.
func (a *Audit) Lines() []audit.Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]audit.Record(nil), a.lines...)
}

// Sessions knows the sessions that it is told of.
type Sessions struct {
	mu      sync.Mutex
	known   map[string]*caller.Session
	revoked map[string]bool // by id
}

// Add makes a session known, and gives its token.
func (s *Sessions) Add(one caller.Session) (token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known, s.revoked = map[string]*caller.Session{}, map[string]bool{}
	}
	token = gateway.SessionPrefix + strings.Repeat("t", 80) + strconv.Itoa(len(s.known))
	s.known[token] = &one
	return token
}

// Revoke takes a session back, by its id.
func (s *Sessions) Revoke(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked[id] = true
}

// Open implements gateway.Sessions.
func (s *Sessions) Open(token string) (*caller.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.known[token]
	if one == nil || s.revoked[one.ID] {
		return nil, problem.New(problem.SessionRevoked, "revoked", "The session is not good.")
	}
	return one, nil
}

// Revoked implements gateway.Sessions.
func (s *Sessions) Revoked(one *caller.Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoked[one.ID]
}
