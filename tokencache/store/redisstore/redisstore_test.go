// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/storetest"
)

func TestStoreKeepsTheContractOnMiniredis(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		return New(Config{Addresses: []string{miniredis.RunT(t).Addr()}, Now: now})
	})
}

// The suite on real servers: each store begins in a database that was emptied.

func TestStoreKeepsTheContractOnARealServer(t *testing.T) {
	server := startServer(t)
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		flush(t, server.addr)
		return New(Config{Addresses: []string{server.addr}, DB: 3, Now: now})
	})
}

func TestStoreKeepsTheContractOnACluster(t *testing.T) {
	nodes := startCluster(t)
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		flush(t, nodes...)
		return New(Config{Addresses: nodes, Cluster: true, Now: now})
	})
}

func TestStoreKeepsTheContractBehindTLSWithAUserThatMayDoNoMore(t *testing.T) {
	server := startSecureServer(t)
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		server.flush(t)
		return New(server.config(now))
	})
}

func TestStoreKeepsTheContractBehindSentinels(t *testing.T) {
	group := startSentinels(t)
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		flush(t, group.master.addr)
		return New(Config{Addresses: []string{group.sentinel.addr}, Master: masterName, Now: now})
	})
}

// flush empties servers.
func flush(t *testing.T, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		c := redis.NewClient(Config{Addresses: []string{addr}}.complete().options().Simple())
		if err := c.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}
