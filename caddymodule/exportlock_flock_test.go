// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package caddymodule_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestTwoExportsDoNotWriteOneFile(t *testing.T) {
	w, s := stopped(t)
	file := filepath.Join(w.dir, "all.jsonl")
	part, err := os.OpenFile(file+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	if err := syscall.Flock(int(part.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	s.fails(t, "another export is writing "+file+".part", "store", "export", file)
	if err := part.Close(); err != nil {
		t.Fatal(err)
	}
	s.succeeds(t, "sha256:", "store", "export", file)
}
