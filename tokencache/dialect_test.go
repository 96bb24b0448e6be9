// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// trader is a provider without refresh tokens: a token that lives buys the next one, once.
type trader struct {
	mu     sync.Mutex
	spent  []string
	asked  [][]string // the scopes
	scopes []string   // of the answers
	fail   error
}

// Refresh implements Refresher.
func (p *trader) Refresh(_ context.Context, o *toolkit.OAuth2, token secret.String) (oauth.Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spent, p.asked = append(p.spent, token.Reveal()), append(p.asked, o.Scopes)
	if p.fail != nil {
		return oauth.Grant{}, p.fail
	}
	now := time.Now()
	return oauth.Grant{AccessToken: secret.New(token.Reveal() + "+"), IssuedAt: now, ExpiresAt: now.Add(60 * 24 * time.Hour), Scopes: p.scopes}, nil
}

// facebook is a world of such tokens, with one that lives for 60 days.
func facebook(t *testing.T, test func(*testing.T, *world, *trader, *Source)) {
	t.Helper()
	bubble(t, func(t *testing.T, w *world) {
		w.toolkit.OAuth.RefreshWith = toolkit.WithAccessToken
		w.provider.life = 60 * 24 * time.Hour
		w.connect(key("ada"))
		w.change(key("ada"), func(c *connection.Connection) { c.RefreshToken, c.AccessToken = secret.String{}, secret.New("EAA") })
		p := &trader{}
		test(t, w, p, New(Config{Vault: w.vault}).Source(p, w.observe))
	})
}

// Facebook: there is no second chance after a token's end, so it is renewed at half its
// life, with itself.
func TestATokenThatPaysForItselfIsRenewedAtHalfItsLife(t *testing.T) {
	facebook(t, func(t *testing.T, w *world, p *trader, g *Source) {
		time.Sleep(29 * 24 * time.Hour)
		if c := w.token(g, key("ada")); c.AccessToken.Reveal() != "EAA" {
			t.Errorf("too early: %s", c.AccessToken.Reveal())
		}
		time.Sleep(2 * 24 * time.Hour)
		if c := w.token(g, key("ada")); c.AccessToken.Reveal() != "EAA+" || !c.RefreshToken.IsZero() {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		time.Sleep(31 * 24 * time.Hour)
		w.token(g, key("ada"))
		if !slices.Equal(p.spent, []string{"EAA", "EAA+"}) {
			t.Errorf("spent %q", p.spent)
		}
	})
}

func TestATokenThatHasEndedBuysNothing(t *testing.T) {
	facebook(t, func(t *testing.T, w *world, p *trader, g *Source) {
		time.Sleep(61 * 24 * time.Hour)
		w.unusable(g, key("ada"), connection.Expired, connection.NoRefreshToken)
		if len(p.spent) != 0 {
			t.Errorf("spent %q", p.spent)
		}
	})
}

// A token that was refused is as good as ended.
func TestATokenThatWasRefusedBuysNothing(t *testing.T) {
	facebook(t, func(t *testing.T, w *world, p *trader, g *Source) {
		stale := w.token(g, key("ada"))
		_, err := g.Renew(t.Context(), w.toolkit, stale)
		wantUnusable(t, err, connection.Active, connection.ProviderRejected)
		if len(p.spent) != 0 {
			t.Errorf("spent %q", p.spent)
		}
	})
}

func TestManyWhoMeetAtHalfTheLifePayOnce(t *testing.T) {
	facebook(t, func(t *testing.T, w *world, p *trader, g *Source) {
		other := New(Config{Vault: w.vault}).Source(p, w.observe)
		time.Sleep(31 * 24 * time.Hour)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { w.token([]*Source{g, other}[i%2], key("ada")) })
		}
		all.Wait()
		synctest.Wait()
		if !slices.Equal(p.spent, []string{"EAA"}) {
			t.Errorf("spent %q", p.spent)
		}
	})
}

// What was bought with an access token is not lost either where the store is away.
func TestATokenThatPaidForItselfIsHeld(t *testing.T) {
	facebook(t, func(t *testing.T, w *world, p *trader, g *Source) {
		time.Sleep(31 * 24 * time.Hour)
		puts := 0
		w.store.breaks(func(op, _ string) error {
			if op == "put" {
				if puts++; puts > 1 { // the intent, and then nothing more
					return errDown
				}
			}
			return nil
		})
		w.token(g, key("ada")) // the old one still works
		time.Sleep(time.Minute)
		w.store.up()
		time.Sleep(2 * saveAgain)
		if c := w.token(g, key("ada")); c.AccessToken.Reveal() != "EAA+" || w.stored(key("ada")).AccessToken.Reveal() != "EAA+" {
			t.Errorf("got %s", c.AccessToken.Reveal())
		}
		if len(p.spent) != 1 {
			t.Errorf("spent %q", p.spent)
		}
	})
}

func TestATokenThatPaysForItselfEndsWithADefiniteNo(t *testing.T) {
	facebook(t, func(t *testing.T, w *world, p *trader, g *Source) {
		p.fail = invalidGrant
		time.Sleep(31 * 24 * time.Hour)
		w.unusable(g, key("ada"), connection.Expired, connection.RefreshRejected)
	})
}

// auto_refresh off means that the token endpoint is never asked: not early, not late, and
// not after a 401.
func TestWithoutAutoRefreshNothingIsEverRefreshed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.toolkit.OAuth.NoRefresh = true
		stale := w.connect(key("ada"))
		g := w.gateway()
		time.Sleep(59 * time.Minute)
		w.token(g, key("ada"))
		_, err := g.Renew(t.Context(), w.toolkit, stale)
		wantUnusable(t, err, connection.Active, connection.ProviderRejected)
		time.Sleep(time.Hour)
		w.unusable(g, key("ada"), connection.Expired, connection.NoRefreshToken)
		w.wantCalls(0, "auto_refresh is off")
		// Nothing is lost by it: switched on again, the refresh token is still there.
		w.toolkit.OAuth.NoRefresh = false
		w.token(g, key("ada"))
		w.wantCalls(1, "auto_refresh is on again")
	})
}

func TestScopesThatAreLostOnARefreshAreTold(t *testing.T) {
	for _, c := range []struct {
		before, answer, after, lost []string
	}{
		{[]string{"a", "b"}, nil, []string{"a", "b"}, nil}, // not said: as before
		{[]string{"a", "b"}, []string{"b", "a"}, []string{"b", "a"}, nil},
		{[]string{"a", "b"}, []string{"a"}, []string{"a"}, []string{"b"}},
		{[]string{"a", "offline_access"}, []string{"a"}, []string{"a"}, nil},
		{nil, []string{"a"}, []string{"a"}, nil},
	} {
		facebook(t, func(t *testing.T, w *world, p *trader, g *Source) {
			w.change(key("ada"), func(conn *connection.Connection) { conn.Scopes = c.before })
			p.scopes = c.answer
			time.Sleep(31 * 24 * time.Hour)
			if conn := w.token(g, key("ada")); !slices.Equal(conn.Scopes, c.after) {
				t.Errorf("%+v: scopes %q", c, conn.Scopes)
			}
			var lost []string
			for _, e := range w.told(Narrowed) {
				lost = append(lost, e.Scopes...)
			}
			if !slices.Equal(lost, c.lost) || len(w.told(Refreshed)) != 1 {
				t.Errorf("%+v: told of %q", c, lost)
			}
		})
	}
}

// A scope that the operator added since then would have the refresh refused, and the
// connection ended.
func TestARefreshAsksForNoMoreThanWasGranted(t *testing.T) {
	facebook(t, func(t *testing.T, w *world, p *trader, g *Source) {
		w.toolkit.OAuth.Scopes = []string{"a", "new", "offline_access"}
		w.change(key("ada"), func(conn *connection.Connection) { conn.Scopes = []string{"a"} })
		time.Sleep(31 * 24 * time.Hour)
		w.token(g, key("ada"))
		if len(p.asked) != 1 || !slices.Equal(p.asked[0], []string{"a", "offline_access"}) {
			t.Errorf("asked for %q", p.asked)
		}
	})
}

// The token that was sent may have been worked on: it is not sent again before the rest
// is over, and the connection is not lost.
func TestAnUnknownOutcomeOfATokenThatPaysForItselfIsNoEnd(t *testing.T) {
	facebook(t, func(t *testing.T, w *world, p *trader, g *Source) {
		p.fail = away(false, 0)
		time.Sleep(31 * 24 * time.Hour)
		for range 5 {
			w.token(g, key("ada"))
		}
		if len(p.spent) != 1 || w.stored(key("ada")).Status != connection.Active {
			t.Errorf("spent %q", p.spent)
		}
		if e := w.told(Failed); len(e) != 1 {
			t.Errorf("told %v", e)
		}
	})
}
