// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
)

func TestASlowReadDoesNotBringBackWhatWasReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		old := w.stored(key("ada"))
		slow := &slowVault{Vault: w.vault, answer: old, wait: time.Second}
		g := New(Config{Vault: slow}).Source(w.provider, nil)
		var all sync.WaitGroup
		all.Go(func() { w.token(g, key("ada")) })
		synctest.Wait()
		fresh := w.connect(key("ada"))
		g.Put(fresh)
		all.Wait()
		if c := w.token(g, key("ada")); !c.AccessToken.Equal(fresh.AccessToken) {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		g.Put(old) // nor does somebody who is late with it
		if c := w.token(g, key("ada")); !c.AccessToken.Equal(fresh.AccessToken) {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
	})
}

// slowVault answers with what it had read before it fell asleep.
type slowVault struct {
	Vault
	answer connection.Connection
	wait   time.Duration
}

func (v *slowVault) Load(context.Context, connection.Key) (connection.Connection, error) {
	time.Sleep(v.wait)
	return v.answer, nil
}

func TestManyWhoAskAtOnceReadOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		var mu sync.Mutex
		reads := 0
		w.store.breaks(func(op, _ string) error {
			mu.Lock()
			reads++
			mu.Unlock()
			time.Sleep(time.Second)
			return nil
		})
		g := w.gateway()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { w.token(g, key("ada")) })
		}
		all.Wait()
		w.token(g, key("ada"))
		if reads != 1 {
			t.Errorf("%d reads", reads)
		}
	})
}

func TestWhoHangsUpDuringAReadIsToldSo(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.store.breaks(func(string, string) error { time.Sleep(time.Second); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := w.gateway().Token(ctx, w.toolkit, key("ada")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, as if the store were to blame", err)
		}
		time.Sleep(time.Second)
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := w.gatewayWith(Config{MaxEntries: 10})
		for i := range 100 {
			k := key(fmt.Sprint("user", i))
			w.connect(k)
			if c := w.token(g, k); c.Key != k {
				t.Errorf("%v got the token of %v", k, c.Key)
			}
		}
		if n := len(g.entries); n != 10 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestAFullCacheOfFaultsStaysBoundedAndCalm(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := w.gatewayWith(Config{MaxEntries: 30})
		for i := range 100 {
			w.connect(key(fmt.Sprint("user", i)))
		}
		time.Sleep(2 * time.Hour)
		w.provider.before = func(int, string) error { return away(true, time.Hour) }
		for i := range 100 {
			_, _ = g.Token(t.Context(), w.toolkit, key(fmt.Sprint("user", i)))
		}
		if n := len(g.entries); n > 31 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestNewcomersDoNotPushOutWhatRests(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		time.Sleep(2 * time.Hour)
		g := w.gatewayWith(Config{MaxEntries: 5})
		w.provider.before = func(int, string) error { return away(true, time.Hour) }
		for i := range 50 {
			w.refused(g, key("ada"), problem.RefreshUnavailable)
			k := key(fmt.Sprint("user", i))
			w.connect(k)
			w.token(g, k)
		}
		w.wantCalls(1, "the endpoint rests, however full the cache is")
	})
}

func TestNobodyWaitsForWorkThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flight[string, int]
		slow := func(context.Context) (int, error) { time.Sleep(time.Second); return 1, nil }
		var all sync.WaitGroup
		all.Go(func() {
			if v, err := f.do(t.Context(), "k", time.Minute, slow); v != 1 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		})
		synctest.Wait()
		all.Go(f.end)
		synctest.Wait()
		if _, err := f.do(t.Context(), "k2", time.Minute, slow); !errors.Is(err, errOver) {
			t.Errorf("begun after the end: %v", err)
		}
		if v, err := f.do(t.Context(), "k", time.Minute, slow); v != 1 || err != nil {
			t.Errorf("who comes while the last is under way: %d, %v", v, err)
		}
		all.Wait()
		f.end()
	})
}

func TestWorkHasATimeOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flight[string, int]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		ended := make(chan time.Duration, 1)
		_, err := f.do(ctx, "k", time.Minute, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			ended <- time.Since(start)
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("the caller got %v after %v", err, time.Since(start))
		}
		if took := <-ended; took != time.Minute {
			t.Errorf("the work ended after %v", took)
		}
	})
}

func TestNoErrorHoldsASecret(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		var all []error
		ask := func() {
			_, err := g.Token(t.Context(), w.toolkit, key("ada"))
			all = append(all, err)
			time.Sleep(2 * time.Minute)
		}
		for _, fault := range []error{away(true, 0), away(false, 0), invalidClient} {
			w.provider.before = func(int, string) error { return fault }
			ask()
		}
		w.provider.before = nil
		w.breaksAfterTheRequest(time.Minute)
		ask()
		w.provider.after = nil
		for _, op := range []string{"get", "put", "lease"} {
			time.Sleep(2 * time.Hour)
			w.store.down(op)
			ask()
		}
		for _, e := range w.events {
			all = append(all, e.Err)
		}
		for _, err := range all {
			if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, "/refresh/") || strings.Contains(text, "/access/") {
				t.Errorf("%s", text)
			}
		}
	})
}

func BenchmarkToken(b *testing.B) {
	k := key("ada")
	conn := connection.Connection{
		Key: k, Version: 3, Status: connection.Active, AccessToken: secret.New("a"), RefreshToken: secret.New("r"),
		IssuedAt: time.Now(), ExpiresAt: time.Now().Add(24 * time.Hour), Granted: connection.Grantee{Issuer: "https://id.example/token", ClientID: "client"},
	}
	tk := newWorld(b).toolkit
	g := New(Config{Vault: absent{}}).Source(nil, nil)
	for i := range 1000 {
		conn.User = fmt.Sprint(i)
		g.Put(conn)
	}
	k = conn.Key
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.Token(b.Context(), tk, k); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := g.Token(context.Background(), tk, k); err != nil {
					b.Fatal(err)
				}
				g.Worked(k)
			}
		})
	})
}

// absent is a vault that must not be asked.
type absent struct{}

func (absent) Load(context.Context, connection.Key) (connection.Connection, error) {
	return connection.Connection{}, store.ErrUnavailable
}

func (absent) Save(context.Context, connection.Connection) (connection.Connection, error) {
	return connection.Connection{}, store.ErrUnavailable
}

func (absent) Lease(context.Context, string, time.Duration) (store.Lease, error) {
	return store.Lease{}, store.ErrUnavailable
}

func (absent) OfToolkit(context.Context, string, string, int) ([]connection.Connection, string, error) {
	return nil, "", store.ErrUnavailable
}

func (absent) Accounts(context.Context, connection.Key) (connection.Accounts, error) {
	return connection.Accounts{}, store.ErrUnavailable
}
