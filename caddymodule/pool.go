// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/handover"
	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/session"
	"github.com/toolgate/toolgate/tokencache"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// states are what outlives a change of configuration. While Caddy reloads, the old
// and the new configuration are both at work: they share one open store, one cache
// and so one refresh per connection.
var states = pool{open: map[string]*state{}}

// pool holds states by what their store is kept in, and counts who uses each. It is
// not Caddy's UsagePool, which gives references back by key: who comes late would
// give back somebody else's, and a store that is opened again while it is still
// being closed would find its file locked.
type pool struct {
	mu      sync.Mutex
	open    map[string]*state
	sockets handover.Sockets
}

// state is a store and what was read from it.
type state struct {
	key    string
	store  store.Store
	users  int           // pool.mu
	ending bool          // pool.mu: nobody new may have it
	closed chan struct{} // closed when the store is
	policy *policy.State
	watch  context.Context // until the store is closed
	end    context.CancelFunc

	gateways gateways
	news     news

	mu       sync.Mutex
	caches   map[string]*cache // by the ids of the keys: a changed key is another reading
	random   *seal.Ring        // for a store that forgets
	settings string            // of a store that is a server of its own
	deaf     bool              // the store does not tell of changes
}

// take gives the opener's state to one more user. Where the last one's is being
// closed, it waits for that, which tokencache.CloseLimit bounds.
func (p *pool) take(opener StoreOpener) (*state, error) {
	key := opener.PoolKey()
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := p.open[key]; s != nil; s = p.open[key] {
		if !s.ending {
			s.users++
			return s, nil
		}
		p.mu.Unlock()
		<-s.closed
		p.mu.Lock()
	}
	st, err := opener.NewStore() // which opens nothing yet
	if err != nil {
		return nil, err
	}
	s := &state{key: key, store: st, users: 1, closed: make(chan struct{}), policy: policy.NewState(), caches: map[string]*cache{}}
	s.policy.Report(logBreaker)
	s.watch, s.end = context.WithCancel(context.Background())
	if shared, ok := opener.(SharedStoreOpener); ok {
		s.settings = shared.Settings()
	}
	p.open[key] = s
	return s, nil
}

// give takes a user off. After the last one the store is closed, for which nobody
// waits: the last one may be a request whose answer must not be held up.
func (p *pool) give(s *state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	if s.users == 0 && !s.ending {
		s.ending = true
		go p.close(s)
	}
}

// closeAll closes all stores, also those that requests still use, and waits for it:
// the process ends, and what is not saved by then is lost.
func (p *pool) closeAll() {
	p.mu.Lock()
	all := slices.Collect(maps.Values(p.open))
	for _, s := range all {
		if !s.ending {
			s.ending = true
			go p.close(s)
		}
	}
	p.mu.Unlock()
	for _, s := range all {
		<-s.closed
	}
}

func (p *pool) close(s *state) {
	s.shut()
	p.mu.Lock()
	delete(p.open, s.key)
	p.mu.Unlock()
	close(s.closed)
}

type cache struct {
	vault   *vault.Vault
	tokens  *tokencache.Cache
	revoked *session.Revocations
}

// update goes on with the settings of a configuration that starts, such as a new
// password, if they are others: the store itself outlives the change.
func (s *state) update(opener StoreOpener) {
	shared, ok := opener.(SharedStoreOpener)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if settings := shared.Settings(); settings != s.settings {
		shared.UpdateStore(s.store)
		s.settings = settings
	}
}

// cacheFor gives the cache for a key ring.
func (s *state) cacheFor(ring *seal.Ring) *cache {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := strings.Join(ring.IDs(), " ")
	c := s.caches[id]
	if c == nil {
		v := vault.New(s.store, ring)
		if v.Shared() {
			v.CheckFirst() // it may be away now
		}
		changed := func(key connection.Key) {
			s.news.tell(key)
			s.gateways.changed(v, key)
		}
		c = &cache{vault: v, tokens: tokencache.New(tokencache.Config{Vault: v, Changed: changed}), revoked: session.NewRevocations(v, time.Now)}
		for _, other := range s.caches {
			c.revoked = other.revoked.With(v)
		}
		s.caches[id] = c
		go func() { _ = c.tokens.Watch(s.watch, s.logNews) }()
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

// sweep removes what has expired, in steps that hold nobody up for long, and lets the
// caches forget what nobody uses.
func (s *state) sweep() error {
	s.policy.Sweep(time.Now())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, c := range s.inUse() {
		_, _ = c.tokens.NoteUse(ctx) // where the store is away, another time
		c.tokens.Tidy()
	}
	const step = 500
	for {
		n, err := s.store.Sweep(ctx, step)
		if err != nil || n < step {
			return err
		}
	}
}

func (s *state) inUse() (all []*cache) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.caches {
		all = append(all, c)
	}
	return all
}

// shut closes the store. A refresh that is under way has a rotated token in its
// hand, also where everybody who waited for it has hung up: the store stays open
// until that is saved. A request that comes too late for one is refused before
// anything is spent.
func (s *state) shut() {
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.caches {
			c.tokens.Close()
		}
	}()
	timer := time.NewTimer(tokencache.CloseLimit)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	}
	s.end()
	if err := s.store.Close(); err != nil {
		caddy.Log().Named("toolgate").Error("closing the store", zap.Error(err))
	}
}

// logNews says when the store ceases to tell of other gateways' changes, and when it
// does again; not each attempt in between.
func (s *state) logNews(n vault.News) {
	s.mu.Lock()
	before := s.deaf
	s.deaf = n.Kind == store.Deaf
	now := s.deaf
	s.mu.Unlock()
	log := caddy.Log().Named("toolgate")
	switch {
	case now && !before:
		log.Warn("the store does not tell of changes by other gateways; connections in memory are read again from time to time",
			zap.Duration("every", tokencache.DeafTrust), zap.Error(n.Err))
	case before && !now:
		log.Info("the store tells of changes by other gateways again")
	}
}
