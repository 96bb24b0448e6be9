// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/storetest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		return New(Config{Path: newPath(t), Now: now})
	})
}

func TestNewDoesNotTouchTheDisk(t *testing.T) {
	path := newPath(t)
	s := New(Config{Path: path})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the folder: %v, want none", err)
	}
}

func TestFileAndFolderAreTheOwnersOnly(t *testing.T) {
	path := newPath(t)
	openStore(t, path)
	for name, want := range map[string]os.FileMode{filepath.Dir(path): 0o700, path: 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode().Perm(), err, want)
		}
	}
}

func TestRecordsOutliveTheProcess(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	want := store.Record{Key: "k", Version: 1, Value: []byte("v"), Index: []string{"term"}}
	mustPut(t, s, want)
	s.Close()
	again := openStore(t, path)
	if got, err := again.List(t.Context(), "term", "", 10); err != nil || len(got) != 1 || string(got[0].Value) != "v" {
		t.Fatalf("List = %v, %v", got, err)
	}
}

func TestFenceGrowsOverRestarts(t *testing.T) {
	path := newPath(t)
	last := uint64(0)
	for range 3 {
		s := openStore(t, path)
		l, err := s.Lease(t.Context(), "l", time.Minute)
		if err != nil || l.Fence <= last {
			t.Fatalf("fence %d follows %d, %v", l.Fence, last, err)
		}
		last = l.Fence
		s.Close()
	}
}

func TestOpeningThatFailedIsTriedAgain(t *testing.T) {
	path := newPath(t)
	inTheWay := filepath.Dir(path)
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(Config{Path: path})
	defer s.Close()
	_, err := s.Get(t.Context(), "k")
	wantPlain(t, err, inTheWay)
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, store.Record{Key: "k", Version: 1})
}

func TestFolderThatCannotBeWrittenIsNamed(t *testing.T) {
	folder, says := t.TempDir(), "no permission to use "
	if err := os.Chmod(folder, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		folder, says = "/proc/toolgate", "" // where not even root can write
	}
	path := filepath.Join(folder, "store.db")
	s := New(Config{Path: path})
	_, err := s.Get(t.Context(), "k")
	if says == "" {
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
		return
	}
	wantPlain(t, err, says+path)
}

func TestWhatIsNotAStoreIsLeftAlone(t *testing.T) {
	for name, content := range map[string]string{
		"a short text": "shopping list",
		"a long text":  strings.Repeat("all work and no play\n", 4000),
		"zeros":        strings.Repeat("\x00", 1<<16),
	} {
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s := New(Config{Path: path})
		wantPlain(t, s.Put(t.Context(), store.Record{Key: "k", Version: 1}), "cannot use "+path+": it is not a store of Toolgate's, or is damaged")
		s.Close()
		if now, err := os.ReadFile(path); err != nil || string(now) != content {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
}

func TestFilesOfOthersAreRefused(t *testing.T) {
	for want, fill := range map[string]func(*bbolt.Tx) error{
		"another program's bbolt file": func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("certificates"))
			return err
		},
		"its layout is 02, this version knows 01": func(tx *bbolt.Tx) error {
			if err := create(tx); err != nil {
				return err
			}
			return tables{tx}.about().Put([]byte(keyLayout), []byte{2})
		},
	} {
		path := filepath.Join(t.TempDir(), "store.db")
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(fill), db.Close()); err != nil {
			t.Fatal(err)
		}
		s := New(Config{Path: path})
		_, err = s.Get(t.Context(), "k")
		wantPlain(t, err, want)
		s.Close()
	}
}

func TestManyFirstCallersShareOneOpening(t *testing.T) {
	path := newPath(t)
	holder := openStore(t, path)
	s := New(Config{Path: path, LockWait: 60 * time.Millisecond})
	defer s.Close()
	var all sync.WaitGroup
	errs := make([]error, 100)
	for i := range errs {
		all.Go(func() { _, errs[i] = s.Get(t.Context(), "k") })
	}
	all.Wait()
	distinct := make(map[error]bool)
	for _, err := range errs {
		wantPlain(t, err, "another process is using the store at "+path)
		if !errors.Is(err, ErrLocked) {
			t.Fatalf("%v does not wrap ErrLocked", err)
		}
		distinct[err] = true
	}
	// Each attempt makes one error value. A machine that stalls may let some
	// callers come after the first attempt, but never each have its own.
	if len(distinct) > 10 {
		t.Errorf("%d attempts for %d callers", len(distinct), len(errs))
	}
	holder.Close()
	mustPut(t, s, store.Record{Key: "k", Version: 1})
}

func TestWhoeverStopsWaitingForTheFileMayLeave(t *testing.T) {
	s := New(Config{Path: newPath(t)})
	s.opening = &opening{done: make(chan struct{})} // never done
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, want the context's error", err)
	}
}

func TestCloseWaitsForAnOpeningThatIsUnderWay(t *testing.T) {
	path := newPath(t)
	s := New(Config{Path: path})
	o := &opening{done: make(chan struct{})}
	s.opening = o
	go s.attempt(o)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openStore(t, path) // is not locked any more
}

// newPath is a file in a folder that does not exist yet.
func newPath(t testing.TB) string {
	return filepath.Join(t.TempDir(), "folder", "store.db")
}

// openStore returns a store whose file is open.
func openStore(t testing.TB, path string) *Store {
	t.Helper()
	s := New(Config{Path: path, LockWait: time.Minute})
	if _, err := s.Get(t.Context(), "k"); err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustPut(t testing.TB, s *Store, r store.Record) {
	t.Helper()
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// wantPlain fails unless the error means "unavailable" and says it in one line.
func wantPlain(t testing.TB, err error, want string) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("the error is %v, want ErrUnavailable that says %q", err, want)
	}
}
