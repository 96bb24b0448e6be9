// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestRotatePutsANewKeyFirstAndKeepsTheOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toolgate.key")
	first, _, err := LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Rotate(path)
	if err != nil {
		t.Fatal(err)
	}
	third, err := Rotate(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{third.PrimaryID(), second.PrimaryID(), first.PrimaryID()}
	if !slices.Equal(third.IDs(), want) || len(slices.Compact(slices.Sorted(slices.Values(want)))) != 3 {
		t.Errorf("keys %v, want %v", third.IDs(), want)
	}
	if plain, err := third.Open(first.Seal([]byte("token"), "p"), "p"); err != nil || string(plain) != "token" {
		t.Errorf("what the first key sealed: %v", err)
	}
	wantOnlyFile(t, path)
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if text, _ := os.ReadFile(path); !strings.HasPrefix(string(text), keyFileHead) {
		t.Errorf("the file's head is gone:\n%s", strings.SplitN(string(text), "\n", 2)[0])
	}
}

func TestRotateLeavesAloneWhatItCannotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toolgate.key")
	if _, err := Rotate(path); err == nil {
		t.Error("a file that is not there was rotated")
	}
	for _, text := range []string{"", "# only words\n", "half a ke"} {
		writeKeyFile(t, path, text)
		if _, err := Rotate(path); err == nil {
			t.Errorf("%q: no error", text)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%q: the file was changed: %v", text, err)
		}
		wantOnlyFile(t, path)
	}
}

func TestRotateKeepsAFileWithoutALastNewlineAndOneWithAMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toolgate.key")
	old := NewKey()
	for _, text := range []string{old, "# head\n" + old, "\ufeff" + old + "\n", "\n\n" + old + " # since March"} {
		writeKeyFile(t, path, text)
		ring, err := Rotate(path)
		if err != nil || len(ring.IDs()) != 2 || ring.IDs()[1] != mustParse(t, old).PrimaryID() {
			t.Errorf("%q: %v", strings.ReplaceAll(text, old, "KEY"), err)
		}
	}
}

func TestRotateFollowsALink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a right there")
	}
	folder := t.TempDir()
	real, link := filepath.Join(folder, "real.key"), filepath.Join(folder, "link.key")
	writeKeyFile(t, real, NewKey())
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Rotate(link); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is no link any more: %v", err)
	}
	if ring, err := load(real); err != nil || len(ring.IDs()) != 2 {
		t.Errorf("the real file: %v", err)
	}
}

// A rotation that was cut off must not be taken for one that happened.
func TestRotateSaysThatAnotherIsUnderWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toolgate.key")
	writeKeyFile(t, path, NewKey())
	writeKeyFile(t, path+".new", "")
	if _, err := Rotate(path); err == nil || !strings.Contains(err.Error(), path+".new") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path + ".new"); err != nil {
		t.Errorf("somebody else's file was removed: %v", err)
	}
}

func TestManyWhoRotateAtOnceLoseNoKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toolgate.key")
	writeKeyFile(t, path, NewKey())
	var all sync.WaitGroup
	var mu sync.Mutex
	var made []string
	for range 8 {
		all.Go(func() {
			if ring, err := Rotate(path); err == nil {
				mu.Lock()
				defer mu.Unlock()
				made = append(made, ring.PrimaryID())
			}
		})
	}
	all.Wait()
	ring, err := load(path)
	if err != nil || len(made) == 0 {
		t.Fatalf("%d rotated, %v", len(made), err)
	}
	for _, id := range made {
		if !slices.Contains(ring.IDs(), id) {
			t.Errorf("the key %s was given and is lost", id)
		}
	}
}
