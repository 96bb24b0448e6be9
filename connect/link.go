// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// link is what stands behind a connect link. It is stored under the hash of its
// id, so that who reads the store cannot open anybody's link.
type link struct {
	ID      string    `json:"id"`
	Tenant  string    `json:"tenant"`
	Agent   string    `json:"agent"`
	User    string    `json:"user"`
	Toolkit string    `json:"toolkit"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Started is when somebody pressed the button; zero: nobody yet.
	Started time.Time `json:"started,omitzero"`
	// Used is when it did its work; it can do so once.
	Used time.Time `json:"used,omitzero"`
	// Browser is the hash of the browser that used it or failed to, which alone
	// is shown how that went.
	Browser string `json:"browser,omitempty"`
	Failure string `json:"failure,omitempty"`
	Account string `json:"account,omitempty"`

	version uint64
}

// Link is an address that a user opens to connect one toolkit.
type Link struct {
	URL       string
	ExpiresAt time.Time
	StatusURL string
	Started   bool // somebody has opened it and gone on
}

const (
	// idBytes of randomness: more than 128 bits.
	idBytes = 18
	// minRest is how much time a link must have left to be given again.
	minRest = 2 * time.Minute
)

// Link gives the link for this caller and toolkit. While one lives it is given
// again: an agent that retries must neither flood the store nor show its user two.
func (s *Service) Link(ctx context.Context, who caller.Caller, tk *toolkit.Toolkit) (Link, error) {
	place := vault.Name("link-for", who.Tenant, who.Agent, who.User, tk.ID)
	for range 3 {
		l, stale, err := s.living(ctx, place)
		if err != nil {
			return Link{}, vault.Problem(err)
		}
		if l == nil {
			l, err = s.newLink(ctx, who, tk.ID, place, stale)
		}
		if errors.Is(err, store.ErrConflict) {
			continue // another call has just made it
		}
		if err != nil {
			return Link{}, vault.Problem(err)
		}
		return Link{s.linkURL(l.ID), l.Expires, s.statusURL(tk.ID), !l.Started.IsZero()}, nil
	}
	return Link{}, vault.Problem(store.ErrConflict)
}

// living gives the link at place, or nil and the version that a new one replaces.
func (s *Service) living(ctx context.Context, place string) (l *link, stale uint64, err error) {
	d, err := s.cfg.Vault.Get(ctx, place)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	l, err = s.find(ctx, string(d.Plain))
	if errors.Is(err, store.ErrNotFound) {
		return nil, d.Version, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if !l.Used.IsZero() || s.cfg.Now().Add(minRest).After(l.Expires) {
		return nil, d.Version, nil
	}
	return l, 0, nil
}

func (s *Service) newLink(ctx context.Context, who caller.Caller, toolkitID, place string, replaces uint64) (*link, error) {
	now := s.cfg.Now()
	l := &link{
		ID: "c_" + random(idBytes), Tenant: who.Tenant, Agent: who.Agent, User: who.User, Toolkit: toolkitID,
		Created: now, Expires: now.Add(s.cfg.LinkLife),
	}
	if err := s.save(ctx, l); err != nil {
		return nil, err
	}
	err := s.cfg.Vault.Put(ctx, vault.Document{Name: place, Plain: []byte(l.ID), Version: replaces + 1, Expires: l.Expires})
	if err != nil {
		return nil, fmt.Errorf("keeping a link: %w", err)
	}
	return l, nil
}

// find reads the link with this id.
func (s *Service) find(ctx context.Context, id string) (*link, error) {
	d, err := s.cfg.Vault.Get(ctx, linkName(id))
	if err != nil {
		return nil, err
	}
	l := &link{version: d.Version}
	if err := json.Unmarshal(d.Plain, l); err != nil {
		return nil, fmt.Errorf("reading a link: %w", err)
	}
	return l, nil
}

// save writes the link as its next version. It is kept for a while after its end,
// so that a latecomer is told what happened and not that it never was.
func (s *Service) save(ctx context.Context, l *link) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("writing a link: %w", err)
	}
	d := vault.Document{Name: linkName(l.ID), Plain: text, Version: l.version + 1, Expires: l.Expires.Add(24 * time.Hour)}
	if err := s.cfg.Vault.Put(ctx, d); err != nil {
		return fmt.Errorf("writing a link: %w", err)
	}
	l.version++
	return nil
}

// update changes a link and writes it, again if somebody else did meanwhile.
func (s *Service) update(ctx context.Context, id string, change func(*link)) (*link, error) {
	for range 5 {
		l, err := s.find(ctx, id)
		if err != nil {
			return nil, err
		}
		change(l)
		if err = s.save(ctx, l); !errors.Is(err, store.ErrConflict) {
			return l, err
		}
	}
	return nil, store.ErrConflict
}

func (l *link) key() connection.Key {
	return connection.Key{Tenant: l.Tenant, User: l.User, Toolkit: l.Toolkit}
}

func linkName(id string) string { return vault.Name("link", hash(id)) }

// hash is for things with more than 128 random bits: it needs neither salt nor work.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
