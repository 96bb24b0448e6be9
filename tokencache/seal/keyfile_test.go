// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestKeyFileIsMadeOnceAndReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "toolgate.key")
	first, created, err := LoadOrCreate(path)
	if err != nil || !created {
		t.Fatalf("created: %v, %v", created, err)
	}
	second, created, err := LoadOrCreate(path)
	if err != nil || created || second.PrimaryID() != first.PrimaryID() {
		t.Fatalf("created: %v, %v; the key is %s, was %s", created, err, second.PrimaryID(), first.PrimaryID())
	}
	wantOnlyFile(t, path)
	if info, err := os.Stat(path); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestManyWhoStartAtOnceEndWithTheSameKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toolgate.key")
	var all sync.WaitGroup
	var creators atomic.Int32
	ids := make([]string, 16)
	for i := range ids {
		all.Go(func() {
			ring, created, err := LoadOrCreate(path)
			if err != nil {
				t.Error(err)
				return
			}
			if created {
				creators.Add(1)
			}
			ids[i] = ring.PrimaryID()
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("they have different keys: %v", ids)
		}
	}
	if creators.Load() != 1 {
		t.Errorf("%d say that they made the file", creators.Load())
	}
	wantOnlyFile(t, path)
}

func TestKeyFileOpenToOthersIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such bits")
	}
	path := filepath.Join(t.TempDir(), "toolgate.key")
	writeKeyFile(t, path, NewKey())
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, created, err := LoadOrCreate(path)
		if err == nil || created || !strings.Contains(err.Error(), "run: chmod 600 "+path) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	os.Chmod(path, 0o400)
	if _, _, err := LoadOrCreate(path); err != nil {
		t.Errorf("a file that only its owner may read: %v", err)
	}
}

// An unreadable key must never be "repaired" by a fresh one: every record would be
// lost with it.
func TestKeyFileThatCannotBeReadStaysAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toolgate.key")
	for _, content := range []string{"", "half a ke", NewKey()[:20]} {
		writeKeyFile(t, path, content)
		_, created, err := LoadOrCreate(path)
		if err == nil || created || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: created: %v, %v", content, created, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != content {
			t.Errorf("the file was changed: %v", err)
		}
	}
}

func TestFolderThatCannotHoldAKeyIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeKeyFile(t, file, "")
	if _, _, err := LoadOrCreate(filepath.Join(file, "toolgate.key")); err == nil || !strings.Contains(err.Error(), file) {
		t.Fatal(err)
	}
}

func writeKeyFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantOnlyFile fails if anything else was left in the file's folder.
func wantOnlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}
