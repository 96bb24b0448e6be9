// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package filestore

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/toolgate/toolgate/tokencache/store"
)

func TestFullDiskRefusesWritesAndLosesNothing(t *testing.T) {
	if os.Getenv(childTask) != "full" {
		inChild(t, "full") // the limit holds for a whole process
		return
	}
	s := openStore(t, newPath(t))
	free := limitFileSize(t, 1<<20)
	defer free()
	written := 0
	var err error
	for ; err == nil && written < 1000; written++ {
		err = s.Put(t.Context(), store.Record{Key: key(written), Version: 1, Value: make([]byte, 10_000)})
	}
	written-- // the last one failed
	wantPlain(t, err, "cannot use "+s.cfg.Path)
	for i := range written {
		if _, err := s.Get(t.Context(), key(i)); err != nil {
			t.Fatalf("record %d of %d: %v", i, written, err)
		}
	}
	free()
	mustPut(t, s, store.Record{Key: key(written), Version: 1})
	checkPages(t, s)
}

// limitFileSize makes every file of this process full at that size, until free.
func limitFileSize(t *testing.T, bytes uint64) (free func()) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	// Without this the limit is a signal that ends the process, not an error.
	signal.Ignore(syscall.SIGXFSZ)
	limit := before
	limit.Cur = min(limit.Max, bytes)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	return func() { syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) }
}

// inChild runs the same test in another process.
func inChild(t *testing.T, task string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), childTask+"="+task)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in another process: %v\n%s", err, out)
	}
}
