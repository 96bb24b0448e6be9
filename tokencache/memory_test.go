// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"fmt"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
)

func TestWhoIsNotConnectedIsLookedForOnceASecond(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g, reads := w.gateway(), 0
		w.store.breaks(func(op, _ string) error {
			if op == "get" {
				reads++
			}
			return nil
		})
		for range 1000 {
			w.unusable(g, key("ada"), connection.NotConnected, connection.NoConnection)
			time.Sleep(10 * time.Millisecond)
		}
		if reads != 10 {
			t.Errorf("in ten seconds the store was asked %d times", reads)
		}
		w.unusable(g, key("ada"), connection.NotConnected, connection.NoConnection)
		g.Put(w.connect(key("ada"))) // who connects here is there at once
		w.token(g, key("ada"))
	})
}

func TestInventedUsersTakeNoMoreRoomThanOthers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := w.gatewayWith(Config{MaxEntries: 100})
		for i := range 1000 {
			w.unusable(g, key(fmt.Sprint(i)), connection.NotConnected, connection.NoConnection)
		}
		if n := len(g.absent); n > 100 {
			t.Errorf("%d are kept", n)
		}
		time.Sleep(time.Minute)
		if g.Tidy(); len(g.absent) != 0 {
			t.Errorf("%d are left", len(g.absent))
		}
	})
}

func TestWhatNobodyUsesIsNotKeptInMemory(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for _, user := range []string{"ada", "bob", "eve"} {
			w.connect(key(user))
		}
		g := w.gateway()
		for _, user := range []string{"ada", "bob"} {
			w.token(g, key(user))
		}
		time.Sleep(2 * time.Hour)
		w.provider.after = func(int, string) error { w.store.down("put"); return nil }
		w.token(g, key("eve")) // which cannot be saved
		for range 20 {
			time.Sleep(time.Minute)
			w.token(g, key("eve"))
			g.Tidy()
		}
		if _, known := g.peek(key("ada")); known {
			t.Error("ada's token is still in memory")
		}
		time.Sleep(time.Hour)
		g.Tidy()
		if e, known := g.peek(key("eve")); !known || e.held == nil {
			t.Error("eve's token, which exists nowhere else, is gone")
		}
		w.store.up()
		time.Sleep(2 * saveAgain)
		w.provider.after = nil
		time.Sleep(idleLife)
		g.Tidy()
		if len(g.entries) != 0 {
			t.Errorf("%d are left", len(g.entries))
		}
		w.token(g, key("eve"))
	})
}
