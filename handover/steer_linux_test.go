// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func reusable(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
}

func TestHoldHasNothingComeToASecondSocket(t *testing.T) {
	a := &address{t: t}
	a.join()
	if err := steer(a.sockets.open[a.at+" false"].base, true); err != nil {
		if os.Getenv("TOOLGATE_REQUIRE_REAL") != "" {
			t.Fatal(err)
		}
		t.Skip("this system takes no program for a group of sockets:", err)
	}
	second := a.open()
	defer second.Close()
	came := func() int {
		for range 50 {
			a.dial()
		}
		n := 0
		for {
			_ = second.SetDeadline(time.Now().Add(10 * time.Millisecond))
			conn, err := second.Accept()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return n
			} else if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			n++
		}
	}
	if n := came(); n > 0 {
		t.Fatalf("%d of 50 connections came to the second socket", n)
	}
	a.sockets.Release()
	if n := came(); n == 0 {
		t.Fatal("nothing comes to the second socket, though others may share the address")
	}
}

// A socket for IPv6 alone is another one than that for both.
func TestSocketsOfOneFamilyAndOfBothAreApart(t *testing.T) {
	keys := map[string]bool{}
	for _, network := range []string{"tcp", "tcp6"} {
		ln, err := net.Listen(network, "[::]:0")
		if err != nil {
			t.Skip("no IPv6:", err)
		}
		defer ln.Close()
		key, err := keyOf(ln.(*net.TCPListener))
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		keys[strings.Replace(key, port, "", 1)] = true
	}
	if len(keys) != 2 {
		t.Fatal(keys)
	}
}
