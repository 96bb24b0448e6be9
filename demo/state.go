// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Bounds of what is kept, so that neither memory nor the state file grows with
// the age of the process.
const (
	maxGrants   = 1000
	maxAccess   = 5 // per grant; more are the sign of a client that refreshes in a loop
	maxCodes    = 1000
	maxSessions = 1000
	grantIdle   = 90 * 24 * time.Hour // a refresh token that rests this long ends
)

// grant is what one person allowed one client, once: the family of all tokens
// that descend from one code. It holds hashes only, so the state file is of no
// use to who steals it. A grant is never changed in place, only replaced.
type grant struct {
	User    string    `json:"user"`
	Client  string    `json:"client"`
	Scopes  []string  `json:"scopes"`
	Refresh string    `json:"refresh,omitempty"` // the one refresh token that works
	Access  []access  `json:"access,omitempty"`  // newest last
	Ends    time.Time `json:"ends"`
}

type access struct {
	Hash string    `json:"hash"`
	Ends time.Time `json:"ends"`
}

// grants are found by the hash of the handle that all tokens of a family share.
type grants map[string]grant

// state is the file's form.
type state struct {
	Version int    `json:"version"`
	Grants  grants `json:"grants"`
}

const stateVersion = 1

func loadGrants(path, client string) (grants, error) {
	if path == "" {
		return grants{}, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return grants{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading state: %w", err)
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("reading state %s: %w", path, err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("state %s has version %d; this program writes %d", path, s.Version, stateVersion)
	}
	// Tokens belong to the client they were given to, and to someone who exists.
	maps.DeleteFunc(s.Grants, func(_ string, g grant) bool {
		_, known := personNamed(g.User)
		return g.Client != client || !known
	})
	if s.Grants == nil {
		s.Grants = grants{}
	}
	return s.Grants, nil
}

// change makes one change to the grants and saves it; only what is saved becomes
// the truth. A rotation that was answered but not saved would strand the client
// at the next start, and one that could not be saved must leave the old refresh
// token good. The caller holds the lock, or is New.
func (p *Provider) change(edit func(grants)) error {
	next := maps.Clone(p.grants)
	edit(next)
	p.sweep(next)
	if err := save(p.cfg.StatePath, next); err != nil {
		return err
	}
	p.grants = next
	return nil
}

// force is change for the hooks that cannot answer with an error: it holds in
// this process even where the disk refuses.
func (p *Provider) force(edit func(grants)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	edit(p.grants)
	_ = p.change(func(grants) {})
}

// sweep drops what has ended: tokens, grants that no token reaches any more,
// codes, sessions.
func (p *Provider) sweep(all grants) {
	now := p.cfg.Now()
	for id, g := range all {
		g.Access = slices.DeleteFunc(slices.Clone(g.Access), func(a access) bool { return !now.Before(a.Ends) })
		all[id] = g
		if g.Refresh == "" && len(g.Access) == 0 {
			delete(all, id)
		}
	}
	prune(all, maxGrants, now, func(g grant) time.Time { return g.Ends })
	prune(p.codes, maxCodes, now, func(c code) time.Time { return c.ends.Add(codeMemory) })
	prune(p.sessions, maxSessions, now, func(s session) time.Time { return s.ends })
}

// prune drops what has ended, and beyond limit also what would end next.
func prune[M ~map[string]V, V any](m M, limit int, now time.Time, ends func(V) time.Time) {
	maps.DeleteFunc(m, func(_ string, v V) bool { return !now.Before(ends(v)) })
	if len(m) <= limit {
		return
	}
	oldest := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(ends(m[a]).Compare(ends(m[b])), cmp.Compare(a, b))
	})
	for _, key := range oldest[:len(m)-limit] {
		delete(m, key)
	}
}

// save replaces the file in one step: a crash leaves the old state or the new
// one, never half of it.
func save(path string, all grants) error {
	if path == "" {
		return nil
	}
	text, err := json.Marshal(state{Version: stateVersion, Grants: all})
	if err != nil {
		return fmt.Errorf("saving state: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // made 0600
	if err != nil {
		return fmt.Errorf("saving state: %w", err)
	}
	defer os.Remove(temp.Name()) // nothing is there any more once it was renamed
	_, err = temp.Write(text)
	// Without Sync a power cut may keep the new name and lose the bytes.
	if err = errors.Join(err, temp.Sync(), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("saving state: %w", err)
	}
	return nil
}
