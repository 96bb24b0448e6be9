// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/tokencache"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// states are what outlives a change of configuration, by what the store is kept
// in. While Caddy reloads, the old and the new configuration are both at work: they
// share one open store, one cache and so one refresh per connection.
var states = caddy.NewUsagePool()

// state is a store and what was read from it.
type state struct {
	store store.Store

	mu     sync.Mutex
	caches map[string]*cache // by the ids of the keys: a changed key is another reading
	random *seal.Ring        // for a store that forgets
}

type cache struct {
	vault  *vault.Vault
	tokens *tokencache.Cache
}

func newState(opener StoreOpener) (*state, error) {
	s, err := opener.NewStore()
	if err != nil {
		return nil, err
	}
	return &state{store: s, caches: map[string]*cache{}}, nil
}

// cacheFor gives the cache for a key ring.
func (s *state) cacheFor(ring *seal.Ring) *cache {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := strings.Join(ring.IDs(), " ")
	c := s.caches[id]
	if c == nil {
		v := vault.New(s.store, ring)
		c = &cache{vault: v, tokens: tokencache.New(tokencache.Config{Vault: v})}
		s.caches[id] = c
	}
	return c
}

// processKey gives the ring of a store that does not outlive the process.
func (s *state) processKey() (*seal.Ring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.random == nil {
		ring, err := seal.ParseRing(seal.NewKey())
		if err != nil {
			return nil, err
		}
		s.random = ring
	}
	return s.random, nil
}

// sweep removes what has expired, in steps that hold nobody up for long.
func (s *state) sweep() error {
	const step = 500
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		n, err := s.store.Sweep(ctx, step)
		if err != nil || n < step {
			return err
		}
	}
}

// closeLimit bounds the wait for refreshes that are under way: longer than a token
// request and the saving of its answer may take.
const closeLimit = 45 * time.Second

// Destruct closes the store when no configuration uses it. A refresh that is under
// way has a rotated token in its hand: the store stays open until that is saved. A
// request that comes too late for one is refused before anything is spent.
func (s *state) Destruct() error {
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.caches {
			c.tokens.Close()
		}
	}()
	timer := time.NewTimer(closeLimit)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	}
	return s.store.Close()
}

var _ caddy.Destructor = (*state)(nil)
