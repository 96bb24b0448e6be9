// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Links are the links that are kept. The operator's commands have them without pages.
type Links struct {
	Vault interface {
		Get(ctx context.Context, name string) (vault.Document, error)
		Put(ctx context.Context, d vault.Document) error
		OfTerm(ctx context.Context, term, after string, limit int) (found []vault.Document, next string, err error)
	}
	Audit interface{ Record(audit.Record) error }
	Now   func() time.Time
}

// LinkInfo is a link as an operator sees it. With its address others could open it, so
// it is called by the hash of that.
type LinkInfo struct {
	Ref      string    `json:"ref"`
	Tenant   string    `json:"tenant"`
	Agent    string    `json:"agent"`
	User     string    `json:"user"`
	Toolkits []string  `json:"toolkits"`
	Expires  time.Time `json:"expires"`
	State    string    `json:"state"` // waiting, started, done, expired, cancelled
}

// Live reports whether something can still be connected with the link.
func (i LinkInfo) Live() bool { return i.State == "waiting" || i.State == "started" }

// About tells what there is to say of a link, by the name of its record.
func (k *Links) About(ctx context.Context, name string) (LinkInfo, error) {
	l, err := k.named(ctx, name)
	if err != nil {
		return LinkInfo{}, err
	}
	return k.info(name, l), nil
}

func (k *Links) info(name string, l *link) LinkInfo {
	now := k.Now()
	ref, _ := linkRef(name)
	i := LinkInfo{Ref: ref, Tenant: l.Tenant, Agent: l.Agent, User: l.User, Expires: l.Expires, State: "waiting"}
	for _, p := range l.parts {
		i.Toolkits = append(i.Toolkits, p.Toolkit)
		if p.underWay(now) {
			i.State = "started"
		}
	}
	switch {
	case !l.Ended.IsZero():
		i.State = "cancelled"
	case l.done():
		i.State = "done"
	case !now.Before(l.Expires) && i.State != "started":
		i.State = "expired"
	}
	return i
}

// Revoke ends a link, by the name of its record, and reports whether there was anything
// to end. A sign-in that is under way ends with it.
func (k *Links) Revoke(ctx context.Context, name string) (bool, error) {
	return k.end(ctx, name, "", "operator")
}

// RevokeOf ends every link of a user, for when the user is forgotten.
func (k *Links) RevokeOf(ctx context.Context, tenant, user string) (ended int, err error) {
	for next := ""; ; {
		var found []vault.Document
		found, next, err = k.Vault.OfTerm(ctx, linksOf(tenant, user), next, 100)
		if err != nil {
			return ended, fmt.Errorf("listing a user's links: %w", err)
		}
		for _, d := range found {
			// The index is in the hands of who can write to the store.
			l, err := decodeLink(d.Plain)
			if _, isLink := linkRef(d.Name); err != nil || !isLink || l.Tenant != tenant || l.User != user {
				continue
			}
			did, err := k.end(ctx, d.Name, "", "operator")
			if err != nil {
				return ended, err
			}
			if did {
				ended++
			}
		}
		if next == "" {
			return ended, nil
		}
	}
}

// end calls a link off, for good: one that is over by its time too, since its own user
// could go on from that.
func (k *Links) end(ctx context.Context, name, requestID, why string) (did bool, err error) {
	l, err := k.named(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case !l.Ended.IsZero() || l.done():
		return false, nil
	}
	now := k.Now()
	for _, id := range l.left().Toolkits {
		r := l.part(id).record(now, audit.LinkEnded, requestID, why)
		if err := k.Audit.Record(r); err != nil {
			return false, err
		}
	}
	err = k.update(ctx, l.ID, func(l *link) error {
		if did = l.Ended.IsZero() && !l.done(); did {
			l.Ended = now
		}
		return nil
	})
	return did, err
}

// find reads the link with this id.
func (k *Links) find(ctx context.Context, id string) (*link, error) {
	return k.named(ctx, linkName(id))
}

func (k *Links) named(ctx context.Context, name string) (*link, error) {
	d, err := k.Vault.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	l, err := decodeLink(d.Plain)
	if err != nil {
		return nil, err
	}
	l.version = d.Version
	return l, nil
}

// save writes the link as its next version. It is kept for a while after its end,
// so that a latecomer is told what happened and not that it never was.
func (k *Links) save(ctx context.Context, l *link) error {
	text, err := l.encode()
	if err != nil {
		return fmt.Errorf("writing a link: %w", err)
	}
	d := vault.Document{Name: linkName(l.ID), Plain: text, Version: l.version + 1, Expires: l.Expires.Add(24 * time.Hour), Index: l.terms()}
	if err := k.Vault.Put(ctx, d); err != nil {
		return fmt.Errorf("writing a link: %w", err)
	}
	l.version++
	return nil
}

// update changes a link and writes it, again if somebody else did meanwhile. change
// sees the link as it is now and may refuse.
func (k *Links) update(ctx context.Context, id string, change func(*link) error) error {
	for range 5 {
		l, err := k.find(ctx, id)
		if err != nil {
			return err
		}
		if err = change(l); err != nil {
			return err
		}
		if err = k.save(ctx, l); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}
