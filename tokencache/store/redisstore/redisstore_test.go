// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
	"github.com/toolgate/toolgate/tokencache/store/storetest"
)

func TestStoreKeepsTheContractOnMiniredis(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		return New(Config{Addresses: []string{miniredis.RunT(t).Addr()}, Now: now})
	})
}

// The suite on real servers: each store begins in a database that was emptied.

func TestStoreKeepsTheContractOnARealServer(t *testing.T) {
	server := redistest.Start(t)
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		redistest.Flush(t, server.Addr)
		return New(Config{Addresses: []string{server.Addr}, DB: 3, Now: now})
	})
}

func TestStoreKeepsTheContractOnACluster(t *testing.T) {
	nodes, n := redistest.StartCluster(t), 0
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		redistest.Flush(t, nodes...)
		// A channel of its own for each: the nodes may still be passing on to each
		// other what the test before has written.
		n++
		return New(Config{Addresses: nodes, Cluster: true, Prefix: fmt.Sprintf("store%d:", n), Now: now})
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
		redistest.Flush(t, group.master.Addr)
		return New(Config{Addresses: []string{group.sentinel.Addr}, Master: masterName, Now: now})
	})
}
