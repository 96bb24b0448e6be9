// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// The words for what can go wrong; pages.go has the sentences.
const (
	denied        = "denied"          // the user said no
	misconfigured = "misconfigured"   // the provider does not accept the operator's client
	unavailable   = "unavailable"     // the provider has a problem
	failed        = "failed"          // the provider does not accept the code, or who knows
	ours          = "not_kept"        // the store or the audit log did not take it
	otherAccount  = "other_account"   // the operator, or the agent, expects another one
	nameless      = "account_unknown" // the provider cannot be asked just now whose it is
	notThisOne    = "not_this_one"    // another one is connected here
	nowhere       = "no_address"      // the provider does not say where the account is, or names a stranger
	several       = "several"         // the provider names more than one, and nobody can choose
	altered       = "altered"         // the callback does not say it in any way that could be
	changed       = "changed"         // the connection is not what the user was shown
	unproven      = "unproven"        // the callback says it, and the provider knows nothing of it
	unsigned      = "unsigned"        // the callback does not bear the provider's signature
	otherPlace    = "other_place"     // it is from another place than the user has named
)

// complete turns the provider's answer into a saved connection. It gives the word
// for what went wrong, or "".
func (s *Service) complete(ctx context.Context, v visit, t *trip) (failure string) {
	failure, err := s.redeem(ctx, v, t)
	switch {
	case failure == "":
		s.report("connected", v, t.link, "", nil)
		if missing := t.toolkit.OAuth.MissingScopes(t.scopes); len(missing) > 0 {
			s.report("scopes_missing", v, t.link, strings.Join(missing, " "), nil)
		}
		return ""
	case err == nil:
		s.report("denied", v, t.link, failure, nil)
	default:
		s.report("failed", v, t.link, failure, err)
	}
	if err := s.cfg.Audit.Record(t.link.record(s.cfg.Now(), audit.ConnectFail, v.id, failure)); err != nil {
		s.report("trouble", v, t.link, "audit", err) // nothing was done that it could stop
	}
	return failure
}

// redeem spends the code. err is nil where the provider sent none.
func (s *Service) redeem(ctx context.Context, v visit, t *trip) (failure string, err error) {
	if t.refusal != "" || t.code == "" {
		return failureOf(t.refusal), nil
	}
	// All of it before the code is spent.
	if failure, err := t.fromThere(); failure != "" {
		return failure, err
	}
	claims, err := claimed(t.toolkit, t.query)
	if err != nil {
		return altered, err
	}
	grant, err := s.cfg.Exchanger.Exchange(ctx, t.toolkit.OAuth, t.code, t.flow.Verifier, t.flow.RedirectURI)
	if err != nil {
		return exchangeFailure(err), err
	}
	if failure, err := s.locate(ctx, t, &grant, claims); failure != "" {
		return failure, errors.Join(err, s.giveBack(ctx, t, grant))
	}
	if t.own.Identity != nil && t.own.Identity.IDToken {
		s.labelOf(ctx, t, grant) // which costs no call, and is not to be had later
	}
	if failure, err := s.welcome(ctx, t, grant); failure != "" {
		return failure, err
	}
	// On paper before it can be used.
	if err := s.cfg.Audit.Record(t.link.record(s.cfg.Now(), audit.Connected, v.id, t.link.access())); err != nil {
		return ours, err
	}
	return s.keep(ctx, t, grant)
}

// welcome looks whether the grant is of an account that belongs where it would be kept,
// before anything is kept and while it is worth a question to the provider.
func (s *Service) welcome(ctx context.Context, t *trip, g oauth.Grant) (failure string, err error) {
	switch err := s.expected(ctx, t, g); {
	case errors.Is(err, errNameless):
		return nameless, err
	case err != nil:
		return otherAccount, err
	}
	var p place
	if err = persist(ctx, func() error { p, err = s.place(ctx, t.link); return err }); err != nil {
		return ours, err
	}
	if failure, err = s.takes(ctx, t, p, g); failure == "" {
		return "", nil
	}
	return failure, errors.Join(err, s.giveBack(ctx, t, g))
}

// takes reports whether a grant may be kept in a place, and asks whose account it is where
// that matters.
func (s *Service) takes(ctx context.Context, t *trip, p place, g oauth.Grant) (failure string, err error) {
	if p.elsewhere(t.toolkit, g.Variables) {
		return notThisOne, errAnotherHere
	}
	if !p.needsLabel() {
		return "", nil
	}
	name := s.labelOf(ctx, t, g)
	return p.owned(name, t.nameless)
}

// giveBack ends a grant that is not kept.
func (s *Service) giveBack(ctx context.Context, t *trip, g oauth.Grant) error {
	issuer, client := t.toolkit.Grantee()
	return s.giveUp(ctx, t.requestID, connection.Connection{
		Key: t.link.first(), AccountLabel: t.label, Granted: connection.Grantee{Issuer: issuer, ClientID: client}, Variables: t.flow.Asked,
		AccessToken: g.AccessToken, RefreshToken: g.RefreshToken,
	})
}

var errNotExpected = errors.New("the account is not one that expect_account names")

// expected looks whether it is an account that the operator expects of this user, before
// anything is kept: somebody may have several at the provider, or have been signed in
// there as another person. What is not kept is given back.
func (s *Service) expected(ctx context.Context, t *trip, g oauth.Grant) error {
	if len(t.toolkit.ExpectAccount) == 0 {
		return nil
	}
	if t.toolkit.Expects(s.labelOf(ctx, t, g), t.link.User) {
		return nil
	}
	return errors.Join(cmp.Or(t.nameless, errNotExpected), s.giveBack(ctx, t, g))
}

// failureOf reduces a provider's error code (RFC 6749 §4.1.2.1) to one of our words:
// the page must not say what somebody wrote into an address.
func failureOf(code string) string {
	switch code {
	case "access_denied":
		return denied
	case "invalid_scope", "unauthorized_client", "invalid_request", "unsupported_response_type":
		return misconfigured
	case "server_error", "temporarily_unavailable":
		return unavailable
	}
	return failed
}

func exchangeFailure(err error) string {
	if no, ok := errors.AsType[*oauth.Refused](err); ok && !no.Grant() {
		return misconfigured
	}
	if _, ok := errors.AsType[*oauth.Unavailable](err); ok {
		return unavailable
	}
	return failed
}

// keep saves the grant as the user's connection. An earlier one keeps its id.
func (s *Service) keep(ctx context.Context, t *trip, g oauth.Grant) (failure string, err error) {
	var conn connection.Connection
	var p place
	err = persist(ctx, func() (err error) {
		if p, err = s.place(ctx, t.link); err != nil {
			return err
		}
		if failure, _ = s.takes(ctx, t, p, g); failure != "" { // since welcome has looked, another account may have come
			return nil
		}
		if p.needsLabel() {
			if err := s.settle(ctx, &p, t.toolkit, t.label, g.Variables); err != nil {
				return err
			}
		}
		fresh := p.granted(t.toolkit, g, s.cfg.Now())
		if mayKeepOld(p.before, fresh) && s.labelOf(ctx, t, g) == p.before.AccountLabel {
			fresh.RefreshToken = p.before.RefreshToken
		}
		fresh.AccountLabel = t.label // "": name does that, behind the saving
		conn, err = s.put(ctx, p, fresh)
		return err
	})
	if err != nil {
		return ours, fmt.Errorf("keeping a grant: %w", err)
	}
	if failure != "" {
		return failure, errors.Join(errNotExpected, s.giveBack(ctx, t, g))
	}
	t.scopes, t.link.Account, t.link.Asked, t.link.kept, t.link.before, t.link.ReadOnly = conn.Scopes, t.label, t.flow.Asked, conn.Key, p.before, conn.ReadOnly
	s.cfg.Connected(conn)
	if !t.asked { // it is a call then
		s.name(ctx, t, conn)
	}
	return "", nil
}

// before is what a new grant takes the place of: nothing, a connection, or a record in
// which nothing can be read any more.
func (s *Service) before(ctx context.Context, key connection.Key) (connection.Connection, error) {
	conn, err := s.cfg.Vault.Load(ctx, key)
	if errors.Is(err, connection.ErrNotConnected) || errors.Is(err, vault.ErrMalformed) {
		err = nil
	}
	return conn, err
}

// name puts the account's label on a connection. The grant is kept by now: the
// provider may take its time to answer, and this process may die meanwhile.
func (s *Service) name(ctx context.Context, t *trip, conn connection.Connection) {
	label, _ := s.account(ctx, t.own, conn.AccessToken)
	t.link.Account = label
	if label == "" {
		return
	}
	var named connection.Connection
	err := persist(ctx, func() error {
		now, err := s.cfg.Vault.Load(ctx, conn.Key)
		if err != nil || !now.AccessToken.Equal(conn.AccessToken) {
			return err // renewed meanwhile, or another account's: the next sign-in names it
		}
		now.AccountLabel = label
		named, err = s.cfg.Vault.Save(ctx, now)
		return err
	})
	if err == nil && named.Version > 0 { // a label is worth no failure
		s.cfg.Connected(named)
	}
}

// mayKeepOld reports whether the refresh token from before may have to stay in use, if
// it is the same account: Google gives one at the first consent alone, and none when the
// same user consents again. It is asked before anything is saved, since a connection
// that was written without it has lost it.
func mayKeepOld(before, fresh connection.Connection) bool {
	return fresh.RefreshToken.IsZero() && !before.RefreshToken.IsZero() && before.Status == connection.Active && before.AccountLabel != "" &&
		before.Granted.Issuer == fresh.Granted.Issuer && before.Granted.ClientID == fresh.Granted.ClientID && maps.Equal(before.Variables, fresh.Variables)
}

const (
	saveAttempts = 6
	saveWait     = 100 * time.Millisecond // then twice that, and so on
)

// persist tries until something is written: what the provider gave exists in this
// process alone, and the code that paid for it is gone.
func persist(ctx context.Context, write func() error) error {
	for attempt := 1; ; attempt++ {
		err := write()
		if err == nil || attempt == saveAttempts || errors.Is(err, store.ErrInvalid) {
			return err // no store keeps that, now or later
		}
		if errors.Is(err, store.ErrConflict) {
			continue // read again and decide again, at once
		}
		timer := time.NewTimer(saveWait << (attempt - 1))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
