// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/toolkit"
)

// serveCallback is where the provider sends the browser back. Everything is checked
// before the code is spent: the state is ours and fresh, it was made for this
// toolkit, in this browser, and the answer is from the provider that was asked.
func (s *Service) serveCallback(v visit, toolkitID string) {
	query := v.r.URL.Query()
	f, l, ok := s.checkState(v, query, toolkitID)
	if !ok {
		return
	}
	tk := s.cfg.Toolkits[f.Toolkit].Toolkit
	if iss := query.Get("iss"); iss != "" && tk.OAuth.Issuer != "" && iss != tk.OAuth.Issuer {
		// RFC 9207: another authorization server answered. Its error texts
		// are not shown either.
		s.report("refused", v, l, "issuer_mismatch", nil)
		s.message(v, http.StatusBadRequest, issuerWrong)
		return
	}
	// One callback goes on: the state is spent, whatever comes of it.
	if err := s.claim(v.r.Context(), query.Get("state"), f); err != nil {
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
			s.message(v, http.StatusConflict, stateUnknown)
			return
		}
		s.trouble(v, "flow", err)
		return
	}
	// The browser may be closed now; the code is spent all the same, and its
	// tokens must not be lost half-way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), finishLimit)
	defer cancel()
	failure := s.complete(ctx, v, f, l, tk, query)
	if err := s.conclude(ctx, l, f.Browser, failure); err != nil {
		s.trouble(v, "link", err)
		return
	}
	// To a clean address: the code must not stay in the history.
	v.redirect(s.linkURL(l.ID))
}

const finishLimit = time.Minute

// checkState finds the flow that the callback belongs to, or answers why there is none.
func (s *Service) checkState(v visit, query url.Values, toolkitID string) (*flow, *link, bool) {
	if len(query["state"]) != 1 || len(query["code"]) > 1 || len(query["iss"]) > 1 || len(query["error"]) > 1 {
		s.message(v, http.StatusBadRequest, stateUnknown)
		return nil, nil, false
	}
	f, err := s.flowOf(v.r.Context(), query.Get("state"))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.trouble(v, "flow", err)
		return nil, nil, false
	}
	if err != nil || s.cfg.Now().Sub(f.Started) > flowLife {
		s.message(v, http.StatusBadRequest, stateUnknown)
		return nil, nil, false
	}
	l, ok := s.openLink(v, f.LinkID)
	if !ok {
		return nil, nil, false
	}
	tk := s.cfg.Toolkits[f.Toolkit].Toolkit
	switch {
	case f.Toolkit != toolkitID || f.Toolkit != l.Toolkit:
		// A flow for one toolkit and a code for another (COAT).
		s.report("refused", v, l, "toolkit_mismatch", nil)
		s.message(v, http.StatusBadRequest, stateUnknown)
	case subtle.ConstantTimeCompare([]byte(f.Browser), []byte(hash(browser(v.r)))) != 1:
		// Somebody else's flow was put into this browser, or the other way
		// round. The state stays: whoever it belongs to can still finish.
		s.report("refused", v, l, "other_browser", nil)
		s.message(v, http.StatusForbidden, otherBrowser)
	case !l.Used.IsZero():
		s.message(v, http.StatusGone, linkUsed)
	case f.ClientID != tk.OAuth.ClientID || f.Issuer != tk.OAuth.Grantor():
		s.message(v, http.StatusConflict, toolkitGone) // configured anew meanwhile
	default:
		return f, l, true
	}
	return nil, nil, false
}

// complete turns the provider's answer into a saved connection. It gives the word
// for what went wrong, or "".
func (s *Service) complete(ctx context.Context, v visit, f *flow, l *link, tk *toolkit.Toolkit, query url.Values) (failure string) {
	code := query.Get("code")
	if refusal := query.Get("error"); refusal != "" || code == "" {
		failure = failureOf(refusal)
		s.report("denied", v, l, failure, nil)
		_ = s.cfg.Audit.Record(l.record(s.cfg.Now(), audit.ConnectFail, v.id, failure))
		return failure
	}
	grant, err := s.cfg.Exchanger.Exchange(ctx, tk.OAuth, code, f.Verifier, f.RedirectURI)
	if err == nil {
		// On paper before it can be used.
		err = s.cfg.Audit.Record(l.record(s.cfg.Now(), audit.Connected, v.id, ""))
	}
	if err == nil {
		err = s.keep(ctx, l, tk, grant)
	}
	if err != nil {
		failure = "failed"
		if no, ok := errors.AsType[*oauth.Refused](err); ok && !no.Grant() {
			failure = "misconfigured"
		}
		s.report("failed", v, l, failure, err)
		_ = s.cfg.Audit.Record(l.record(s.cfg.Now(), audit.ConnectFail, v.id, failure))
		return failure
	}
	s.report("connected", v, l, "", nil)
	return ""
}

// failureOf reduces a provider's error code (RFC 6749 §4.1.2.1) to one of our words:
// the page must not say what somebody wrote into an address.
func failureOf(code string) string {
	switch code {
	case "access_denied":
		return "denied"
	case "invalid_scope", "unauthorized_client", "invalid_request", "unsupported_response_type":
		return "misconfigured"
	case "server_error", "temporarily_unavailable":
		return "unavailable"
	}
	return "failed"
}

// keep saves the grant as the user's connection. An earlier one keeps its id.
func (s *Service) keep(ctx context.Context, l *link, tk *toolkit.Toolkit, g oauth.Grant) error {
	label := s.account(ctx, tk, g)
	l.Account = label
	for attempt := range saveAttempts {
		conn, err := s.cfg.Vault.Load(ctx, l.key())
		if err == nil || errors.Is(err, connection.ErrNotConnected) {
			conn, err = s.cfg.Vault.Save(ctx, granted(conn, l, tk, g, label, s.cfg.Now()))
		}
		if err == nil {
			s.cfg.Connected(conn)
			return nil
		}
		if errors.Is(err, store.ErrConflict) {
			continue // a refresh of the old grant came between
		}
		if attempt == saveAttempts-1 {
			return err
		}
		select {
		case <-time.After(saveWait << attempt):
		case <-ctx.Done():
			return err
		}
	}
	return store.ErrConflict
}

const (
	saveAttempts = 6
	saveWait     = 100 * time.Millisecond
)

// granted is before with a new grant.
func granted(before connection.Connection, l *link, tk *toolkit.Toolkit, g oauth.Grant, label string, now time.Time) connection.Connection {
	conn := connection.Connection{
		Key: l.key(), ID: before.ID, Version: before.Version, Status: connection.Active,
		AccessToken: g.AccessToken, RefreshToken: g.RefreshToken, IssuedAt: g.IssuedAt, ExpiresAt: g.ExpiresAt,
		Scopes: g.Scopes, AccountLabel: label, CreatedAt: before.CreatedAt, UpdatedAt: now,
		Granted: connection.Grantee{Issuer: tk.OAuth.Grantor(), ClientID: tk.OAuth.ClientID, Hosts: tk.Origins()},
	}
	if conn.ID == "" {
		conn.ID, conn.CreatedAt = "conn_"+rand.Text(), now
	}
	if conn.Scopes == nil {
		conn.Scopes = tk.OAuth.Scopes // as asked for (RFC 6749 §5.1)
	}
	return conn
}

// conclude writes into the link how it went. It did its work only if it went well.
func (s *Service) conclude(ctx context.Context, l *link, browserHash, failure string) error {
	now := s.cfg.Now()
	account := l.Account
	_, err := s.update(ctx, l.ID, func(l *link) {
		l.Browser, l.Failure = browserHash, failure
		if failure == "" {
			l.Used, l.Account = now, account
		}
	})
	return err
}
