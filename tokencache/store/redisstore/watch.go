// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
)

const (
	// beat is how often a subscription has to show that it is alive. One that does
	// not answer for as long is given up.
	beat = time.Second
	// firstPause and longestPause lie between attempts to subscribe.
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// Watch implements store.Watcher. The changes come through one channel, into which
// the scripts tell them; in a cluster, its nodes pass them on.
func (s *Store) Watch(ctx context.Context, tell func(store.News)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.life.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	pause := firstPause
	for {
		began := time.Now()
		err := s.listen(ctx, tell)
		select {
		case <-s.life.Done():
			return errClosed
		default:
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		tell(store.News{Kind: store.Deaf, Err: err})
		if time.Since(began) > longestPause {
			pause = firstPause // it worked for a while
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
		pause = min(2*pause, longestPause)
	}
}

var errSilent = errors.New("the subscription does not answer")

// listen tells what a subscription brings, and returns when it is lost. go-redis
// would subscribe again by itself, and nobody would know that it was deaf.
func (s *Store) listen(ctx context.Context, tell func(store.News)) error {
	client, limit, err := s.open()
	if err != nil {
		return err
	}
	subscription := client.Subscribe(ctx, s.channel)
	defer subscription.Close()
	defer context.AfterFunc(ctx, func() { subscription.Close() })()
	var heard atomic.Bool
	gone := make(chan struct{})
	defer close(gone)
	var silent atomic.Bool
	go s.keepAlive(ctx, subscription, &heard, &silent, gone)
	for {
		message, err := subscription.Receive(ctx)
		if silent.Load() {
			return s.told(errSilent, limit)
		}
		if err != nil {
			return s.told(err, limit)
		}
		heard.Store(true)
		switch m := message.(type) {
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				tell(store.News{Kind: store.Listening})
			}
		case *redis.Message:
			tell(store.News{Kind: store.Changed, Key: m.Payload})
		}
	}
}

// keepAlive pings, and closes a subscription that has been silent since the ping
// before: a connection whose other end is gone looks just like a quiet one.
func (s *Store) keepAlive(ctx context.Context, subscription *redis.PubSub, heard, silent *atomic.Bool, gone <-chan struct{}) {
	ticker := time.NewTicker(s.beat)
	defer ticker.Stop()
	heard.Store(true) // a first beat for the subscription itself
	for {
		select {
		case <-gone:
			return
		case <-ticker.C:
		}
		if !heard.Swap(false) {
			silent.Store(true)
			subscription.Close()
			return
		}
		_ = subscription.Ping(ctx)
	}
}
