// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/toolkit"
)

// place is where a grant goes: into a connection that is there, or beside it.
type place struct {
	key     connection.Key
	before  connection.Connection // version 0: nothing is there
	beside  connection.Accounts   // all that the user has of the toolkit
	moved   bool                  // before is of another provider, and its accounts are others
	scopes  []string              // that were asked for, if not the configuration's
	name    string                // what the agent calls the account, if it is to come
	id      string                // of a connection that is to come; "": any
	reading *bool                 // only, or not any more; nil: as before
	agent   string                // for which it is connected; "": for none yet
}

// place finds it. The first connection of all goes where gateways of the version before
// look for the only one, whatever it is called.
func (s *Service) place(ctx context.Context, l *part) (place, error) {
	p := place{key: l.first(), scopes: l.Scopes, agent: l.Agent, reading: l.Reading}
	var err error
	if p.beside, err = s.cfg.Vault.Accounts(ctx, p.key); err != nil {
		return p, err
	}
	if l.Wanted != "" {
		account, err := p.beside.Pick(l.Wanted)
		switch _, none := errors.AsType[*connection.Unusable](err); {
		case none:
			p.comes(l.Wanted)
		case err != nil:
			return p, err
		default:
			p.key.Account = account
		}
	}
	p.before, err = s.before(ctx, p.key)
	issuer, _ := s.cfg.Toolkits[l.Toolkit].Toolkit.GranteeOf(p.before.Variables)
	p.moved = p.before.Granted.Issuer != issuer
	if p.staged() {
		p.name = p.before.Label
	}
	return p, err
}

// comes is for an account that is not there. Who asks by the id of a connection that was
// taken away gets that id again: the same call works then.
func (p *place) comes(wanted string) {
	if connection.LooksLikeID(wanted) {
		p.id = wanted
	} else {
		p.name, p.id = wanted, "conn_"+rand.Text()
	}
	if len(p.beside.All) > 0 {
		p.key.Account = p.id
	}
}

// needsLabel reports whether it matters whose account it is. For a user's first one it
// does not, and the provider is asked when the grant is safe.
func (p place) needsLabel() bool {
	switch {
	case p.staged():
		return p.name != ""
	case p.before.Version != 0:
		return p.before.AccountLabel != "" && !p.moved
	}
	return p.name != "" || len(p.beside.All) > 0
}

// staged reports whether what is in the place was set up alone, and nothing was granted.
func (p place) staged() bool { return p.before.Version != 0 && p.before.Status == connection.Added }

// takes reports whether an account may be kept here, by the provider's name for it. Where
// that and what the agent asked for cannot be compared, such as an address and a word of
// the user's, the user knows best what they have signed in with.
//
// What is connected is not replaced by another account: agents would go on with that one
// under the name of the first, and nobody would see it. A label that cannot be compared,
// such as one that an import brought along, stands in nobody's way.
func (p place) takes(label string) (failure string, err error) {
	if same, known := connection.SameAccount(p.before.AccountLabel, label); known && !same && !p.moved {
		return notThisOne, errAnotherHere
	}
	if same, known := connection.SameAccount(p.name, label); known && !same {
		return otherAccount, errNotExpected
	}
	return "", nil
}

var errAnotherHere = errors.New("another account is connected there")

// elsewhere reports whether the user has chosen another place at the provider than the one
// that is connected: another company or site is another account, also where one person's
// address is the name of both. What the token endpoint says may move, as in a renewal.
func (p place) elsewhere(tk *toolkit.Toolkit, chosen map[string]string) bool {
	return p.before.Version != 0 && !p.moved && tk.Allows(p.before.Variables) == nil && !sameChoice(tk, p.before.Variables, chosen)
}

// sameChoice compares the variables that users choose, where both have them.
func sameChoice(tk *toolkit.Toolkit, a, b map[string]string) bool {
	for name, v := range tk.Variables {
		if one, other := a[name], b[name]; v.From != toolkit.FromReply && one != "" && other != "" && one != other {
			return false
		}
	}
	return true
}

// settle goes to the connection that has the account already, if one has: two grants of
// one account end each other at some providers. One with a name of its own stays apart.
func (s *Service) settle(ctx context.Context, p *place, tk *toolkit.Toolkit, label string, chosen map[string]string) error {
	if p.before.Version != 0 || label == "" {
		return nil
	}
	for _, c := range p.beside.All {
		if !connection.SameName(c.AccountLabel, label) || c.Label != "" && p.name != "" {
			continue
		}
		key := p.key
		key.Account = c.Account
		before, err := s.before(ctx, key)
		if err != nil {
			return err
		}
		if sameChoice(tk, before.Variables, chosen) {
			p.key, p.before, p.id = key, before, ""
			return nil
		}
	}
	return nil
}

// owned is takes, where a fault that passes may keep us from knowing whose account it is.
// Then it is neither a yes nor a no: the user would lose what works, or agents would go on
// with another account.
func (p place) owned(label string, unknown error) (failure string, err error) {
	if unknown != nil && p.needsLabel() {
		return nameless, unknown
	}
	return p.takes(label)
}

// fits is welcome for a key of the user's own. unknown is why its account is not known.
func (s *Service) fits(ctx context.Context, l *part, tk *toolkit.Toolkit, said map[string]string, account string, unknown error) (failure string, err error) {
	p, err := s.place(ctx, l)
	if err != nil {
		return ours, err
	}
	if p.elsewhere(tk, said) {
		return notThisOne, errAnotherHere
	}
	return p.owned(account, unknown)
}

// granted is what was in the place with a new grant.
func (p place) granted(tk *toolkit.Toolkit, g oauth.Grant, now time.Time) connection.Connection {
	issuer, client := tk.Grantee()
	conn := connection.Connection{
		Key: p.key, ID: p.before.ID, Version: p.before.Version, Status: p.before.Status,
		AccessToken: g.AccessToken, RefreshToken: g.RefreshToken, IssuedAt: g.IssuedAt, ExpiresAt: g.ExpiresAt,
		Scopes: g.Scopes, CreatedAt: p.before.CreatedAt,
		Granted:   connection.Grantee{Issuer: issuer, ClientID: client, Hosts: tk.Origins()},
		Variables: g.Variables,
		Label:     p.before.Label, NotDefault: p.before.NotDefault, LastUsed: p.before.LastUsed,
		Agents: p.before.Agents, Barred: p.before.Barred, ReadOnly: p.before.ReadOnly,
	}
	if p.reading != nil {
		conn.ReadOnly = *p.reading
	}
	if conn.ID == "" {
		// Nobody may use it but who asked for it. That is so as well where a record cannot
		// be read any more, which may have said so.
		conn.ID, conn.CreatedAt, conn.Agents = p.newID(), now, []string{}
	}
	if p.staged() {
		conn.CreatedAt = now // it was not there before
	}
	conn = conn.Admit(p.agent)
	if conn.Label == "" {
		conn.Label = p.name
	}
	if conn.Scopes == nil && tk.OAuth != nil {
		conn.Scopes = tk.OAuth.Asking(p.scopes).Scopes // as asked for (RFC 6749 §5.1)
	}
	if next, err := conn.After(connection.Granted, "", now); err == nil {
		return next
	}
	// A status that only a later version knows: a new grant counts all the same.
	conn.Status, conn.UpdatedAt = connection.Active, now
	return conn
}

func (p place) newID() string {
	switch {
	case p.key.Account != "":
		return p.key.Account
	case p.id != "":
		return p.id
	}
	return "conn_" + rand.Text()
}

// put saves a connection in its place. One that takes the first one's beside others must
// not become the default by that: whose account calls go to is the user's to choose.
func (s *Service) put(ctx context.Context, p place, conn connection.Connection) (connection.Connection, error) {
	if connection.SameName(conn.Label, conn.AccountLabel) {
		conn.Label = ""
	}
	if p.before.Version == 0 && p.key.Account == "" && len(p.beside.All) > 0 {
		if err := s.cfg.Vault.KeepDefault(ctx, p.key, p.beside); err != nil {
			return connection.Connection{}, err
		}
		conn.NotDefault = true
	}
	// ErrConflict: a refresh of the old grant came between, or another browser.
	return s.cfg.Vault.Save(ctx, conn)
}
