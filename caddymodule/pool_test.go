// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"os"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/toolgate/toolgate/tokencache"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
)

// slowStore is closed when it is told to.
type slowStore struct {
	store.Store
	closing, closed chan struct{}
	times           atomic.Int32
}

func newSlowStore() *slowStore {
	return &slowStore{Store: memstore.New(nil), closing: make(chan struct{}), closed: make(chan struct{})}
}

func (s *slowStore) Close() error {
	if s.times.Add(1) == 1 {
		close(s.closing)
	}
	<-s.closed
	return s.Store.Close()
}

// openers give their stores one after the other.
type openers struct {
	stores []*slowStore
	made   int
}

func (o *openers) PoolKey() string { return "a test's" }
func (o *openers) KeyFile() string { return "" }
func (o *openers) NewStore() (store.Store, error) {
	o.made++
	return o.stores[o.made-1], nil
}

func newPool() *pool { return &pool{open: map[string]*state{}} }

func taken(t *testing.T, p *pool, o StoreOpener) *state {
	t.Helper()
	s, err := p.take(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAStoreIsNotOpenedAgainWhileItIsBeingClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := newPool(), &openers{stores: []*slowStore{newSlowStore(), newSlowStore()}}
		old := taken(t, p, o)
		p.give(old)
		<-o.stores[0].closing
		next := make(chan *state)
		go func() { next <- taken(t, p, o) }()
		synctest.Wait()
		select {
		case <-next:
			t.Fatal("the next store is there, and the old one is not closed")
		default:
		}
		close(o.stores[0].closed)
		if s := <-next; s == old || o.made != 2 {
			t.Error("the next one is the closed one")
		}
	})
}

func TestWhoComesLateGivesBackOnlyTheirOwn(t *testing.T) {
	p, o := newPool(), &openers{stores: []*slowStore{newSlowStore(), newSlowStore()}}
	close(o.stores[0].closed)
	old := taken(t, p, o)
	if again := taken(t, p, o); again != old {
		t.Fatal("two states for one store")
	}
	p.closeAll() // the process ends, they think; and then it goes on
	next := taken(t, p, o)
	p.give(old)
	p.give(old)
	if next.ending || o.stores[0].times.Load() != 1 {
		t.Errorf("the next one is closed by the users of the old one, or the old one again: %d times", o.stores[0].times.Load())
	}
}

func TestTheEndWaitsForStoresThatAreBeingClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := newPool(), &openers{stores: []*slowStore{newSlowStore()}}
		p.give(taken(t, p, o))
		<-o.stores[0].closing
		done := make(chan struct{})
		go func() { p.closeAll(); close(done) }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("the end has come, and a store is not closed")
		default:
		}
		close(o.stores[0].closed)
		<-done
	})
}

// In docs/operations.md the service manager is given time for both.
func TestTheDocumentedStopTimeIsLongEnough(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("`grace_period (\\d+)s`[^`]*?take (\\d+) seconds longer than the grace period[^`]*`TimeoutStopSec=(\\d+)`").FindSubmatch(text)
	if found == nil {
		t.Fatal("the sentences are not there")
	}
	var seconds [3]int
	for i := range seconds {
		seconds[i], _ = strconv.Atoi(string(found[i+1]))
	}
	limit := int(tokencache.CloseLimit.Seconds())
	if grace, longer, stop := seconds[0], seconds[1], seconds[2]; longer < limit || stop < grace+limit {
		t.Errorf("grace period %d, %d seconds longer, stopped after %d; closing may take %d", grace, longer, stop, limit)
	}
}
