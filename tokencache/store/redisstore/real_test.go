// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
)

func TestNewConnectsToNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, cfg := range []Config{{}, {Master: "m"}, {Cluster: true}} {
		cfg.Addresses = []string{l.Addr().String()}
		if err := New(cfg).Close(); err != nil {
			t.Error(err)
		}
	}
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if conn, err := l.Accept(); err == nil {
		conn.Close()
		t.Error("somebody called")
	}
}

// wantTold fails unless the error is "unavailable", names the cause, and holds
// neither a password nor a key.
func wantTold(t *testing.T, err error, want string) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want unavailable: %s", err, want)
		return
	}
	for _, secret := range []string{"sesame", "alice"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error says %q: %v", secret, err)
		}
	}
}

func TestWhatRedisRefusesIsUnavailableWithItsCause(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "sesame-0123456789")
	admin := opened(t, Config{Addresses: []string{server.Addr}, Password: "sesame-0123456789"})
	mustPut(t, admin, store.Record{Key: "user/alice", Version: 1})
	client, _, err := admin.open()
	if err != nil {
		t.Fatal(err)
	}
	do := func(args ...any) {
		t.Helper()
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	get := func(cfg Config) error {
		cfg.Addresses = []string{server.Addr}
		_, err := opened(t, cfg).Get(t.Context(), "user/alice")
		return err
	}
	wantTold(t, get(Config{}), "NOAUTH: it wants a password")
	wantTold(t, get(Config{Password: "sesame-wrong"}), "WRONGPASS")
	do("ACL", "SETUSER", "poor", "on", ">sesame-poor", "~other:*", "+@all")
	wantTold(t, get(Config{Username: "poor", Password: "sesame-poor"}), "NOPERM")
	do("SET", "toolgate:r:alice", "text")
	_, err = admin.Get(t.Context(), "alice")
	wantTold(t, err, "WRONGTYPE")
	do("HSET", "toolgate:r:alice-too", "v", "not a number")
	do("DEL", "toolgate:r:alice")
	_, err = admin.Get(t.Context(), "alice-too")
	wantTold(t, err, "damaged")
	put := func() error { return admin.Put(t.Context(), store.Record{Key: "user/alice", Version: 2}) }
	do("CONFIG", "SET", "maxmemory", "1")
	wantTold(t, put(), "OOM")
	do("CONFIG", "SET", "maxmemory", "0")
	do("REPLICAOF", "127.0.0.1", redistest.FreePort(t))
	wantTold(t, put(), "redis answers")
	do("REPLICAOF", "NO", "ONE")
	if err := put(); err != nil {
		t.Errorf("all is well again: %v", err)
	}
}

func TestNobodyIsThere(t *testing.T) {
	s := opened(t, Config{Addresses: []string{"127.0.0.1:" + redistest.FreePort(t)}, Password: "sesame"})
	_, err := s.Get(t.Context(), "k")
	wantTold(t, err, "refused")
	s = opened(t, Config{Addresses: []string{"127.0.0.1:" + redistest.FreePort(t)}, Master: "m", Timeout: time.Second})
	_, err = s.Get(t.Context(), "k")
	wantTold(t, err, "redis")
	s = opened(t, Config{Addresses: []string{"127.0.0.1:" + redistest.FreePort(t)}, Cluster: true, Timeout: time.Second})
	_, err = s.Get(t.Context(), "k")
	wantTold(t, err, "redis")
}

func TestANewPasswordIsUsedWithoutOpeningTheStoreAnew(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "sesame-one")
	cfg := Config{Addresses: []string{server.Addr}, Password: "sesame-one"}
	s := opened(t, cfg)
	mustPut(t, s, store.Record{Key: "k", Version: 1})
	news := make(chan store.News, 100)
	ended := make(chan error, 1)
	go func() { ended <- s.Watch(t.Context(), func(n store.News) { news <- n }) }()
	if n := <-news; n.Kind != store.Listening {
		t.Fatalf("%v", n)
	}
	client, _, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.ConfigSet(t.Context(), "requirepass", "sesame-two").Err(); err != nil {
		t.Fatal(err)
	}
	cfg.Password = "sesame-two"
	s.Use(cfg)
	mustPut(t, s, store.Record{Key: "k", Version: 2})
	s.Close()
	if err := <-ended; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestADeadServerComesBackWithWhatItKept(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := opened(t, Config{Addresses: []string{server.Addr}, Timeout: time.Second})
	mustPut(t, s, store.Record{Key: "k", Version: 1, Index: []string{"term"}})
	server.Kill()
	_, err := s.Get(t.Context(), "k")
	wantTold(t, err, "redis")
	server.Start(t)
	redistest.Eventually(t, "it is there again", func() bool { // it may be loading
		found, err := s.List(t.Context(), "term", "", 10)
		return err == nil && len(found) == 1
	})
	mustPut(t, s, store.Record{Key: "k", Version: 2}) // its script is forgotten
}

func TestAFailoverIsGoneThrough(t *testing.T) {
	group := startSentinels(t)
	s := opened(t, Config{Addresses: []string{group.sentinel.Addr}, Master: masterName, Timeout: time.Second})
	news := make(chan store.News, 1000)
	go func() { _ = s.Watch(context.Background(), func(n store.News) { news <- n }) }()
	if n := <-news; n.Kind != store.Listening {
		t.Fatalf("%v", n)
	}
	mustPut(t, s, store.Record{Key: "k", Version: 1, Index: []string{"term"}})
	replica := redistest.Client(group.replica.Addr)
	defer replica.Close()
	redistest.Eventually(t, "the replica has it", func() bool {
		n, err := replica.Exists(t.Context(), s.recordKey("k")).Result()
		return err == nil && n == 1
	})
	group.master.Kill()
	start := time.Now()
	redistest.Eventually(t, "writes go on", func() bool {
		err := s.Put(t.Context(), store.Record{Key: "k", Version: 2, Index: []string{"term"}})
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Logf("writes went on after %v", time.Since(start).Round(10*time.Millisecond))
	heard := false
	redistest.Eventually(t, "changes are told again", func() bool {
		for {
			select {
			case n := <-news:
				heard = heard || n.Kind == store.Listening
			default:
				return heard
			}
		}
	})
	if found, err := s.List(t.Context(), "term", "", 10); err != nil || len(found) != 1 || found[0].Version != 2 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestAClusterSpreadsRecordsAndMovesItsSlots(t *testing.T) {
	nodes := redistest.StartCluster(t)
	s := opened(t, Config{Addresses: nodes[:1], Cluster: true, Timeout: time.Second})
	for i := range 30 {
		mustPut(t, s, store.Record{Key: string(rune('a' + i)), Version: 1, Index: []string{"term"}})
	}
	found, err := s.List(t.Context(), "term", "", 100)
	if err != nil || len(found) != 30 {
		t.Fatalf("List finds %d over three nodes, %v", len(found), err)
	}
	used := 0
	for _, addr := range nodes {
		c := redistest.Client(addr)
		if n, _ := c.DBSize(t.Context()).Result(); n > 0 {
			used++
		}
		c.Close()
	}
	if used != 3 {
		t.Errorf("%d of the nodes are used", used)
	}
	// A slot's move is what MOVED and ASK are for.
	moveSlot(t, nodes, s.recordKey("a"))
	mustPut(t, s, store.Record{Key: "a", Version: 2})
	if r, err := s.Get(t.Context(), "a"); err != nil || r.Version != 2 {
		t.Errorf("after its slot has moved: version %d, %v", r.Version, err)
	}
}

// moveSlot moves the slot of a key to another node, with all that is in it.
func moveSlot(t *testing.T, nodes []string, key string) {
	t.Helper()
	ctx := context.Background()
	clients, ids := map[string]*redis.Client{}, map[string]string{}
	for _, addr := range nodes {
		c := redistest.Client(addr)
		defer c.Close()
		id, err := c.ClusterMyID(ctx).Result()
		if err != nil {
			t.Fatal(err)
		}
		clients[addr], ids[addr] = c, id
	}
	slot := int(clients[nodes[0]].ClusterKeySlot(ctx, key).Val())
	from, to := "", ""
	for _, addr := range nodes {
		if n, err := clients[addr].Exists(ctx, key).Result(); err == nil && n == 1 {
			from = addr
		} else {
			to = addr
		}
	}
	keys, err := clients[from].ClusterGetKeysInSlot(ctx, slot, 100).Result()
	if err != nil || len(keys) == 0 {
		t.Fatalf("%d keys in the slot, %v", len(keys), err)
	}
	host, port, _ := net.SplitHostPort(to)
	steps := []func() error{
		func() error { return clients[to].Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from]).Err() },
		func() error { return clients[from].Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to]).Err() },
		func() error {
			args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
			return clients[from].Do(ctx, append(args, anys(keys)...)...).Err()
		},
		func() error { return clients[to].Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", ids[to]).Err() },
		func() error { return clients[from].Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", ids[to]).Err() },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("moving a slot, step %d: %v", i, err)
		}
	}
}
