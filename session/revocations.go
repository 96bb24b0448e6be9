// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Vault keeps what was revoked; *vault.Vault is one.
type Vault interface {
	Get(ctx context.Context, name string) (vault.Document, error)
	Put(ctx context.Context, d vault.Document) error
	OfTerm(ctx context.Context, term, after string, limit int) (found []vault.Document, next string, err error)
}

// Revocations are the sessions that were taken back before their time: single ones, and
// all that a user had at some moment. They are kept for as long as such a session could
// have lived, and are read by every gateway on the store.
//
// The whole list is in memory, so that a call asks no store. It is short: what stands in
// it is at most MaxLife old.
type Revocations struct {
	*list
	vault Vault
	now   func() time.Time

	reading chan struct{} // one reading at a time
	read    bool          // at least once; list.mu, as is serial
	serial  string        // of the list that was read
}

// list is what is known.
type list struct {
	mu     sync.RWMutex
	news   uint64            // how often something was added
	single map[one]time.Time // until when
	users  map[person]before
}

// Owner is who has asked for a session. Only the owner's own can be taken back by id.
type Owner struct{ Tenant, Agent string }

type one struct {
	Owner
	id string
}

// person is the hash of a tenant's and a user's names: where a user is forgotten, the list
// still has to refuse their sessions for a day, and must not hold their name.
type person [sha256.Size]byte

func personOf(tenant, user string) person { return sha256.Sum256([]byte(vault.Name(tenant, user))) }

type before struct {
	issued time.Time // sessions issued then or earlier are over
	until  time.Time
}

// NewRevocations makes an empty list. It touches no store.
func NewRevocations(v Vault, now func() time.Time) *Revocations {
	known := &list{single: map[one]time.Time{}, users: map[person]before{}}
	return &Revocations{list: known, vault: v, now: now, reading: make(chan struct{}, 1)}
}

// With reads the same list by way of another vault, such as one with other keys. What one
// of the two knows, both know: what began under the keys from before ends as well.
func (r *Revocations) With(v Vault) *Revocations {
	return &Revocations{list: r.list, vault: v, now: r.now, reading: make(chan struct{}, 1)}
}

const listTerm = "sessions/revoked"

// entry is one document of the list.
type entry struct {
	Session string `json:"session,omitempty"`
	Tenant  string `json:"tenant,omitempty"`
	Agent   string `json:"agent,omitempty"`
	Person  []byte `json:"person,omitempty"`
	Issued  int64  `json:"issued,omitempty"` // milliseconds
}

// Revoke takes one session back.
func (r *Revocations) Revoke(ctx context.Context, who Owner, id string) error {
	e := entry{Session: id, Tenant: who.Tenant, Agent: who.Agent}
	return r.add(ctx, vault.Name("session", "revoked", who.Tenant, who.Agent, id), e)
}

// clockSlack is by how much another gateway's clock may be ahead. A session that it gave out
// in this moment is one that the user has, whatever the time is there.
const clockSlack = 2 * time.Second

// RevokeUser takes back all sessions that a user has.
func (r *Revocations) RevokeUser(ctx context.Context, tenant, user string) error {
	who := personOf(tenant, user)
	return r.add(ctx, vault.Name("session", "before", hex.EncodeToString(who[:])), entry{Person: who[:], Issued: r.now().Add(clockSlack).UnixMilli()})
}

// add writes an entry, and then that there is one: who sees the second finds the first.
func (r *Revocations) add(ctx context.Context, name string, e entry) error {
	until := r.now().Add(MaxLife)
	e, err := r.write(ctx, name, e, until)
	if err != nil {
		return fmt.Errorf("revoking a session: %w", err)
	}
	r.mu.Lock()
	r.takeLocked(e, until)
	r.mu.Unlock()
	if err := r.announce(ctx); err != nil {
		return fmt.Errorf("revoking a session: %w", err)
	}
	return nil
}

const writeTries = 5

// write puts an entry in the place of any that is there, and gives the one that counts. A
// user's ends all that was given out behind the last one, also where the clock was ahead
// then. Where somebody else is faster, theirs was written after this began, and is as good.
func (r *Revocations) write(ctx context.Context, name string, e entry, until time.Time) (entry, error) {
	for try := range writeTries {
		old, err := r.vault.Get(ctx, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return e, err
		}
		var there entry
		if err == nil && json.Unmarshal(old.Plain, &there) == nil {
			if e.Session != "" || try > 0 {
				return there, nil
			}
			e.Issued = max(e.Issued, there.Issued+1) // see after
		}
		text, _ := json.Marshal(e)
		d := vault.Document{Name: name, Plain: text, Version: old.Version + 1, Expires: until, Index: []string{listTerm}}
		if err := r.vault.Put(ctx, d); !errors.Is(err, store.ErrConflict) {
			return e, err
		}
	}
	return e, store.ErrConflict
}

// announce says that the list has changed. Where somebody else has said so meanwhile, that
// is as good: whoever hears of it finds the entry too, which was there before.
func (r *Revocations) announce(ctx context.Context) error {
	old, err := r.vault.Get(ctx, serialName)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	err = r.vault.Put(ctx, vault.Document{Name: serialName, Plain: []byte(rand.Text()), Version: old.Version + 1})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// serialName is a document that changes with every revocation, so that whether there is
// something new costs one read, however long the list is.
const serialName = "session/serial"

// Refresh reads the list if it has changed, and reports whether it had. It waits for
// another reading no longer than ctx lets it.
func (r *Revocations) Refresh(ctx context.Context) (changed bool, err error) {
	select {
	case r.reading <- struct{}{}:
		defer func() { <-r.reading }()
	case <-ctx.Done():
		return false, fmt.Errorf("reading which sessions are revoked: %w", ctx.Err())
	}
	serial, err := r.newest(ctx)
	if err != nil {
		return false, fmt.Errorf("reading which sessions are revoked: %w", err)
	}
	r.mu.RLock()
	same := r.read && serial == r.serial
	r.mu.RUnlock()
	if same {
		return false, nil
	}
	for next := ""; ; {
		var found []vault.Document
		if found, next, err = r.vault.OfTerm(ctx, listTerm, next, 500); err != nil {
			return false, fmt.Errorf("reading which sessions are revoked: %w", err)
		}
		r.takeAll(found)
		if next == "" {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read, r.serial = true, serial
	return true, nil
}

func (r *Revocations) newest(ctx context.Context) (string, error) {
	d, err := r.vault.Get(ctx, serialName)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	// Where the document was lost and made anew, the version alone could be an old one's.
	return strconv.FormatUint(d.Version, 10) + " " + string(d.Plain), err
}

func (r *Revocations) takeAll(found []vault.Document) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range found {
		var e entry
		if json.Unmarshal(d.Plain, &e) == nil {
			r.takeLocked(e, d.Expires)
		}
	}
	now := r.now()
	maps.DeleteFunc(r.single, func(_ one, until time.Time) bool { return !now.Before(until) })
	maps.DeleteFunc(r.users, func(_ person, b before) bool { return !now.Before(b.until) })
}

// takeLocked adds an entry. What was revoked stays revoked, whatever is read later.
func (r *Revocations) takeLocked(e entry, until time.Time) {
	r.news++
	if e.Session != "" {
		r.single[one{Owner{e.Tenant, e.Agent}, e.Session}] = until
		return
	}
	if len(e.Person) != sha256.Size {
		return
	}
	who, issued := person(e.Person), time.UnixMilli(e.Issued)
	if there, ok := r.users[who]; !ok || there.issued.Before(issued) {
		r.users[who] = before{issued, until}
	}
}

// News counts what became known here, whoever read it.
func (r *Revocations) News() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.news
}

// Revoked reports whether a session was taken back, as far as is known here.
func (r *Revocations) Revoked(s *caller.Session) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.revokedLocked(s)
}

func (r *Revocations) revokedLocked(s *caller.Session) bool {
	if _, over := r.single[one{Owner{s.Tenant, s.Agent}, s.ID}]; over {
		return true
	}
	if len(r.users) == 0 {
		return false
	}
	b, some := r.users[personOf(s.Tenant, s.User)]
	return some && !s.Issued.After(b.issued)
}

// check is for a call. Until the list was read once, nobody can tell which sessions are
// good. Afterwards a store that is away changes nothing: calls go on with what was read,
// as they do with the tokens that were.
func (r *Revocations) check(s *caller.Session) error {
	r.mu.RLock()
	read, over := r.read, r.revokedLocked(s)
	r.mu.RUnlock()
	if !read {
		ctx, cancel := context.WithTimeout(context.Background(), firstRead)
		defer cancel()
		if _, err := r.Refresh(ctx); err != nil {
			return vault.Problem(err)
		}
		over = r.Revoked(s)
	}
	if over {
		return refused(problem.SessionRevoked, "revoked", "The session was taken back. The app that gave it out has to make a new one.")
	}
	return nil
}

const firstRead = 5 * time.Second

// after is now or, where the user's sessions were taken back in this very moment or by a
// gateway whose clock is ahead, right behind that: what is given out then is good.
func (r *Revocations) after(tenant, user string, now time.Time) time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	now = now.Truncate(time.Millisecond)
	if b, some := r.users[personOf(tenant, user)]; some && !now.After(b.issued) {
		return b.issued.Add(time.Millisecond)
	}
	return now
}
