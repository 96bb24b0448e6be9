// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Command links makes connect links, each for another user, and says what that costs:
// the rate, the size of the store and the memory of the process; and then, once all have
// ended, how long it takes to sweep them and what is left.
//
//	go run ./bench/links -n 100000
//	go run ./bench/links -n 100000 -redis 127.0.0.1:6379
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/filestore"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

func main() {
	n := flag.Int("n", 100_000, "how many links")
	server := flag.String("redis", "", "host:port of a Redis server, which had better be empty, in place of a file")
	flag.Parse()
	if err := run(*n, *server); err != nil {
		fmt.Fprintln(os.Stderr, "links:", err)
		os.Exit(1)
	}
}

const writers = 16

// clock is the store's and the service's, so that links end without waiting.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func run(n int, server string) error {
	dir, err := os.MkdirTemp("", "toolgate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, path := new(clock), filepath.Join(dir, "links.db")
	var s store.Store = filestore.New(filestore.Config{Path: path, Now: c.now})
	if server != "" {
		s = redisstore.New(redisstore.Config{Addresses: []string{server}})
	}
	defer s.Close()
	ring, err := seal.ParseRing(seal.NewKey())
	if err != nil {
		return err
	}
	public := &url.URL{Scheme: "https", Host: "connect.example.com"}
	service := connect.New(connect.Config{PublicURL: public, Vault: vault.New(s, ring), Key: ring.Derive("connect form"), LinkLife: time.Hour, Now: c.now})
	waits, took, err := ask(service, n)
	if err != nil {
		return err
	}
	slices.Sort(waits)
	fmt.Printf("made      %d links in %v: %.0f a second; p50 %v, p99 %v\n", n, took.Round(time.Millisecond), float64(n)/took.Seconds(), waits[n/2].Round(time.Microsecond), waits[n*99/100].Round(time.Microsecond))
	if _, took, err = ask(service, n); err != nil { // the same again, as agents do that retry
		return err
	}
	fmt.Printf("again     %.0f a second\n", float64(n)/took.Seconds())
	report(path)
	if server != "" {
		return nil // Redis ends them by itself
	}
	c.ahead.Add(int64(48 * time.Hour))
	begun, swept := time.Now(), 0
	for {
		gone, err := s.Sweep(context.Background(), 1000)
		if err != nil {
			return err
		}
		if swept += gone; gone == 0 {
			break
		}
	}
	fmt.Printf("swept     %d records in %v\n", swept, time.Since(begun).Round(time.Millisecond))
	if _, _, err := ask(service, n); err != nil {
		return err
	}
	fmt.Println("and made once more:")
	report(path)
	return nil
}

// ask asks for a link for each of n users.
func ask(service *connect.Service, n int) (waits []time.Duration, took time.Duration, err error) {
	waits = make([]time.Duration, n)
	var next atomic.Int64
	var all sync.WaitGroup
	var failed atomic.Value
	begun := time.Now()
	for range writers {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				start := time.Now()
				who := caller.Caller{Tenant: "default", Agent: "bot", User: fmt.Sprintf("user-%d", i)}
				if _, err := service.Link(context.Background(), who, &toolkit.Toolkit{ID: "acme"}); err != nil {
					failed.Store(err)
					return
				}
				waits[i] = time.Since(start)
			}
		})
	}
	all.Wait()
	err, _ = failed.Load().(error)
	return waits, time.Since(begun), err
}

func report(path string) {
	if info, err := os.Stat(path); err == nil {
		fmt.Printf("file      %d MiB\n", info.Size()>>20)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, _ := os.ReadFile("/proc/self/status")
	rss := ""
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			rss = ", RSS " + strings.TrimSpace(value)
		}
	}
	fmt.Printf("heap      %d MiB%s\n", m.HeapAlloc>>20, rss)
}
