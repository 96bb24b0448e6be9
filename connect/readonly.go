// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
)

// Where the toolkit can tell reads from other calls, users may allow reading only: when
// they connect, when they let another agent use what is connected, and later on.

// readingField is what the box is called in forms. The form has it twice: once to say that
// the user was asked, since a box that is not ticked is not sent.
const readingField = "reading"

const (
	readingAsked = "asked"
	readingOnly  = "only"
)

// readingChoice is the box on a page. Nil: there is none.
type readingChoice struct {
	ID string
	On bool
}

// WithReading is the page for a part of itself that has this box.
func (d view) WithReading(c *readingChoice) view {
	d.Reading = c
	return d
}

// readingSaid is what the form says; nil: its user was not asked.
func (s *Service) readingSaid(r *http.Request, toolkitID string) *bool {
	said := r.PostForm[readingField]
	if len(said) == 0 || !s.tellsReads(toolkitID) {
		return nil
	}
	only := slices.Contains(said, readingOnly)
	return &only
}

// tellsReads reports whether there are calls to a toolkit that are known to read only.
func (s *Service) tellsReads(toolkitID string) bool {
	e, known := s.cfg.Toolkits[toolkitID]
	return known && e.Toolkit.Reading.Known()
}

// reading gives the box for a part of a link: as it was ticked a moment ago or else, where
// something is connected anew, as it stands.
func (s *Service) reading(v visit, p *part) (*readingChoice, error) {
	if !s.tellsReads(p.Toolkit) {
		return nil, nil
	}
	c := &readingChoice{ID: readingField + "." + p.Toolkit}
	if p.Reading != nil {
		c.On = *p.Reading
		return c, nil
	}
	at, err := s.place(v.r.Context(), p)
	if _, ambiguous := errors.AsType[*connection.Ambiguous](err); err != nil && !ambiguous {
		return nil, err
	}
	c.On = at.before.ReadOnly
	return c, nil
}

// narrowing gives the box for an agent that gets the use of what is connected. Others use
// that too. So it can be limited with this, and not the other way round, which a page that
// was open for a while would do without anybody noticing.
func (s *Service) narrowing(conn connection.Connection) *readingChoice {
	if conn.ReadOnly || !s.tellsReads(conn.Toolkit) {
		return nil
	}
	return &readingChoice{ID: readingField + "." + conn.Toolkit}
}

// access is the word for the audit log of what the user has chosen; "" where they were not
// asked.
func (p *part) access() string {
	switch {
	case p.Reading == nil:
		return ""
	case *p.Reading:
		return string(audit.ReadOnly)
	}
	return string(audit.ReadWrite)
}

// limit has a connection be for reading only, or for everything again.
func (s *Service) limit(v visit, key connection.Key, only bool) (undoing, error) {
	if only && !s.tellsReads(key.Toolkit) {
		return "", connection.ErrNotConnected // there was no such button
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), finishLimit)
	defer cancel()
	event, outcome := audit.ReadWrite, widened
	if only {
		event, outcome = audit.ReadOnly, narrowed
	}
	var conn connection.Connection
	moot, audited := false, false
	err := persist(ctx, func() (err error) {
		if conn, err = s.cfg.Vault.Load(ctx, key); err != nil {
			return err
		}
		if moot = conn.ReadOnly == only; moot {
			return nil // a second click, or another tab
		}
		if !audited {
			r := audit.Record{Time: s.cfg.Now(), Event: event, RequestID: v.id, Tenant: key.Tenant, User: key.User, Toolkit: key.Toolkit, Connection: conn.ID}
			if err := s.cfg.Audit.Record(r); err != nil {
				return err
			}
			audited = true
		}
		conn.ReadOnly = only
		conn, err = s.cfg.Vault.Save(ctx, conn) // ErrConflict: a refresh came between, and its token is to stay
		return err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("limiting a connection: %w", err)
	case moot:
		return "", connection.ErrNotConnected
	}
	s.cfg.Connected(conn)
	if only {
		s.cfg.Stopped(key) // what goes on may be writing
	}
	return outcome, nil
}
