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
	"strings"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// link is what stands behind a connect link. It is stored under the hash of its
// id, so that who reads the store cannot open anybody's link.
type link struct {
	ID      string `json:"id"`
	Tenant  string `json:"tenant"`
	Agent   string `json:"agent"`
	User    string `json:"user"`
	Toolkit string `json:"toolkit"`
	// Wanted is which account is to be connected, as the agent named it; "" is the
	// user's only or first one. Which connection that is, if any, is found out when it
	// is saved: meanwhile it may have come or gone.
	Wanted string `json:"wanted,omitempty"`
	// Scopes are to be asked for, where they are not the configuration's: what was
	// granted, and what a call needed beside it.
	Scopes  []string  `json:"scopes,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Started is when somebody last pressed the button; zero: nobody yet.
	Started time.Time `json:"started,omitzero"`
	// Busy is until when a callback is at work on it. It ends by itself, in case
	// the process dies.
	Busy time.Time `json:"busy,omitzero"`
	// Used is when it did its work; it can do so once.
	Used time.Time `json:"used,omitzero"`
	// Browser is the hash of the browser that used it or failed to, which alone
	// is shown how that went.
	Browser string `json:"browser,omitempty"`
	Failure string `json:"failure,omitempty"`
	Account string `json:"account,omitempty"`

	version uint64
}

// errTaken: another callback or tab was faster, and it counts.
var errTaken = errors.New("the link or the sign-in is taken")

// taken is errTaken where the link did its work or is doing it.
func (l *link) taken(now time.Time) error {
	if !l.Used.IsZero() || now.Before(l.Busy) {
		return errTaken
	}
	return nil
}

// underWay reports whether somebody has gone to the provider and can still come back.
func (l *link) underWay(now time.Time) bool {
	return l.Used.IsZero() && l.Failure == "" && now.Before(l.Started.Add(flowLife))
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

// update changes a link and writes it, again if somebody else did meanwhile. change
// sees the link as it is now and may refuse.
func (s *Service) update(ctx context.Context, id string, change func(*link) error) error {
	for range 5 {
		l, err := s.find(ctx, id)
		if err != nil {
			return err
		}
		if err = change(l); err != nil {
			return err
		}
		if err = s.save(ctx, l); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// first is the key of the user's first connection to the toolkit.
func (l *link) first() connection.Key {
	return connection.Key{Tenant: l.Tenant, User: l.User, Toolkit: l.Toolkit}
}

// linkName keeps links for a certain account where gateways of the version before there
// were several do not find them: to those, every link is for the first one, whose grant
// they would overwrite.
func linkName(id string) string {
	if strings.HasPrefix(id, accountLink) {
		return vault.Name("account-link", hash(id))
	}
	return vault.Name("link", hash(id))
}

const (
	plainLink   = "c_"
	accountLink = "ca_"
)

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
