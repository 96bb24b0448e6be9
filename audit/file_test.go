// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fileAt is a file with a clock that is moved by hand.
func fileAt(t *testing.T, path string) (*File, func(time.Duration)) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	f := NewFile(path)
	f.now = func() time.Time { return now }
	t.Cleanup(func() { f.Close() })
	return f, func(d time.Duration) { now = now.Add(d) }
}

func write(t *testing.T, f *File, line string) {
	t.Helper()
	if n, err := f.Write([]byte(line)); n != len(line) || err != nil {
		t.Fatalf("writing %q: %d, %v", line, n, err)
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); string(got) != want || err != nil {
		t.Errorf("%s holds %q, want %q (%v)", filepath.Base(path), got, want, err)
	}
}

func TestTheFileIsMadeWithTheFirstLineForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "audit.log")
	f, _ := fileAt(t, path)
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is there before the first line")
	}
	write(t, f, "one\n")
	holds(t, path, "one\n")
	info, err := os.Stat(path)
	if err != nil || os.PathSeparator == '/' && info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	again, _ := fileAt(t, path)
	write(t, again, "two\n")
	holds(t, path, "one\ntwo\n")
}

func TestAFileThatWasMovedAwayIsBegunAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for _, remove := range []bool{false, true} {
		f, pass := fileAt(t, path)
		write(t, f, "one\n")
		if remove {
			_ = os.Remove(path)
		} else if err := os.Rename(path, path+".1"); err != nil {
			t.Skip("an open file cannot be moved here")
		}
		write(t, f, "two\n") // within a second it goes to the old one
		pass(checkEvery)
		write(t, f, "three\n")
		pass(checkEvery)
		write(t, f, "four\n")
		holds(t, path, "three\nfour\n")
		if !remove {
			holds(t, path+".1", "one\ntwo\n")
		}
		_ = os.Remove(path)
	}
}

func TestAFileThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	f, _ := fileAt(t, path)
	if _, err := f.Write([]byte("lost\n")); err == nil {
		t.Fatal("a line is lost and nobody knows")
	}
	_ = os.Remove(path)
	write(t, f, "kept\n")
	holds(t, path, "kept\n")
}

func TestALateLineIsKeptAfterClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f, _ := fileAt(t, path)
	if err := f.Close(); err != nil {
		t.Errorf("closing what is not open: %v", err)
	}
	write(t, f, "one\n")
	_ = f.Close()
	write(t, f, "late\n")
	holds(t, path, "one\nlate\n")
}

func TestTwoConfigurationsShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	var writers sync.WaitGroup
	for range 2 {
		f := NewFile(path)
		for range 2 {
			writers.Go(func() {
				for range 100 {
					if _, err := f.Write([]byte("a line\n")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		t.Cleanup(func() { f.Close() })
	}
	writers.Wait()
	holds(t, path, strings.Repeat("a line\n", 400))
}
