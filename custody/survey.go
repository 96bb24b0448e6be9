// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"

	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Survey is how many records there are, by what opens them. Nothing is opened.
type Survey struct {
	Place
	Primary string         `json:"primary"`
	Ring    []string       `json:"ring"`    // ids, the primary's first
	Records map[string]int `json:"records"` // by the id of the key that sealed them
	Brief   map[string]int `json:"brief"`   // of these, those that end within minutes
	Aside   map[string]int `json:"aside"`   // those that were set aside
	Newer   int            `json:"newer"`   // sealed by a later version
	Damaged int            `json:"damaged"` // not even a key's id can be read
	Canary  string         `json:"canary"`  // the key of the store's first record
}

// Survey counts the records of a step.
func (d *Desk) Survey(ctx context.Context, step Step) (Survey, error) {
	found, at, err := d.look(ctx, step)
	if err != nil {
		return Survey{}, err
	}
	s := Survey{Place: at, Primary: d.ring.PrimaryID(), Ring: d.ring.IDs(), Records: map[string]int{}, Brief: map[string]int{}, Aside: map[string]int{}}
	for _, r := range found {
		id, err := seal.SealedBy(r.Value)
		_, later := errors.AsType[*seal.VersionError](err)
		switch {
		case later:
			s.Newer++
		case err != nil:
			s.Damaged++
		case setAside(r):
			s.Aside[id]++
		default:
			s.Records[id]++
			if d.endsSoon(r) {
				s.Brief[id]++
			}
		}
		if r.Key == vault.Canary {
			s.Canary = id
		}
	}
	return s, nil
}

// Add puts a further step's numbers to s.
func (s *Survey) Add(step Survey) {
	if s.Records == nil {
		s.Records, s.Brief, s.Aside = map[string]int{}, map[string]int{}, map[string]int{}
	}
	addUp(s.Records, step.Records)
	addUp(s.Brief, step.Brief)
	addUp(s.Aside, step.Aside)
	s.Newer, s.Damaged, s.Canary = s.Newer+step.Newer, s.Damaged+step.Damaged, s.Canary+step.Canary
	s.Primary, s.Ring = step.Primary, step.Ring
	s.Place.Add(step.Place)
}

func addUp(sum, step map[string]int) {
	for id, n := range step {
		sum[id] += n
	}
}

// Add puts a further step's place to p.
func (p *Place) Add(step Place) {
	p.Next, p.Done, p.Seen = step.Next, step.Done, p.Seen+step.Seen
	p.Unreadable = append(p.Unreadable, step.Unreadable...)
}
