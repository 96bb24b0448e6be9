// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

func TestRenewalIsDueWithinItsBounds(t *testing.T) {
	start := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		life, buffer     time.Duration
		earliest, latest time.Duration // before the end
		why              string
	}{
		{5 * time.Second, 0, time.Second, 500 * time.Millisecond, "short tokens are not renewed all the time"},
		{30 * time.Minute, 0, 5 * time.Minute, 3 * time.Minute, "10 to 20 %, at most 5 minutes"},
		{time.Hour, 0, 5 * time.Minute, 5 * time.Minute, "at most 5 minutes"},
		{365 * 24 * time.Hour, 0, 5 * time.Minute, 5 * time.Minute, "a long life does not overflow"},
		{10 * 365 * 24 * time.Hour, 0, 5 * time.Minute, 5 * time.Minute, "nor does the longest"},
		{time.Hour, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute, "as the toolkit says"},
		{time.Hour, 3 * time.Hour, 30 * time.Minute, 30 * time.Minute, "but never in the first half"},
	} {
		for micro := range 1000 {
			issued := start.Add(time.Duration(micro) * time.Microsecond)
			conn := connection.Connection{RefreshToken: secret.New("r"), IssuedAt: issued, ExpiresAt: issued.Add(c.life)}
			if renewalDue(&toolkit.OAuth2{RefreshBuffer: c.buffer}, conn, conn.ExpiresAt.Add(-c.earliest-time.Nanosecond)) {
				t.Fatalf("%v: due too early (%s), spread %d", c.life, c.why, micro)
			}
			if !renewalDue(&toolkit.OAuth2{RefreshBuffer: c.buffer}, conn, conn.ExpiresAt.Add(-c.latest)) {
				t.Fatalf("%v: due too late (%s), spread %d", c.life, c.why, micro)
			}
		}
	}
}

func TestTokensGrantedTogetherAreNotRenewedTogether(t *testing.T) {
	start := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	due := 0
	for i := range 1000 {
		issued := start.Add(time.Duration(i*137) * time.Microsecond) // within an eighth of a second
		conn := connection.Connection{RefreshToken: secret.New("r"), IssuedAt: issued, ExpiresAt: issued.Add(10 * time.Minute)}
		if renewalDue(&toolkit.OAuth2{}, conn, conn.ExpiresAt.Add(-90*time.Second)) {
			due++
		}
	}
	if due < 400 || due > 600 {
		t.Errorf("at the middle of the spread %d of 1000 are due", due)
	}
}

func TestWhatCannotBeRenewedIsNeverDue(t *testing.T) {
	now := time.Now()
	for why, conn := range map[string]connection.Connection{
		"no end":           {RefreshToken: secret.New("r"), IssuedAt: now.Add(-time.Hour)},
		"no refresh token": {IssuedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Second)},
	} {
		if renewalDue(&toolkit.OAuth2{}, conn, now) {
			t.Error(why)
		}
	}
}

// nearItsEnd gives a gateway whose token is due for renewal and still good.
func nearItsEnd(t *testing.T, w *world) *Source {
	t.Helper()
	w.connect(key("ada"))
	g := w.gateway()
	w.token(g, key("ada"))
	time.Sleep(56 * time.Minute)
	return g
}

func TestATokenIsRenewedAheadOfItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := nearItsEnd(t, w)
		w.provider.delay = time.Second
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if c := w.token(g, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
					t.Errorf("got %s: some providers end the old token at once", c.AccessToken.Reveal())
				}
			})
		}
		all.Wait()
		w.wantCalls(1, "once for all")
	})
}

func TestAGoodTokenIsUsedWhileEarlyRefreshesFail(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := nearItsEnd(t, w)
		for name, fault := range map[string]error{"away": away(true, 0), "invalid client": invalidClient} {
			w.provider.before = func(int, string) error { return fault }
			if c := w.token(g, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/1") {
				t.Errorf("%s: got %s", name, c.AccessToken.Reveal())
			}
			time.Sleep(30 * time.Second)
		}
		w.store.down("get", "put", "lease")
		w.token(g, key("ada"))
		w.store.up()
		w.provider.before = nil
		time.Sleep(time.Minute)
		if c := w.token(g, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("at last: got %s", c.AccessToken.Reveal())
		}
	})
}

func TestNobodyWaitsLongForAnEarlyRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := nearItsEnd(t, w)
		w.provider.delay = 30 * time.Second
		for i, want := range []time.Duration{2 * time.Second, 0, 0} {
			start := time.Now()
			c := w.token(g, key("ada"))
			if took := time.Since(start); took != want || !strings.HasSuffix(c.AccessToken.Reveal(), "/1") {
				t.Errorf("call %d took %v and got %s", i, took, c.AccessToken.Reveal())
			}
			time.Sleep(5 * time.Second)
		}
		time.Sleep(30 * time.Second)
		if c := w.token(g, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("afterwards: got %s", c.AccessToken.Reveal())
		}
		w.wantCalls(1, "the slow one")
	})
}

func TestACallWaitsOnlyForAShareOfAShortTokensRest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.provider.life = 5 * time.Second
		w.connect(key("ada"))
		g := w.gateway()
		time.Sleep(4800 * time.Millisecond)
		w.provider.delay = 10 * time.Second
		start := time.Now()
		c := w.token(g, key("ada"))
		if took := time.Since(start); took != 100*time.Millisecond || c.Stale(time.Now()) {
			t.Errorf("took %v, stale: %v", took, c.Stale(time.Now()))
		}
		// What expires while the refresh is slow waits for it to the end.
		time.Sleep(time.Second)
		if c := w.token(g, key("ada")); !strings.HasSuffix(c.AccessToken.Reveal(), "/2") {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		w.wantCalls(1, "the same refresh")
	})
}

func TestARefusalOfAnEarlyRefreshIsDefinite(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := nearItsEnd(t, w)
		w.provider.before = func(int, string) error { return invalidGrant }
		w.unusable(g, key("ada"), connection.Expired, connection.RefreshRejected)
	})
}
