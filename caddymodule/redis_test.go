// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/tokencache/store/redistest"
)

// overRedis is the usual configuration with its store in Redis.
func (w *world) overRedis(addr, lines string) string {
	text := w.caddyfile("", "encryption_key {env.SEAL}", "")
	file := fmt.Sprintf("store file %s/connections.db", w.dir)
	return strings.Replace(text, file, fmt.Sprintf("store redis {\n address %s\n timeout 1s\n %s\n}", addr, lines), 1)
}

var sealKey, otherSealKey = strings.Repeat("0123456789abcdef", 4), strings.Repeat("fedcba9876543210", 4)

func TestConnectionsAreKeptInRedis(t *testing.T) {
	w := newWorld(t)
	t.Setenv("SEAL", sealKey)
	server := redistest.Start(t)
	w.load(w.overRedis(server.Addr, "key_prefix gate:"))
	if page := w.connect(); !strings.Contains(page, "connected") {
		t.Fatalf("%s", page)
	}
	if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	c := redistest.Client(server.Addr)
	defer c.Close()
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) < 3 {
		t.Fatalf("%q, %v", keys, err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "gate:") {
			t.Errorf("a key outside of the prefix: %q", key)
		}
	}
}

func TestRedisThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	t.Setenv("SEAL", sealKey)
	wire := redistest.NewProxy(t, redistest.Start(t).Addr)
	wire.Cut()
	w.load(w.overRedis(wire.Addr, ""))
	status, body := w.call("GET", "/acme/v1/me")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "storage_unavailable") {
		t.Fatalf("%d %s", status, body)
	}
	wire.Mend()
	w.connect()
	if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusOK {
		t.Errorf("with Redis back: %d %s", status, body)
	}
	wire.Cut()
	for range 20 {
		if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusOK {
			t.Fatalf("a live token, with Redis away again: %d %s", status, body)
		}
	}
	if status, body := w.call("GET", "/acme/v1/me", "X-User-Id", "bob"); status != http.StatusServiceUnavailable || !strings.Contains(body, "storage_unavailable") {
		t.Errorf("somebody who is not in memory: %d %s", status, body)
	}
}

func TestAWrongKeyIsNoticedAlsoWhenRedisComesLater(t *testing.T) {
	w := newWorld(t)
	t.Setenv("SEAL", sealKey)
	server := redistest.Start(t)
	wire := redistest.NewProxy(t, server.Addr)
	w.load(w.overRedis(wire.Addr, ""))
	w.connect()
	t.Setenv("SEAL", otherSealKey)
	if err := w.tryLoad(w.overRedis(wire.Addr, "pool_size 7")); err == nil || !strings.Contains(err.Error(), "was sealed with the encryption key") {
		t.Errorf("with Redis there: %v", err)
	}
	wire.Cut()
	w.load(w.overRedis(wire.Addr, "pool_size 8"))
	wire.Mend()
	status, body := w.call("GET", "/acme/v1/me", "X-User-Id", "somebody-new")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "key_missing") {
		t.Errorf("a record would be sealed with the wrong key: %d %s", status, body)
	}
}

func TestANewRedisPasswordTakesAReload(t *testing.T) {
	w := newWorld(t)
	t.Setenv("SEAL", sealKey)
	t.Setenv("REDIS_PASSWORD", "sesame-one")
	server := redistest.Start(t, "--requirepass", "sesame-one")
	w.load(w.overRedis(server.Addr, "password {env.REDIS_PASSWORD}"))
	w.connect()
	c := redistest.Client(server.Addr)
	defer c.Close()
	admin := c.Conn()
	defer admin.Close()
	for _, command := range [][]any{{"AUTH", "sesame-one"}, {"CONFIG", "SET", "requirepass", "sesame-two"}, {"CLIENT", "KILL", "TYPE", "normal"}} {
		if err := admin.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("REDIS_PASSWORD", "sesame-two")
	w.load(w.overRedis(server.Addr, "password {env.REDIS_PASSWORD}"))
	if status, body := w.call("GET", "/acme/v1/me", "X-User-Id", "bob"); status != http.StatusForbidden {
		t.Errorf("%d %s", status, body)
	}
}

func TestValidateDoesNotConnectToRedis(t *testing.T) {
	w := newWorld(t)
	t.Setenv("SEAL", sealKey)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan struct{}, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Close()
			called <- struct{}{}
		}
	}()
	text, _, err := adapt(w.overRedis(l.Addr().String(), ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, text); err != nil {
		t.Fatal(err)
	}
	l.Close()
	select {
	case <-called:
		t.Error("somebody called")
	default:
	}
}
