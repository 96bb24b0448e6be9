// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Command connections fills a store with connections and says what that costs: the
// time to write and to open it, its size, the time to read one, and the memory of the
// process.
//
//	go run ./bench/connections -n 100000
//	go run ./bench/connections -n 1000000 -file /tmp/connections.db
//	go run ./bench/connections -n 100000 -redis 127.0.0.1:6379
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/filestore"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

func main() {
	n := flag.Int("n", 100_000, "how many connections")
	file := flag.String("file", "", "where; default: a temporary file")
	server := flag.String("redis", "", "host:port of a Redis server, which had better be empty, in place of a file")
	flag.Parse()
	if err := run(*n, *file, *server); err != nil {
		fmt.Fprintln(os.Stderr, "connections:", err)
		os.Exit(1)
	}
}

const writers, reads = 64, 100_000

func run(n int, path, server string) error {
	if path == "" {
		dir, err := os.MkdirTemp("", "toolgate-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "connections.db")
	}
	open := func() store.Store { return filestore.New(filestore.Config{Path: path}) }
	if server != "" {
		open = func() store.Store { return redisstore.New(redisstore.Config{Addresses: []string{server}}) }
	}
	ring, err := seal.ParseRing(seal.NewKey())
	if err != nil {
		return err
	}
	s := open()
	begun := time.Now()
	if err := fill(vault.New(s, ring), n); err != nil {
		return err
	}
	took := time.Since(begun)
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Printf("written   %d connections in %v by %d writers: %v each\n", n, took.Round(time.Millisecond), writers, took/time.Duration(n))
	if info, err := os.Stat(path); err == nil {
		fmt.Printf("file      %d MiB, %d bytes each\n", info.Size()>>20, info.Size()/int64(n))
	}
	s = open()
	defer s.Close()
	v := vault.New(s, ring)
	begun = time.Now()
	if _, err := v.Load(context.Background(), key(0)); err != nil {
		return err
	}
	fmt.Printf("opened    in %v, with the first connection read\n", time.Since(begun).Round(time.Microsecond))
	if err := read(v, n); err != nil {
		return err
	}
	return storm(v)
}

func key(i int) connection.Key {
	return connection.Key{Tenant: "default", User: fmt.Sprintf("user-%08d", i), Toolkit: "acme"}
}

// expired are connections whose token's time has passed, all of them at once.
const expired = 10_000

func expiredKey(i int) connection.Key {
	return connection.Key{Tenant: "storm", User: fmt.Sprintf("user-%08d", i), Toolkit: "acme"}
}

func fill(v *vault.Vault, n int) error {
	return each(n, func(i int) error { return save(v, key(i), time.Now().Add(24*time.Hour)) })
}

// each does work for 0 to n-1, many at a time.
func each(n int, work func(int) error) error {
	var next atomic.Int64
	var all sync.WaitGroup
	failed := make(chan error, writers)
	for range writers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := work(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func save(v *vault.Vault, k connection.Key, expires time.Time) error {
	now := time.Now()
	_, err := v.Save(context.Background(), connection.Connection{
		Key: k, ID: "con_" + k.User, Status: connection.Active, Granted: granted,
		AccessToken: secret.New(strings.Repeat("a", 120)), RefreshToken: secret.New(strings.Repeat("r", 120)),
		IssuedAt: now, ExpiresAt: expires, CreatedAt: now, UpdatedAt: now,
	})
	return err
}

// provider answers at once, so that what is measured is ours.
type provider struct{ asked atomic.Int64 }

// Refresh implements tokencache.Refresher.
func (p *provider) Refresh(context.Context, *toolkit.OAuth2, secret.String) (oauth.Grant, error) {
	p.asked.Add(1)
	now := time.Now()
	return oauth.Grant{AccessToken: secret.New(strings.Repeat("b", 120)), RefreshToken: secret.New(strings.Repeat("s", 120)), IssuedAt: now, ExpiresAt: now.Add(time.Hour)}, nil
}

// storm asks for connections that have all expired, each four times at once.
func storm(v *vault.Vault) error {
	if err := each(expired, func(i int) error { return save(v, expiredKey(i), time.Now()) }); err != nil {
		return err
	}
	p := new(provider)
	cache := tokencache.New(tokencache.Config{Vault: v, MaxEntries: expired}).Source(p, nil)
	begun := time.Now()
	err := each(4*expired, func(i int) error {
		_, err := cache.Token(context.Background(), acme, expiredKey(i/4))
		return err
	})
	took := time.Since(begun)
	fmt.Printf("refreshed %d connections that had expired at once in %v, asked for by %d calls of which %d ran at a time: %v each, %d token requests\n",
		expired, took.Round(time.Millisecond), 4*expired, writers, (took / expired).Round(time.Microsecond), p.asked.Load())
	return err
}

var (
	acme    = &toolkit.Toolkit{ID: "acme", OAuth: &toolkit.OAuth2{TokenURL: "https://id.example/token", ClientID: "client"}}
	granted = connection.Grantee{Issuer: acme.OAuth.TokenURL, ClientID: acme.OAuth.ClientID, Hosts: []string{"https://api.example"}}
)

// read asks the cache for connections at random: first from the store, then from memory.
func read(v *vault.Vault, n int) error {
	users := rand.New(rand.NewPCG(1, 2)).Perm(n)[:min(n, reads)]
	cache := tokencache.New(tokencache.Config{Vault: v, MaxEntries: len(users)}).Source(nil, nil)
	for _, where := range []string{"store", "memory"} {
		begun := time.Now()
		for _, i := range users {
			if _, err := cache.Token(context.Background(), acme, key(i)); err != nil {
				return err
			}
		}
		took := time.Since(begun)
		fmt.Printf("%-9s %v for each of %d connections, in no order\n", where, (took / time.Duration(len(users))).Round(time.Nanosecond), len(users))
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("memory    %d MiB of heap with %d connections in the cache, %s\n", m.HeapAlloc>>20, len(users), resident())
	runtime.KeepAlive(cache)
	return nil
}

// resident is what Linux says of the process's memory. The file is mapped into it, and
// counts where it has been read.
func resident() string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "resident unknown"
	}
	var said []string
	for line := range strings.Lines(string(text)) {
		for _, name := range []string{"VmRSS", "RssAnon", "RssFile"} {
			if value, ok := strings.CutPrefix(line, name+":"); ok {
				said = append(said, name+" "+strings.Join(strings.Fields(value), " "))
			}
		}
	}
	return strings.Join(said, ", ")
}
