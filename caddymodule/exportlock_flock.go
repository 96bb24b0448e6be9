// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package caddymodule

import (
	"errors"
	"os"
	"syscall"
)

// heldByOther locks the file until it is closed, unless another process has. On a file
// system without locks, nobody has.
func heldByOther(f *os.File) bool {
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
