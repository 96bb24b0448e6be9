// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/toolgate/toolgate/tokencache/store"
)

func TestOneFailingWriteDoesNotFailItsNeighbours(t *testing.T) {
	s := openStore(t, newPath(t))
	put := func(key string) func(tables) error {
		return func(t tables) error { return t.put(store.Record{Key: key, Version: 1}) }
	}
	batch := []*pending{
		write(t.Context(), put("before")),
		write(t.Context(), func(t tables) error { put("half done")(t); panic("page 7 makes no sense") }),
		write(t.Context(), func(tables) error { return store.ErrConflict }),
		write(t.Context(), put("after")),
	}
	commit(s.file, batch)
	for i, want := range []string{"<nil>", "damaged page: page 7 makes no sense", store.ErrConflict.Error(), "<nil>"} {
		if got := fmt.Sprint(<-batch[i].answer); got != want {
			t.Errorf("write %d: %v, want %v", i, got, want)
		}
	}
	for key, want := range map[string]error{"before": nil, "after": nil, "half done": store.ErrNotFound} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, want) {
			t.Errorf("Get(%q): %v, want %v", key, err, want)
		}
	}
	checkPages(t, s)
}

func TestWriteOfOneWhoLeftIsNotMade(t *testing.T) {
	s := openStore(t, newPath(t))
	gone, leave := context.WithCancel(t.Context())
	leave()
	batch := []*pending{
		write(gone, func(t tables) error { return t.put(store.Record{Key: "gone", Version: 1}) }),
		write(t.Context(), func(t tables) error { return t.put(store.Record{Key: "here", Version: 1}) }),
	}
	commit(s.file, batch)
	if err := <-batch[0].answer; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who left: %v", err)
	}
	if _, err := s.Get(t.Context(), "gone"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("its record: %v", err)
	}
	if err := <-batch[1].answer; err != nil {
		t.Errorf("the one who stayed: %v", err)
	}
}

// A loser saw what the winner was about to write. If that was not written, "the
// record has changed" would be a lie.
func TestLoserOfAFailedCommitHearsOfTheFailure(t *testing.T) {
	s := openStore(t, newPath(t))
	s.file.db.MaxSize = 1 // as if the disk were full
	big := func(t tables) error {
		return t.put(store.Record{Key: "k", Version: 1, Value: make([]byte, store.MaxValue)})
	}
	lost := func(t tables) error {
		if _, err := t.stored("k"); err != nil {
			return err
		}
		return store.ErrConflict
	}
	batch := []*pending{write(t.Context(), big), write(t.Context(), lost)}
	commit(s.file, batch)
	for i, p := range batch {
		if err := <-p.answer; err == nil || refusal(err) {
			t.Errorf("write %d: %v, want why the commit failed", i, err)
		}
	}
	s.file.db.MaxSize = 0
	mustPut(t, s, store.Record{Key: "k", Version: 1})
	checkPages(t, s)
}

func TestAfterAPanicOutsideOfACallEverythingIsUnavailable(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	s.file.safely(func() error { panic("freelist makes no sense") })
	want := path + " is damaged: freelist makes no sense; restore it from a backup and restart"
	_, err := s.Get(t.Context(), "k")
	wantPlain(t, err, want)
	wantPlain(t, s.Put(t.Context(), store.Record{Key: "k", Version: 1}), want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func write(ctx context.Context, change func(tables) error) *pending {
	return &pending{ctx, change, make(chan error, 1)}
}
