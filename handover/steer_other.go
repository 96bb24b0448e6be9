// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package handover

import "net"

func steer(*net.TCPListener, bool) error { return nil }

func keyOf(ln *net.TCPListener) (string, error) { return ln.Addr().String(), nil }

func staying(own *net.TCPListener) (*net.TCPListener, error) { return copied(own) }
