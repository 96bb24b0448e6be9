// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// steer has a group of sockets of one address give all that comes in to its first
// member, or spread it again. Linux asks a program for the member's number, and a new
// socket's is always higher. It is there for the time of a reload only: other processes
// may share the address, and want their part.
func steer(ln *net.TCPListener, on bool) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	refused := raw.Control(func(fd uintptr) {
		if !on {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
			return
		}
		first := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &first})
	})
	return errors.Join(refused, err)
}

// staying is a socket of ours beside own. A copy of own's own will not do: Go listens
// with Multipath TCP, for which Linux takes no program. It has to where own's may not be
// joined, as one that systemd has opened, and there the next one is the same as well.
func staying(own *net.TCPListener) (*net.TCPListener, error) {
	only, err := onlyIPv6(own)
	if err != nil {
		return nil, err
	}
	network := "tcp"
	if only {
		network = "tcp6"
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		refused := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(refused, err)
	}}
	config.SetMultipathTCP(false)
	base, err := config.Listen(context.Background(), network, own.Addr().String())
	if err != nil {
		return copied(own)
	}
	return base.(*net.TCPListener), nil
}

// keyOf names what a socket listens on. [::] with and without IPv4 are two things.
func keyOf(ln *net.TCPListener) (string, error) {
	only, err := onlyIPv6(ln)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(ln.Addr(), " ", only), nil
}

func onlyIPv6(ln *net.TCPListener) (bool, error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return false, err
	}
	only := 0
	err = raw.Control(func(fd uintptr) {
		only, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) // which an IPv4 socket has not
	})
	return only == 1, err
}
