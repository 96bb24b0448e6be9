// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a redis-server that the test started.
type server struct {
	addr, port string
	dir        string
	args       []string
	cmd        *exec.Cmd
}

// redisServer finds the program. Without one the test has nothing to say, except
// where it has been promised.
func redisServer(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	switch {
	case err == nil:
		return path
	case os.Getenv("TOOLGATE_REQUIRE_REAL") == "1":
		t.Fatal("no redis-server, and TOOLGATE_REQUIRE_REAL is set")
	}
	t.Skip("no redis-server in PATH")
	return ""
}

// startServer starts one with these settings beyond the usual ones.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	return startOn(t, freePort(t), args...)
}

func startOn(t testing.TB, port string, args ...string) *server {
	t.Helper()
	s := &server{addr: "127.0.0.1:" + port, port: port, dir: t.TempDir()}
	s.args = append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no",
		"--logfile", filepath.Join(s.dir, "log"),
	}, args...)
	s.start(t)
	t.Cleanup(s.kill)
	return s
}

// start runs it and waits until it listens. Another process has to come up: there
// is nothing to wait for but its port.
func (s *server) start(t testing.TB) {
	t.Helper()
	s.cmd = exec.Command(redisServer(t), s.args...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "redis-server listens", func() bool {
		conn, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// kill ends this process and no other.
func (s *server) kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// eventually polls: what other processes do cannot be waited for in any other way.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 30 s: %s", what)
		}
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// startCluster starts three nodes and gives each a third of the slots.
func startCluster(t testing.TB) []string {
	t.Helper()
	var addrs []string
	ctx := context.Background()
	for range 3 {
		addrs = append(addrs, startNode(t).addr)
	}
	clients := make([]*redis.Client, len(addrs))
	for i, addr := range addrs {
		clients[i] = redis.NewClient(Config{Addresses: []string{addr}}.complete().options().Simple())
		defer clients[i].Close()
		from, to := i*16384/3, (i+1)*16384/3-1
		if err := clients[i].ClusterAddSlotsRange(ctx, from, to).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			_, port, _ := net.SplitHostPort(addr)
			number, _ := strconv.Atoi(port)
			if err := clients[0].Do(ctx, "CLUSTER", "MEET", "127.0.0.1", port, number-1).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the cluster is whole", func() bool {
		for _, c := range clients {
			info, err := c.ClusterInfo(ctx).Result()
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
				return false
			}
			if slots, err := c.ClusterSlots(ctx).Result(); err != nil || len(slots) != 3 {
				return false
			}
		}
		return true
	})
	return addrs
}

// startNode starts a node, whose bus is on the port below its own: the kernel gives
// free ports and not free pairs, so that pairs are tried.
func startNode(t testing.TB) *server {
	t.Helper()
	for {
		port := freePort(t)
		number, _ := strconv.Atoi(port)
		bus, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", number-1))
		if err != nil {
			continue
		}
		bus.Close()
		return startOn(t, port, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(number-1), "--cluster-node-timeout", "2000", "--cluster-config-file", "nodes-"+port+".conf")
	}
}
