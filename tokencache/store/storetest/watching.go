// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
)

// watching is what a store.Watcher promises besides.
var watching = []promise{
	{"every write and every deletion is told", func(b *bench) {
		w := b.watch()
		b.put(store.Record{Key: "k", Version: 1})
		w.wantChange("k")
		b.put(store.Record{Key: "k", Version: 2, Value: []byte("v"), Index: []string{"term"}, Expires: b.in(time.Hour)})
		w.wantChange("k")
		if err := b.Delete(b.Context(), "k", 2); err != nil {
			b.Fatal(err)
		}
		w.wantChange("k")
	}},
	{"what changed nothing is not told", func(b *bench) {
		w := b.watch()
		b.put(store.Record{Key: "k", Version: 1})
		w.wantChange("k") // a cluster may pass it on late, so that it has to be watched
		b.wantError(b.Put(b.Context(), store.Record{Key: "k", Version: 1}), store.ErrConflict)
		b.wantError(b.Delete(b.Context(), "k", 7), store.ErrConflict)
		b.wantError(b.Delete(b.Context(), "absent", 1), store.ErrNotFound)
		b.release(b.lease("l"))
		b.put(store.Record{Key: "last", Version: 1})
		w.wantChange("last")
	}},
	{"a change that is told can be read", func(b *bench) {
		w := b.watch()
		for version := uint64(1); version <= 20; version++ {
			b.put(store.Record{Key: "k", Version: version})
			w.wantChange("k")
			if r, err := b.Get(b.Context(), "k"); err != nil || r.Version != version {
				b.Fatalf("version %d, %v after the news of version %d", r.Version, err, version)
			}
		}
	}},
	{"all who watch are told", func(b *bench) {
		one, other := b.watch(), b.watch()
		b.put(store.Record{Key: "k", Version: 1})
		one.wantChange("k")
		other.wantChange("k")
	}},
	{"odd keys are told as they are", func(b *bench) {
		w := b.watch()
		for _, key := range oddKeys {
			b.put(store.Record{Key: key, Version: 1})
			w.wantChange(key)
		}
	}},
	{"nobody is told after the watch has ended", func(b *bench) {
		w := b.watch()
		w.stop()
		if err := <-w.ended; !errors.Is(err, context.Canceled) {
			b.Fatalf("Watch: %v, want context.Canceled", err)
		}
		b.put(store.Record{Key: "k", Version: 1})
		select {
		case n := <-w.news:
			b.Fatalf("told of %v", n)
		default:
		}
	}},
	{"Close ends the watch", func(b *bench) {
		w := b.watch()
		if err := b.Close(); err != nil {
			b.Fatal(err)
		}
		if err := <-w.ended; !errors.Is(err, store.ErrUnavailable) {
			b.Fatalf("Watch: %v, want ErrUnavailable", err)
		}
		if err := b.Store.(store.Watcher).Watch(b.Context(), func(store.News) {}); !errors.Is(err, store.ErrUnavailable) {
			b.Fatalf("Watch of a closed store: %v, want ErrUnavailable", err)
		}
	}},
}

func watches(s store.Store) bool {
	_, does := s.(store.Watcher)
	return does
}

type watch struct {
	b     *bench
	news  chan store.News
	stop  context.CancelFunc
	ended chan error
}

// watch begins one, and waits until it hears.
func (b *bench) watch() *watch {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	w := &watch{b, make(chan store.News, 1000), cancel, make(chan error, 1)}
	go func() { w.ended <- b.Store.(store.Watcher).Watch(ctx, func(n store.News) { w.news <- n }) }()
	b.Cleanup(cancel)
	if n := w.next(); n.Kind != store.Listening {
		b.Fatalf("the first news is %v, want Listening", n)
	}
	return w
}

// next waits for news. They come from another process: there is no clock to move.
func (w *watch) next() store.News {
	w.b.Helper()
	select {
	case n := <-w.news:
		return n
	case <-time.After(10 * time.Second):
		w.b.Fatal("no news in 10 s")
		return store.News{}
	}
}

// wantChange fails unless the next news is of this key.
func (w *watch) wantChange(key string) {
	w.b.Helper()
	if n := w.next(); n.Kind != store.Changed || n.Key != key {
		w.b.Fatalf("told of %s, want %.40q", fmt.Sprintf("%d %.40q %v", n.Kind, n.Key, n.Err), key)
	}
}
