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
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// link is what stands behind a connect link. It is stored under the hash of its
// id, so that who reads the store cannot open anybody's link.
type link struct {
	head
	parts   []*part // one for each toolkit, in the order in which they were asked for
	version uint64
}

// head is what a link is, whatever comes of it.
type head struct {
	ID      string    `json:"id"`
	Tenant  string    `json:"tenant"`
	Agent   string    `json:"agent"`
	User    string    `json:"user"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Callback is the address of the operator's application that the browser goes to
	// at the end.
	Callback string `json:"callback,omitempty"`
	// Ended is when somebody called it off, before it had done its work.
	Ended time.Time `json:"ended,omitzero"`
}

// part is what a link does for one toolkit.
type part struct {
	*link `json:"-"` // that it is a part of

	Toolkit string `json:"toolkit"`
	// Wanted is which account is to be connected, as the agent named it; "" is the
	// user's only or first one. Which connection that is, if any, is found out when it
	// is saved: meanwhile it may have come or gone.
	Wanted string `json:"wanted,omitempty"`
	// Scopes are to be asked for, where they are not the configuration's: what was
	// granted, and what a call needed beside it.
	Scopes []string `json:"scopes,omitempty"`
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
	// Asked is what the user has said for the toolkit's variables, when the button was last
	// pressed or, once it is used, when it was for what is connected.
	Asked map[string]string `json:"asked,omitempty"`
	// Approved: its work was to let its agent use what was connected before.
	Approved bool `json:"approved,omitempty"`
	// Reading is whether its user wanted to allow reading only, when the button was last
	// pressed; nil: they were not asked.
	Reading *bool `json:"reading,omitempty"`
	// ReadOnly: what it connected is for reading only.
	ReadOnly bool `json:"read_only,omitempty"`
	// Flows are the latest that were begun with it, by the hash of their state.
	Flows []string `json:"flows,omitempty"`

	heard []question // what was entered in this very request, if something is wrong with it
	// What was done by it, in this very request: the connection that was saved, with what
	// stood in its place before, or the one that its agent may use from now on.
	kept, approved connection.Key
	before         connection.Connection
}

// linkRecord is a link as it is stored. One for a single toolkit has the form that the
// version before knows. That one takes a link for several for one whose toolkit is gone,
// and says so, rather than write it without its parts.
type linkRecord struct {
	head
	part
	Parts []*part `json:"parts,omitempty"`
}

func (l *link) encode() ([]byte, error) {
	r := linkRecord{head: l.head}
	if len(l.parts) == 1 {
		r.part = *l.parts[0]
		if r.Used.IsZero() {
			r.Used = l.Ended // the version before knows no other end
		}
	} else {
		r.Parts = l.parts
	}
	return json.Marshal(r)
}

func decodeLink(text []byte) (*link, error) {
	var r linkRecord
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("reading a link: %w", err)
	}
	l := &link{head: r.head, parts: r.Parts}
	if len(l.parts) == 0 {
		l.parts = []*part{&r.part}
	}
	for _, p := range l.parts {
		p.link = l
	}
	return l, nil
}

// part gives the one for a toolkit, or nil.
func (l *link) part(toolkitID string) *part {
	i := slices.IndexFunc(l.parts, func(p *part) bool { return p.Toolkit == toolkitID })
	if i < 0 {
		return nil
	}
	return l.parts[i]
}

func (l *link) several() bool { return len(l.parts) > 1 }

// whole is what to name in logs where it is about no one toolkit.
func (l *link) whole() *part {
	switch {
	case l == nil:
		return nil
	case l.several():
		return &part{link: l}
	}
	return l.parts[0]
}

// left is what is still to do.
func (l *link) left() purpose {
	what := purpose{Callback: l.Callback}
	for _, p := range l.parts {
		if p.Used.IsZero() {
			what.add(p.Toolkit, p.Wanted, p.Scopes)
		}
	}
	return what
}

// done reports whether the link did all of its work.
func (l *link) done() bool {
	return !slices.ContainsFunc(l.parts, func(p *part) bool { return p.Used.IsZero() })
}

// errTaken: another callback or tab was faster, and it counts.
var errTaken = errors.New("the link or the sign-in is taken")

// taken is errTaken where the part did its work or is doing it, or will not do it.
func (p *part) taken(now time.Time) error {
	if !p.Ended.IsZero() || !p.Used.IsZero() || now.Before(p.Busy) {
		return errTaken
	}
	return nil
}

// othersToo reports whether another browser than the one with this hash has connected
// something with the link.
func (l *link) othersToo(browserHash string) bool {
	return slices.ContainsFunc(l.parts, func(o *part) bool { return !o.Used.IsZero() && o.Browser != browserHash })
}

// underWay reports whether somebody has gone to the provider and can still come back.
func (p *part) underWay(now time.Time) bool {
	return p.Ended.IsZero() && p.Used.IsZero() && p.Failure == "" && now.Before(p.Started.Add(flowLife))
}

// updatePart is update for one part.
func (s *Service) updatePart(ctx context.Context, p *part, change func(*part) error) error {
	return s.links.update(ctx, p.ID, func(l *link) error {
		now := l.part(p.Toolkit)
		if now == nil {
			return store.ErrNotFound
		}
		return change(now)
	})
}

// take is what whoever goes on with a part does first. change is for where nobody else
// has it: of two callbacks, tabs or clicks, one gets past here, and the others get errTaken.
// Where nobody asks who sits at a browser, all parts are for the browser that connected
// the first one: or else the accounts of two people would become those of one user.
func (s *Service) take(ctx context.Context, p *part, browserHash string, change func(*part)) error {
	now := s.cfg.Now()
	return s.updatePart(ctx, p, func(p *part) error {
		if err := p.taken(now); err != nil {
			return err
		}
		if !s.verifies() && p.othersToo(browserHash) {
			return errTaken
		}
		change(p)
		return nil
	})
}

// first is the key of the user's first connection to the toolkit.
func (p *part) first() connection.Key {
	return connection.Key{Tenant: p.Tenant, User: p.User, Toolkit: p.Toolkit}
}

// Links for a certain account stand where gateways of the version before there
// were several do not find them: to those, every link is for the first one, whose grant
// they would overwrite.
const (
	plainLink   = "c_"
	accountLink = "ca_"

	plainRecords   = "link/"
	accountRecords = "account-link/"
)

// LinkPrefixes begin the names of the records of links, and of nothing else, in the order
// in which a store has them.
func LinkPrefixes() []string { return []string{accountRecords, plainRecords} }

// linkRef gives what follows the prefix in the name of a link's record.
func linkRef(name string) (ref string, ok bool) {
	for _, prefix := range LinkPrefixes() {
		if ref, ok = strings.CutPrefix(name, prefix); ok {
			return ref, true
		}
	}
	return "", false
}

func linkName(id string) string {
	if strings.HasPrefix(id, accountLink) {
		return accountRecords + hash(id)
	}
	return plainRecords + hash(id)
}

// terms are what a link is found by. Most links are for one toolkit, and found by the
// note of whom they were made for; the others alone have a second term, so that an agent
// that asks how things stand has no more than those looked through.
func (l *link) terms() []string {
	if l.several() || l.Callback != "" {
		return []string{linksOf(l.Tenant, l.User), togetherOf(l.Tenant, l.User)}
	}
	return []string{linksOf(l.Tenant, l.User)}
}

func linksOf(tenant, user string) string { return vault.Name("links-of", tenant, user) }

func togetherOf(tenant, user string) string { return vault.Name("links-together-of", tenant, user) }

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
