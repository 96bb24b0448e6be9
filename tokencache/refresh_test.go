// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// bubble runs a test in a world whose time is free.
func bubble(t *testing.T, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

func TestFiftyCallsWithAnExpiredTokenRefreshOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.provider.delay = 3 * time.Second
		time.Sleep(2 * time.Hour)
		g := w.gateway()
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond) // all while it is under way
				if c := w.token(g, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
					t.Errorf("got %s", c.AccessToken.Reveal())
				}
			})
		}
		all.Wait()
		w.wantCalls(1, "all wait for the same one")
		if e := w.told(Refreshed); len(e) != 1 || e[0].Took != 3*time.Second || e[0].Key != key("ada") {
			t.Errorf("told %v", e)
		}
	})
}

func TestFiftyCallsThatWereRefusedRefreshOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.provider.delay = time.Second
		g := w.gateway()
		stale := w.token(g, key("ada"))
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond) // most of them late
				fresh, err := g.Renew(t.Context(), w.toolkit, stale)
				if err != nil || fresh.AccessToken.Equal(stale.AccessToken) {
					t.Errorf("Renew: %v, %v", fresh.AccessToken.Reveal(), err)
				}
			})
		}
		all.Wait()
		w.wantCalls(1, "latecomers take what is there")
	})
}

func TestWhoStartedARefreshMayHangUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.provider.delay = 5 * time.Second
		time.Sleep(2 * time.Hour)
		g := w.gateway()
		var all sync.WaitGroup
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := g.Token(ctx, w.toolkit, key("ada")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who hung up got %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() { w.token(g, key("ada")) })
		all.Wait()
		w.wantCalls(1, "the refresh belongs to nobody's request")
		if c := w.stored(key("ada")); !strings.HasSuffix(c.RefreshToken.Reveal(), "/2") || c.Intent != nil {
			t.Errorf("stored: %s, %v", c.RefreshToken.Reveal(), c.Intent)
		}
	})
}

func TestARefreshOutlivesEverybodyWhoWaited(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.provider.delay = 5 * time.Second
		time.Sleep(2 * time.Hour)
		g := w.gateway()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		if _, err := g.Token(ctx, w.toolkit, key("ada")); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		g.Close()
		w.token(w.gateway(), key("ada"))
		w.wantCalls(1, "the token was saved though nobody waited")
	})
}

func TestAnAnswerWithoutRefreshTokenKeepsTheOld(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.provider.keeps = true
		before := w.connect(key("ada"))
		g := w.gateway()
		for range 3 {
			time.Sleep(2 * time.Hour)
			w.token(g, key("ada"))
		}
		if c := w.stored(key("ada")); !c.RefreshToken.Equal(before.RefreshToken) || c.AccessToken.Equal(before.AccessToken) {
			t.Errorf("stored: %s, %s", c.RefreshToken.Reveal(), c.AccessToken.Reveal())
		}
		w.wantCalls(3, "one for each time it expired")
	})
}

func TestUsersAndTenantsAreNeverMixed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		keys := []connection.Key{
			{Tenant: "acme", User: "ada", Toolkit: "acme"}, {Tenant: "blue", User: "ada", Toolkit: "acme"},
			{Tenant: "acme", User: "bob", Toolkit: "acme"}, {Tenant: "acme", User: "ada", Toolkit: "acme", Account: "work"},
			{Tenant: "acme/ada", User: "x", Toolkit: "acme"}, {Tenant: "acme", User: "ada/x", Toolkit: "acme"},
		}
		want := map[connection.Key]string{}
		for _, k := range keys {
			name, _, _ := strings.Cut(w.connect(k).AccessToken.Reveal(), "/access/")
			want[k] = name + "/access/2"
		}
		w.provider.delay = time.Second
		time.Sleep(2 * time.Hour)
		g := w.gateway()
		var all sync.WaitGroup
		for range 10 {
			for _, k := range keys {
				all.Go(func() {
					if c := w.token(g, k); c.AccessToken.Reveal() != want[k] || c.Key != k {
						t.Errorf("%v got %s of %v", k, c.AccessToken.Reveal(), c.Key)
					}
				})
			}
		}
		all.Wait()
		w.wantCalls(len(keys), "one refresh for each")
	})
}

func TestAPanicInARefresherIsAnError(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.connect(key("ada"))
				time.Sleep(2 * time.Hour)
				g := w.gateway()
				w.provider.before = func(call int, _ string) error {
					if call == 1 {
						end()
					}
					return nil
				}
				_, err := g.Token(t.Context(), w.toolkit, key("ada"))
				if _, unusable := errors.AsType[*connection.Unusable](err); err == nil || unusable || problem.Of(err).Code != problem.Internal {
					t.Fatalf("got %v", err)
				}
				w.token(g, key("ada")) // and the lease is free again
			})
		})
	}
}

func TestTheSameAccessTokenWithALongerLifeIsARenewal(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before := w.connect(key("ada"))
		calls := 0
		same := refresherFunc(func() (oauth.Grant, error) {
			calls++
			return oauth.Grant{AccessToken: before.AccessToken, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}, nil
		})
		one, other := New(Config{Vault: w.vault}).Source(same, nil), New(Config{Vault: w.vault}).Source(same, nil)
		w.token(one, key("ada"))
		w.token(other, key("ada"))
		time.Sleep(2 * time.Hour)
		w.token(one, key("ada"))
		if c := w.token(other, key("ada")); c.Stale(time.Now()) || calls != 1 {
			t.Errorf("%d calls, good until %v", calls, c.ExpiresAt)
		}
	})
}

type refresherFunc func() (oauth.Grant, error)

func (f refresherFunc) Refresh(context.Context, *toolkit.OAuth2, secret.String) (oauth.Grant, error) {
	return f()
}

func TestAGrantForAnotherClientIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		time.Sleep(2 * time.Hour)
		for _, moved := range []toolkit.OAuth2{{TokenURL: "https://evil.example/token", ClientID: "client"}, {TokenURL: w.toolkit.OAuth.TokenURL, ClientID: "another"}} {
			tk := *w.toolkit
			tk.OAuth = &moved
			g := w.gateway()
			_, err := g.Token(t.Context(), &tk, key("ada"))
			wantUnusable(t, err, connection.Active, connection.GrantMoved)
			_, err = g.Renew(t.Context(), &tk, w.stored(key("ada")))
			wantUnusable(t, err, connection.Active, connection.GrantMoved)
		}
		w.wantCalls(0, "the refresh token stays here")
	})
}

func TestWithoutARefreshTokenAnEndedTokenMeansConnect(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.change(key("ada"), func(c *connection.Connection) { c.RefreshToken = secret.String{} })
		g := w.gateway()
		stale := w.token(g, key("ada"))
		_, err := g.Renew(t.Context(), w.toolkit, stale)
		wantUnusable(t, err, connection.Active, connection.ProviderRejected)
		time.Sleep(2 * time.Hour)
		w.store.down("lease") // none is needed to see that
		w.unusable(g, key("ada"), connection.Expired, connection.NoRefreshToken)
		w.connect(key("ada")) // at another gateway
		w.token(g, key("ada"))
		w.wantCalls(0, "there was nothing to send")
	})
}

func TestNobodyIsConnectedWhoHasNoRecord(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := w.gateway()
		w.unusable(g, key("ada"), connection.NotConnected, connection.NoConnection)
		w.connect(key("ada")) // at another gateway: this one did not take the absence for lasting
		time.Sleep(absentLife)
		w.token(g, key("ada"))
	})
}

func TestConnectingAtAnotherGatewayIsSeenHere(t *testing.T) {
	for _, status := range []connection.Status{connection.Expired, connection.Error, connection.Inactive, connection.Revoked} {
		bubble(t, func(t *testing.T, w *world) {
			w.connect(key("ada"))
			w.change(key("ada"), func(c *connection.Connection) { c.Status, c.Reason = status, "why" })
			g := w.gateway()
			w.unusable(g, key("ada"), status, "why")
			w.connect(key("ada"))
			w.token(g, key("ada"))
			// Deleted and made anew, a record begins at version 1 again.
			w.change(key("ada"), func(c *connection.Connection) { c.Status = status })
			g.Put(w.stored(key("ada")))
			if err := w.vault.Remove(t.Context(), w.stored(key("ada"))); err != nil {
				t.Fatal(err)
			}
			w.unusable(g, key("ada"), connection.NotConnected, connection.NoConnection)
			w.connect(key("ada"))
			time.Sleep(absentLife)
			w.token(g, key("ada"))
		})
	}
}

func TestAToolkitWithoutOAuthHasNothingToRenew(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		c := w.save(connection.Connection{Key: key("ada"), Status: connection.Active, AccessToken: secret.New("a key")})
		w.toolkit.OAuth = nil
		g := w.gateway()
		if got := w.token(g, key("ada")); got.AccessToken.Reveal() != "a key" {
			t.Errorf("got %s", got.AccessToken.Reveal())
		}
		_, err := g.Renew(t.Context(), w.toolkit, c)
		wantUnusable(t, err, connection.Active, connection.ProviderRejected)
	})
}

func TestAClosedCacheBeginsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.connect(key("bob"))
		g := w.gateway()
		w.token(g, key("ada"))
		g.Close()
		w.token(g, key("ada")) // what is known still works
		w.refused(g, key("bob"), problem.StorageUnavailable)
		time.Sleep(2 * time.Hour)
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		w.wantCalls(0, "it is closed")
	})
}

func TestClosingDoesNotWaitForWhoHasNotSpentAnythingYet(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		other, err := w.store.Store.Lease(t.Context(), leaseName(key("ada")), leaseLife)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() { w.refused(g, key("ada"), problem.RefreshUnavailable) })
		time.Sleep(time.Second)
		start := time.Now()
		g.Close()
		if took := time.Since(start); took > time.Second {
			t.Errorf("closing took %v", took)
		}
		all.Wait()
		w.wantCalls(0, "it would have been cut off")
		_ = other.Release(t.Context())
	})
}

// bring puts a refresh token alone in Ada's place, as an operator's command does at a
// gateway whose clock is half a minute ahead.
func (w *world) bring() {
	fresh := w.provider.grant("brought")
	w.change(key("ada"), func(c *connection.Connection) {
		at := time.Now().Add(30 * time.Second)
		c.AccessToken, c.RefreshToken, c.IssuedAt, c.ExpiresAt, c.UpdatedAt = secret.String{}, fresh.RefreshToken, at, at, at
	})
}

func TestAConnectionWithoutAnAccessTokenGetsOneBeforeItIsUsed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.bring()
		if c := w.token(w.gateway(), key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("got %q", c.AccessToken.Reveal())
		}
	})
}

func TestARefreshTokenThatIsBroughtInDuringARefreshIsNoAccessToken(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.after = func(int, string) error { w.bring(); return nil }
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		w.provider.after = nil
		time.Sleep(time.Second)
		if c := w.token(g, key("ada")); !strings.HasPrefix(c.AccessToken.Reveal(), "brought") {
			t.Errorf("got %q", c.AccessToken.Reveal())
		}
	})
}
