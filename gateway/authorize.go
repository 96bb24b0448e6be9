// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
)

// authorize gets a credential that works now. Where there is none it refuses,
// before the provider has heard of the call.
func (g *Gateway) authorize(x *exchange) error {
	x.since = g.tunnels.ends.Load()
	if x.toolkit.Auth.PerUser {
		grant, err := g.cfg.Credentials.TokenFor(x.in.Context(), x.toolkit, x.key(), func(c connection.Connection) error { return g.approved(x, c) })
		if err != nil {
			return g.unauthorized(x, err)
		}
		if err := g.use(x, grant); err != nil {
			return g.unauthorized(x, err)
		}
		return nil
	}
	x.put(credential.For(x.toolkit.Auth, secret.String{}))
	return nil
}

// approved refuses a connection that its user has not let this agent use, or not for such
// a call. Where the agent may not use it at all, it is not connected to this agent: neither
// whose account it is nor what was granted is its business.
func (g *Gateway) approved(x *exchange, grant connection.Connection) error {
	if !grant.Admits(x.caller.Agent, g.Several(x.caller.Tenant)) {
		return &connection.Unusable{Status: connection.NotConnected, Reason: connection.NotApproved, Account: grant.Key.Account}
	}
	return g.reading(x, grant)
}

// use makes a grant the one that is used. A token goes only where it was granted
// for, whatever the configuration says today. Whether the agent may use it is asked once
// more: while it was renewed, its user may have taken that back.
func (g *Gateway) use(x *exchange, grant connection.Connection) error {
	if err := g.approved(x, grant); err != nil {
		return err
	}
	own, err := x.toolkit.For(grant.Variables)
	if err != nil || !slices.Contains(grant.Granted.Hosts, x.origin) {
		return &connection.Unusable{Status: grant.Status, Reason: connection.GrantMoved, Account: grant.Key.Account}
	}
	if own != x.own {
		if x.target, err = own.Target(x.path, x.in.URL.RawQuery); err != nil {
			return err // resolve has looked at the path
		}
	}
	x.own, x.grant = own, grant
	x.put(credential.For(x.toolkit.Auth, grant.AccessToken))
	return nil
}

// put makes c the credential. What was put on before stays a secret.
func (x *exchange) put(c credential.Credential) {
	x.credential, x.secrets = c, append(spelled(c.Secrets()), x.secrets...)
}

// unauthorized turns a grant that cannot be used into auth_required with a link;
// every other error stays what it is.
func (g *Gateway) unauthorized(x *exchange, err error) error {
	unusable, ok := errors.AsType[*connection.Unusable](err)
	if !ok {
		return g.ambiguous(x, err)
	}
	if unusable.Status == connection.Inactive {
		return g.resting(x, unusable)
	}
	switch s := x.caller.Session; {
	case s != nil && s.NoLinks:
		return g.authRequired(x, unusable, " There are no links in this session (manage_connections is false): the app that gave it out has a page of its own for this. Ask the user to connect "+x.toolkit.Name+" there, then try again.")
	case x.agent != nil && !x.agent.has(caller.Connect):
		return g.authRequired(x, unusable, " The agent "+x.agent.Name+" gets no links (it does not have the right `connect`). Ask the user to connect "+x.toolkit.Name+" in the operator's app, then try again.")
	}
	link, err := g.cfg.Links.Link(context.WithoutCancel(x.in.Context()), x.caller, x.toolkit, x.ask(unusable))
	if err != nil {
		return g.ambiguous(x, err)
	}
	if link.Pending && (unusable.Status == connection.NotConnected || unusable.Status == connection.Added) {
		unusable = &connection.Unusable{Status: connection.Pending, Reason: connection.ConnectPending}
	}
	do := " to connect, then try again."
	if unusable.Reason == connection.NotApproved {
		do = " to allow it, then try again."
	}
	p := g.authRequired(x, unusable, " Open "+link.ConnectURL+do)
	p.ConnectURL, p.ExpiresAt, p.StatusURL = link.ConnectURL, link.ExpiresAt, link.StatusURL
	return p
}

// getsLinks reports whether a refusal may hold an address for the user.
func (x *exchange) getsLinks() bool {
	return (x.caller.Session == nil || !x.caller.Session.NoLinks) && (x.agent == nil || x.agent.has(caller.Connect))
}

func (g *Gateway) authRequired(x *exchange, unusable *connection.Unusable, todo string) *problem.Problem {
	name := x.toolkit.Name
	if x.account != "" {
		name += " (account " + quoted(x.account) + ")"
	}
	p := problem.New(problem.AuthRequired, string(unusable.Reason), why(name, unusable)+todo)
	p.Status = g.cfg.AuthRequiredStatus
	p.Toolkit = &problem.Toolkit{ID: x.toolkit.ID, Name: x.toolkit.Name}
	p.User = x.caller.User
	p.Connection = &problem.Connection{Status: string(unusable.Status), Reason: string(unusable.Reason), Account: x.account, ScopesMissing: x.lacking}
	return p
}

// ask is what the link has to be for. Where scopes are lacking, it is for those that were
// granted as well: what a user agrees to takes the place of what they agreed to before.
func (x *exchange) ask(unusable *connection.Unusable) Ask {
	a := Ask{Account: cmp.Or(x.account, unusable.Account, x.grant.Key.Account), CallbackURL: x.callback}
	if len(x.lacking) > 0 {
		a.Scopes = append(slices.Clone(x.granted), x.lacking...)
	}
	return a
}

// resting is for a connection that the user has switched off. There is no link to connect
// in it: agents show that by themselves, and with one press it would undo what the user
// has decided. Where it is switched on again stands in the sentence.
func (g *Gateway) resting(x *exchange, unusable *connection.Unusable) error {
	detail := x.toolkit.Name + " is connected for this user, and they have switched it off."
	if g.cfg.ManageURL != "" && x.getsLinks() {
		detail += " Only they can switch it on again, at " + g.cfg.ManageURL + "."
	}
	p := problem.New(problem.Inactive, string(connection.SwitchedOff), detail)
	p.Toolkit = &problem.Toolkit{ID: x.toolkit.ID, Name: x.toolkit.Name}
	p.User = x.caller.User
	p.Connection = &problem.Connection{Status: string(unusable.Status), Reason: string(connection.SwitchedOff), Account: x.account}
	return p
}

func why(name string, u *connection.Unusable) string {
	switch u.Reason {
	case connection.RefreshRejected, connection.NoRefreshToken:
		return name + " was connected for this user, but the access has ended."
	case connection.ProviderRejected:
		return name + " does not accept this user's access any more."
	case connection.GrantMoved:
		return name + " was connected for this user in another configuration."
	case connection.ScopeMissing:
		return name + " does not allow this call with what the user has granted; other calls still work."
	case connection.NotApproved:
		return name + " is connected for this user, but they have not let this agent use it."
	case connection.SwitchedOff:
		return name + " is switched off for this user."
	}
	return name + " is not connected for this user."
}
