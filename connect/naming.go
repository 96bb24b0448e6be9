// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
)

// maxOwnName bounds what a person calls a connection, in characters.
const maxOwnName = 60

// properName is what was entered, if a connection can be called so. What looks like an id
// is one, of another connection maybe that was taken away: nobody shall get the calls that
// were meant for that.
func properName(entered string) (name string, ok bool) {
	name = strings.TrimSpace(entered)
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == unprinted }
	if utf8.RuneCountInString(name) > maxOwnName || strings.ContainsFunc(name, odd) || connection.LooksLikeID(name) {
		return "", false
	}
	return name, true
}

// rename gives a connection the name that its user has entered; none: that of its account.
func (s *Service) rename(v visit, of connection.Connection) (undoing, error) {
	name, ok := properName(v.r.PostFormValue("label"))
	if !ok {
		return misnamed, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), finishLimit)
	defer cancel()
	var conn connection.Connection
	outcome, audited := renamed, false
	err := persist(ctx, func() error {
		outcome = renamed
		all, err := s.cfg.Vault.Accounts(ctx, of.Key)
		if err != nil {
			return err
		}
		for _, c := range all.All {
			if name != "" && c.Account != of.Key.Account && c.Means(name) {
				outcome = taken // an agent that asks for it would mean either
				return nil
			}
		}
		conn, err = s.cfg.Vault.Load(ctx, of.Key)
		if errors.Is(err, connection.ErrNotConnected) || err == nil && conn.ID != of.ID {
			outcome = ""
			return nil
		}
		if err != nil {
			return err
		}
		if !audited {
			r := audit.Record{Time: s.cfg.Now(), Event: audit.Renamed, RequestID: v.id, Tenant: conn.Tenant, User: conn.User, Toolkit: conn.Toolkit, Connection: conn.ID}
			if err := s.cfg.Audit.Record(r); err != nil {
				return err
			}
			audited = true
		}
		if conn.Label = name; connection.SameName(name, conn.AccountLabel) {
			conn.Label = ""
		}
		conn, err = s.cfg.Vault.Save(ctx, conn) // ErrConflict: a refresh came between, and its token is to stay
		return err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("renaming a connection: %w", err)
	case outcome == "":
		return "", connection.ErrNotConnected
	case outcome == renamed:
		s.cfg.Connected(conn)
	}
	return outcome, nil
}

// startAnother is the button that connects a further account of a toolkit.
func (s *Service) startAnother(v visit, beside connection.Connection) {
	who := caller.Caller{Tenant: beside.Tenant, User: beside.User}
	var what purpose
	// Its id is a new one, under which no agent has ever called.
	what.add(beside.Toolkit, "conn_"+rand.Text(), nil)
	s.startLink(v, who, what, doAnother)
}

// startLink goes on with a link that nobody but the person themselves has asked for.
func (s *Service) startLink(v visit, who caller.Caller, what purpose, deed string) {
	switch l, err := s.linkFor(v.r.Context(), who, what); {
	case tooManyOpen(err):
		s.message(v, http.StatusTooManyRequests, tooManyLinks)
	case err != nil:
		s.trouble(v, nil, deed, err)
	default:
		v.redirect(s.linkURL(l.ID))
	}
}

// tooManyOpen reports whether an error says that there are too many links.
func tooManyOpen(err error) bool {
	p, ok := errors.AsType[*problem.Problem](err)
	return ok && p.Code == problem.TooManyLinks
}
