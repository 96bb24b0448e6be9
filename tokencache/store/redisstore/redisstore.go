// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package redisstore keeps records in Redis, which several gateways share: one
// server, a Sentinel group or a cluster.
//
// Every script touches one key, so that it runs in a cluster as it does anywhere,
// and every script may be run twice: clients of Redis send a command again when the
// answer is lost, and nobody knows then whether it was done.
package redisstore

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/toolgate/toolgate/tokencache/store"
)

// Config is how a Store is made.
type Config struct {
	// Addresses are host:port of the server, of the Sentinels, or of some nodes of
	// the cluster.
	Addresses []string
	// Username and Password are those of an ACL user; a password alone is the
	// default user's.
	Username, Password string
	// DB is the number of the database; a cluster has only 0.
	DB int
	// Master is the name under which Sentinels know the servers. Empty: none.
	Master string
	// SentinelUsername and SentinelPassword are for the Sentinels themselves.
	SentinelUsername, SentinelPassword string
	// Cluster says that the addresses are nodes of a cluster.
	Cluster bool
	// TLS is for all connections. Nil: none.
	TLS *tls.Config
	// Prefix begins every key and the channel. Empty: "toolgate:".
	Prefix string
	// Timeout bounds each call with all that it takes: a connection, retries, the
	// answer. Zero: 3 seconds.
	Timeout time.Duration
	// PoolSize bounds the connections to each server. Zero: 10 per processor.
	PoolSize int
	// Now is the clock, for tests. Nil: the server's, which all gateways share.
	Now func() time.Time
}

// Store is a store.Store in Redis.
//
// Nothing is opened by New: a configuration is also loaded to be validated. What
// Redis cannot do now, the next call tries again.
type Store struct {
	prefix, channel string
	now             func() time.Time
	grace           time.Duration
	beat            time.Duration
	life            context.Context // until Close
	end             context.CancelFunc
	scan            listing
	lost            orphans

	mu     sync.Mutex
	cfg    Config
	client redis.UniversalClient // made by the first call
	ended  bool
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Watcher = (*Store)(nil)
	_ store.Scanner = (*Store)(nil)
)

// New returns the store and connects to nothing.
func New(cfg Config) *Store {
	cfg = cfg.complete()
	s := &Store{
		prefix: cfg.Prefix, channel: fmt.Sprintf("%schanges:%d", cfg.Prefix, cfg.DB),
		now: cfg.Now, grace: grace, beat: beat, cfg: cfg,
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

func (cfg Config) complete() Config {
	if cfg.Prefix == "" {
		cfg.Prefix = "toolgate:"
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 3 * time.Second
	}
	return cfg
}

// Use goes on with other settings of the same place, such as a new password. The
// prefix, the database and the clock stay. Calls under way end as they began.
func (s *Store) Use(cfg Config) {
	cfg = cfg.complete()
	s.mu.Lock()
	old, wait := s.client, s.cfg.Timeout
	s.cfg, s.client = cfg, nil
	s.mu.Unlock()
	if old != nil {
		time.AfterFunc(wait, func() { _ = old.Close() })
	}
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	client := s.client
	s.client, s.ended = nil, true
	s.mu.Unlock()
	s.lost.mu.Lock() // from here on, none are added
	s.end()
	s.lost.mu.Unlock()
	s.lost.done.Wait()
	if client == nil {
		return nil
	}
	if err := client.Close(); err != nil {
		return fmt.Errorf("closing redis: %w", err)
	}
	return nil
}

// open gives the client, and how long a call may take.
func (s *Store) open() (redis.UniversalClient, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, 0, errClosed
	}
	if s.client == nil {
		s.client = redis.NewUniversalClient(s.cfg.options())
	}
	return s.client, s.cfg.Timeout, nil
}

// quiet ends go-redis' own lines on standard error. What it has to say comes back
// as errors of the calls.
var quiet = sync.OnceFunc(logging.Disable)

func (cfg Config) options() *redis.UniversalOptions {
	quiet()
	return &redis.UniversalOptions{
		Addrs: cfg.Addresses, DB: cfg.DB, Username: cfg.Username, Password: cfg.Password,
		MasterName: cfg.Master, SentinelUsername: cfg.SentinelUsername, SentinelPassword: cfg.SentinelPassword,
		IsClusterMode: cfg.Cluster, TLSConfig: cfg.TLS, PoolSize: cfg.PoolSize,
		DialTimeout: cfg.Timeout, ReadTimeout: cfg.Timeout, WriteTimeout: cfg.Timeout, PoolTimeout: cfg.Timeout,
		// Retries are ours, see do: go-redis' own say nothing of a command that was
		// sent twice. Only in a cluster it goes from node to node by itself.
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		// Plain RESP2 without greetings: old servers and look-alikes know it.
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// retries are few, since a call has Timeout for all of them: enough for connections
// that the server had closed, and for the moment of a failover.
const (
	retries    = 3
	retryPause = 5 * time.Millisecond
)

// do runs work with the client, again where a connection broke. Work has a time of
// its own: a caller who hangs up stops waiting, but does not leave a write half done.
func do[T any](ctx context.Context, s *Store, work func(context.Context, redis.UniversalClient) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("using the store: %w", err)
	}
	_, limit, err := s.open()
	if err != nil {
		return none, err
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		var r result
		for try := 0; ; try++ {
			var client redis.UniversalClient
			if client, _, r.err = s.open(); r.err == nil { // another one, perhaps, after Use
				r.value, r.err = work(ctx, client)
			}
			if try == retries || !passing(r.err) || !pause(ctx, retryPause<<(2*try)) {
				break
			}
		}
		done <- r
	}()
	select {
	case r := <-done:
		return r.value, s.told(r.err, limit)
	case <-ctx.Done():
		return none, fmt.Errorf("waiting for the store: %w", ctx.Err())
	}
}

// pause waits, and reports whether there is time left.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// clock is the time that scripts go by: "" lets them ask the server.
func (s *Store) clock() any {
	if s.now == nil {
		return ""
	}
	return s.now().UnixMilli()
}
