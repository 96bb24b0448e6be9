// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package redistest starts real Redis servers for tests, and ends those and no others.
package redistest

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
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Server is a redis-server that the test started.
type Server struct {
	Addr, Port string
	args       []string
	cmd        *exec.Cmd
	exited     chan struct{}
}

// Program finds the program. Without one the test has nothing to say, except
// where it has been promised.
func Program(t testing.TB) string {
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

// Start starts one with these settings beyond the usual ones.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartOn(t, FreePort(t), args...)
}

// StartOn starts one on a port. What comes later among the settings wins.
func StartOn(t testing.TB, port string, args ...string) *Server {
	t.Helper()
	dir := t.TempDir()
	return StartRaw(t, port, append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no",
		"--logfile", filepath.Join(dir, "log"),
	}, args...)...)
}

// StartRaw starts one with these settings alone.
func StartRaw(t testing.TB, port string, args ...string) *Server {
	t.Helper()
	s := &Server{Addr: "127.0.0.1:" + port, Port: port, args: args}
	s.Start(t)
	t.Cleanup(s.Kill)
	return s
}

// Start runs it and waits until it listens. Another process has to come up: there
// is nothing to wait for but its port.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.cmd = exec.Command(Program(t), s.args...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, exited := s.cmd, make(chan struct{})
	s.exited = exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	Eventually(t, "redis-server listens", func() bool {
		select {
		case <-exited:
			t.Fatalf("redis-server ended at once: %q", s.args)
		default:
		}
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// Kill ends this process and no other.
func (s *Server) Kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		<-s.exited
		s.cmd = nil
	}
}

// Eventually polls: what other processes do cannot be waited for in any other way.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 30 s: %s", what)
		}
	}
}

// FreePort is one that the kernel gave.
func FreePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// StartCluster starts three nodes and gives each a third of the slots.
func StartCluster(t testing.TB) []string {
	t.Helper()
	var addrs []string
	ctx := context.Background()
	for range 3 {
		addrs = append(addrs, startNode(t).Addr)
	}
	clients := make([]*redis.Client, len(addrs))
	for i, addr := range addrs {
		clients[i] = Client(addr)
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
	Eventually(t, "the cluster is whole", func() bool {
		for _, c := range clients {
			info, err := c.ClusterInfo(ctx).Result()
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
				return false
			}
			if slots, err := c.Do(ctx, "CLUSTER", "SLOTS").Slice(); err != nil || len(slots) != 3 {
				return false
			}
		}
		return true
	})
	return addrs
}

// startNode starts a node, whose bus is on the port below its own: the kernel gives
// free ports and not free pairs, so that pairs are tried.
func startNode(t testing.TB) *Server {
	t.Helper()
	for {
		port := FreePort(t)
		number, _ := strconv.Atoi(port)
		bus, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", number-1))
		if err != nil {
			continue
		}
		bus.Close()
		return StartOn(t, port, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(number-1), "--cluster-node-timeout", "2000", "--cluster-config-file", "nodes-"+port+".conf")
	}
}

// Client speaks to one server.
func Client(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// Flush empties servers.
func Flush(t testing.TB, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		c := Client(addr)
		if err := c.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}
