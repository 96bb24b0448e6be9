// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// Revoker ends a token at its provider; *oauth.Client is one.
type Revoker interface {
	Revoke(ctx context.Context, o *toolkit.OAuth2, access, refresh secret.String) error
}

// revocation is a grant that is to be taken back at its provider. It is written before
// the connection is removed, so that a provider that is away, or the end of this
// process, leaves no grant behind that nobody knows of.
type revocation struct {
	Toolkit    string `json:"toolkit"`
	Tenant     string `json:"tenant"`
	User       string `json:"user"`
	Connection string `json:"connection,omitempty"` // its id; "": a grant that was not kept, see giveUp
	Account    string `json:"account,omitempty"`    // the provider's name for it
	ClientID   string `json:"client_id"`
	Issuer     string `json:"issuer"`
	// Variables tell which server that is, where each user has another one.
	Variables    map[string]string `json:"variables,omitempty"`
	AccessToken  string            `json:"access_token,omitempty"`
	RefreshToken string            `json:"refresh_token,omitempty"`
	// Since is when the connection went. Zero where there was none: each that may live on
	// the grant does.
	Since time.Time `json:"since"`
	Tries int       `json:"tries"`
	Next  time.Time `json:"next"` // not before
}

const (
	revokeLimit = 10 * time.Second
	// revokeFirst is the time to the second try; it doubles, up to revokeLast.
	revokeFirst = time.Minute
	revokeLast  = 6 * time.Hour
	// revokeFor is how long it is tried. Refresh tokens die of age as well.
	revokeFor = 7 * 24 * time.Hour
)

// undoing is what came of taking a connection away.
type undoing string

// The outcomes; pages.go has the sentences.
const (
	undone     undoing = "disconnected"         // here and at the provider
	undoneHere undoing = "disconnected_here"    // the provider has no way to say so, or others use the grant
	undonePart undoing = "disconnected_pending" // the provider could not be told yet
	removed    undoing = "removed"              // it was set up, and had not been connected
	// And of what takes nothing away.
	chosen   undoing = "default_chosen"
	rested   undoing = "switched_off"
	woken    undoing = "switched_on"
	allowed  undoing = "agent_allowed"
	barred   undoing = "agent_withdrawn"
	renamed  undoing = "renamed"
	misnamed undoing = "name_refused"
	taken    undoing = "name_taken"
	works    undoing = "works" // the provider takes the token
	ailing   undoing = "works_not"
	unsure   undoing = "works_unknown" // it could not be asked, or does not say
	fresh    undoing = "renewed"
	narrowed undoing = "read_only"
	widened  undoing = "read_write"
	stale    undoing = "renewed_not"
)

// DisconnectFor takes the connection away that an agent names, on behalf of its user, and
// says in a sentence what came of it. An agent that may not use a connection cannot take it
// from those that may: to that one it is not connected. Errors are *problem.Problem.
func (s *Service) DisconnectFor(ctx context.Context, requestID string, who caller.Caller, toolkitID, account string) (string, error) {
	tk, err := s.askedFor(who, toolkitID)
	if err != nil {
		return "", err
	}
	nothing := problem.New(problem.NotFound, "connection", tk.Name+" is not connected for this user, so there is nothing to disconnect.")
	if !tk.Auth.PerUser {
		return "", nothing
	}
	conn, _, err := s.findConnection(ctx, connection.Key{Tenant: who.Tenant, User: who.User, Toolkit: tk.ID}, account)
	if several, ok := errors.AsType[*connection.Ambiguous](err); ok {
		return "", s.severalAccounts(who, tk, several)
	}
	var outcome undoing
	switch {
	case err != nil:
	case !s.admits(conn, who.Agent):
		return "", nothing
	default:
		outcome, err = s.disconnect(ctx, requestID, who.Agent, conn.Key)
	}
	switch {
	case errors.Is(err, connection.ErrNotConnected):
		return "", nothing
	case err != nil:
		return "", vault.Problem(err)
	}
	s.cfg.Report(Event{What: string(outcome), Tenant: who.Tenant, User: who.User, Agent: who.Agent, Toolkit: tk.ID, RequestID: requestID})
	return map[undoing]string{
		undone:     tk.Name + " is disconnected, and the access was taken back there too.",
		undoneHere: tk.Name + " is disconnected here. The access was not taken back there: other connections use it, or there is no way to.",
		undonePart: tk.Name + " is disconnected here. It could not be told yet to end the access; that is tried again for days.",
	}[outcome], nil
}

// disconnect takes a connection away: first here, so that no call uses it any more, and
// then at the provider. agent is the one that asks for it; "": a person, or the operator.
func (s *Service) disconnect(ctx context.Context, requestID, agent string, key connection.Key) (undoing, error) {
	return s.takeAway(ctx, requestID, agent, key, func(ctx context.Context, c connection.Connection) (bool, error) {
		return s.livesOn(ctx, c, s.cfg.Now())
	})
}

// takeAway is disconnect. Where shared says so, the grant is left to who else lives on it.
func (s *Service) takeAway(ctx context.Context, requestID, agent string, key connection.Key, shared sharing) (undoing, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishLimit)
	defer cancel()
	var conn connection.Connection
	var paper *vault.Document
	audited := false
	err := persist(ctx, func() (err error) {
		conn, err = s.cfg.Vault.Load(ctx, key)
		if err != nil {
			return err
		}
		if !audited {
			r := audit.Record{Time: s.cfg.Now(), Event: audit.Disconnected, RequestID: requestID, Tenant: key.Tenant, Agent: agent, User: key.User, Toolkit: key.Toolkit, Connection: conn.ID}
			if err := s.cfg.Audit.Record(r); err != nil {
				return err
			}
			audited = true
		}
		if paper, err = s.noteRevocation(ctx, conn, paper, shared); err != nil {
			return err
		}
		return s.cfg.Vault.Remove(ctx, conn) // ErrConflict: a refresh came between, with another token
	})
	if err != nil {
		return "", fmt.Errorf("disconnecting: %w", err)
	}
	s.cfg.Disconnected(key)
	s.tidyDefault(ctx, key)
	if conn.Status == connection.Added {
		return removed, nil
	}
	if paper == nil {
		return undoneHere, nil
	}
	if err := s.revoke(ctx, *paper); err != nil {
		s.cfg.Report(Event{What: "revocation_pending", Tenant: key.Tenant, User: key.User, Toolkit: key.Toolkit, RequestID: requestID, Err: err})
		return undonePart, nil
	}
	return undone, nil
}

// tidyDefault removes what tells which account is the default, with the last of them.
// What stays where that fails says of nobody's account that it is.
func (s *Service) tidyDefault(ctx context.Context, key connection.Key) {
	if left, err := s.cfg.Vault.Accounts(ctx, key); err == nil && len(left.All) == 0 {
		_ = s.cfg.Vault.ForgetDefault(ctx, key)
	}
}

// sharing reports whether others live on a connection's grant.
type sharing func(context.Context, connection.Connection) (bool, error)

// noteRevocation writes down what is to be revoked. nil: there is no way, or nothing.
func (s *Service) noteRevocation(ctx context.Context, conn connection.Connection, before *vault.Document, shared sharing) (*vault.Document, error) {
	o := s.revocable(conn)
	if o == nil {
		return nil, nil
	}
	if endsAll(o) { // who else uses it keeps it, and the last one ends it
		if others, err := shared(ctx, conn); others || err != nil {
			return nil, err
		}
	}
	r := revocationOf(conn, o)
	r.Connection, r.Since = conn.ID, s.cfg.Now()
	return s.putRevocation(ctx, r, before)
}

func revocationOf(conn connection.Connection, o *toolkit.OAuth2) revocation {
	return revocation{
		Toolkit: conn.Toolkit, Tenant: conn.Tenant, User: conn.User, Account: conn.AccountLabel, ClientID: o.ClientID, Issuer: o.Grantor(), Variables: conn.Variables,
		AccessToken: conn.AccessToken.Reveal(), RefreshToken: conn.RefreshToken.Reveal(),
	}
}

// putRevocation writes one, in the place of before if there is that.
func (s *Service) putRevocation(ctx context.Context, r revocation, before *vault.Document) (*vault.Document, error) {
	now := s.cfg.Now()
	r.Next = now.Add(finishLimit) // until when whoever writes this is at work on it
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	d := vault.Document{Name: vault.Name("revocation", r.Connection+"-"+random(idBytes)), Version: 1, Index: []string{vault.Name("revocation")}}
	if before != nil {
		d.Name, d.Version = before.Name, before.Version+1
	}
	d.Plain, d.Expires = text, now.Add(revokeFor)
	return &d, s.cfg.Vault.Put(ctx, d)
}

// revocable gives the client that a connection's token may be revoked with. A token that
// another client was given, or another server, goes nowhere.
func (s *Service) revocable(conn connection.Connection) *toolkit.OAuth2 {
	o := s.client(conn.Toolkit, conn.Variables)
	if o == nil || conn.Granted.ClientID != o.ClientID || conn.Granted.Issuer != o.Grantor() || conn.AccessToken.IsZero() && conn.RefreshToken.IsZero() {
		return nil
	}
	return o
}

// client is the operator's at the server of a connection with these values. nil: there is
// none, or no way to revoke.
func (s *Service) client(toolkitID string, values map[string]string) *toolkit.OAuth2 {
	e, known := s.cfg.Toolkits[toolkitID]
	if !known || e.Toolkit.OAuth == nil || e.Toolkit.OAuth.RevokeURL == "" {
		return nil
	}
	own, err := e.Toolkit.At(values)
	if err != nil {
		return nil
	}
	return own.OAuth
}

// revoke tells the provider, and forgets about it where that went well.
func (s *Service) revoke(ctx context.Context, d vault.Document) error {
	var r revocation
	if err := json.Unmarshal(d.Plain, &r); err != nil {
		return fmt.Errorf("reading a revocation: %w", err)
	}
	o := s.client(r.Toolkit, r.Variables)
	if o == nil || r.ClientID != o.ClientID || r.Issuer != o.Grantor() {
		return errors.New("the toolkit is not configured for this grant any more")
	}
	ask, cancel := context.WithTimeout(ctx, revokeLimit)
	defer cancel()
	if err := s.cfg.Revoker.Revoke(ask, o, secret.New(r.AccessToken), secret.New(r.RefreshToken)); err != nil {
		r.Tries++
		r.Next = s.cfg.Now().Add(min(revokeFirst<<min(r.Tries-1, 20), revokeLast))
		if d.Plain, _ = json.Marshal(r); d.Plain != nil {
			d.Version++
			_ = s.cfg.Vault.Put(ctx, d) // if not, it is only tried again sooner
		}
		return err
	}
	return struck(s.cfg.Vault.Delete(ctx, d.Name, d.Version))
}

// struck is for a revocation that is done with: another gateway may have done it too.
func struck(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// RetryRevocations tries once more those that are due. It is for a job in the background,
// of each gateway on the store: revoking twice does no harm.
func (s *Service) RetryRevocations(ctx context.Context) (done, left int, err error) {
	for next := ""; ; {
		var found []vault.Document
		found, next, err = s.cfg.Vault.OfTerm(ctx, vault.Name("revocation"), next, 100)
		if err != nil {
			return done, left, err
		}
		for _, d := range found {
			var r revocation
			if json.Unmarshal(d.Plain, &r) != nil {
				continue
			}
			if s.cfg.Now().Before(r.Next) || s.retry(ctx, d, r) != nil {
				left++
				continue
			}
			done++
		}
		if next == "" || ctx.Err() != nil {
			return done, left, ctx.Err()
		}
	}
}

// retry revokes later what could not be revoked at once. What came to be needed meanwhile
// stays, and whoever disconnects that ends it.
func (s *Service) retry(ctx context.Context, d vault.Document, r revocation) error {
	if o := s.client(r.Toolkit, r.Variables); o != nil {
		needed, err := s.needed(ctx, o, r)
		if err != nil {
			return err
		}
		if needed {
			return struck(s.cfg.Vault.Delete(ctx, d.Name, d.Version))
		}
	}
	return s.revoke(ctx, d)
}
