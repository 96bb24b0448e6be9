// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"errors"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
)

// account is Ada's connection with that account, or what an agent calls it.
func account(name string) connection.Key {
	k := key("ada")
	k.Account = name
	return k
}

// labelled connects a further account of Ada's.
func (w *world) labelled(id, label string) connection.Connection {
	w.t.Helper()
	w.connect(account(id))
	return w.change(account(id), func(c *connection.Connection) { c.AccountLabel = label })
}

func (w *world) setDefault(g *Source, k connection.Key) {
	w.t.Helper()
	first, err := w.vault.SetDefault(w.t.Context(), k)
	if err != nil {
		w.t.Fatal(err)
	}
	if g != nil {
		g.Put(first)
	}
}

// gets wants that an agent which names an account gets its token.
func (w *world) gets(g *Source, name string, want connection.Connection) {
	w.t.Helper()
	if got := w.token(g, account(name)); got.ID != want.ID || got.Key != want.Key || !got.AccessToken.Equal(want.AccessToken) {
		w.t.Errorf("%q gets %s of %+v, want %s", name, got.AccessToken.Reveal(), got.Key, want.AccessToken.Reveal())
	}
}

func (w *world) wantAmbiguous(g *Source, name string, choices int) {
	w.t.Helper()
	_, err := g.Token(w.t.Context(), w.toolkit, account(name))
	if several, ok := errors.AsType[*connection.Ambiguous](err); !ok || len(several.Choices) != choices {
		w.t.Errorf("%q: %v, want a choice among %d", name, err, choices)
	}
}

func TestACallThatNamesAnAccountGetsItsTokenAndNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.connect(key("ada"))
		first = w.change(first.Key, func(c *connection.Connection) { c.AccountLabel, c.Label = "ada@work.example", "Work" })
		home := w.labelled("conn_home", "ada@home.example")
		w.connect(key("bob"))
		w.change(key("bob"), func(c *connection.Connection) { c.AccountLabel = "bob@work.example" })
		g := w.gateway()
		for range 2 { // from the store, and from memory
			w.gets(g, "", first)
			w.gets(g, "conn_1", first)
			w.gets(g, "work", first)
			w.gets(g, "Ada@work.example", first)
			w.gets(g, "conn_home", home)
			w.gets(g, "ada@home.example", home)
			for _, stranger := range []string{"bob@work.example", "conn_2", "ada@home", "ada"} {
				w.unusable(g, account(stranger), connection.NotConnected, connection.NoConnection)
			}
		}
	})
}

func TestTheDefaultIsTheUsersToChoose(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first, home := w.connect(key("ada")), w.labelled("conn_home", "ada@home.example")
		g := w.gateway()
		w.gets(g, "", first)
		w.setDefault(g, home.Key)
		w.gets(g, "", home)
		w.gets(g, "conn_1", w.stored(first.Key))
		w.setDefault(g, first.Key)
		w.gets(g, "", w.stored(first.Key))
	})
}

func TestWithoutADefaultTheAgentHasToChoose(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first, home := w.connect(key("ada")), w.labelled("conn_home", "ada@home.example")
		club := w.labelled("conn_club", "ada@club.example")
		g := w.gateway()
		w.gets(g, "", first)
		if err := w.vault.Remove(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		g.Forget(first.Key)
		w.wantAmbiguous(g, "", 2)
		w.gets(g, "conn_club", club)
		if err := w.vault.Remove(t.Context(), club); err != nil {
			t.Fatal(err)
		}
		g.Forget(club.Key)
		w.gets(g, "", home) // the only one that is left
	})
}

func TestAnAccountThatHasEndedIsNotReplacedByAnother(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.connect(key("ada"))
		w.labelled("conn_home", "ada@home.example")
		w.change(first.Key, func(c *connection.Connection) {
			c.Status, c.Reason = connection.Expired, connection.RefreshRejected
		})
		g := w.gateway()
		w.unusable(g, account(""), connection.Expired, connection.RefreshRejected)
		w.unusable(g, account("conn_1"), connection.Expired, connection.RefreshRejected)
	})
}

func TestAChosenDefaultWorksThoughTheFirstHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first, home := w.connect(key("ada")), w.labelled("conn_home", "ada@home.example")
		w.setDefault(nil, home.Key)
		w.change(first.Key, func(c *connection.Connection) {
			c.Status, c.Reason = connection.Expired, connection.RefreshRejected
		})
		w.gets(w.gateway(), "", home)
	})
}

func TestWhatIsSwitchedOffIsNotUsedAndNotRenewed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.connect(key("ada"))
		g := w.gateway()
		w.gets(g, "", first)
		off := w.change(first.Key, func(c *connection.Connection) {
			c.Status, c.Reason = connection.Inactive, connection.SwitchedOff
		})
		g.Put(off)
		time.Sleep(2 * time.Hour)
		w.unusable(g, account(""), connection.Inactive, connection.SwitchedOff)
		if _, err := g.Refresh(t.Context(), w.toolkit, off); err == nil {
			t.Error("it was renewed")
		}
		w.wantCalls(0, "it is at rest")
		on := w.change(first.Key, func(c *connection.Connection) { c.Status, c.Reason = connection.Active, "" })
		g.Put(on)
		w.token(g, account(""))
		w.wantCalls(1, "it is used again")
	})
}

// The answer to a refresh that was under way comes after the switch.
func TestARefreshUnderWayDoesNotEndTheRest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.connect(key("ada"))
		time.Sleep(2 * time.Hour)
		g := w.gateway()
		w.provider.after = func(int, string) error {
			off, err := w.stored(first.Key).After(connection.SwitchOff, connection.SwitchedOff, time.Now())
			if err == nil {
				g.Put(w.save(off))
			}
			return err
		}
		w.unusable(g, account(""), connection.Inactive, connection.SwitchedOff)
		if c := w.stored(first.Key); c.Status != connection.Inactive || c.RefreshToken.Equal(first.RefreshToken) {
			t.Errorf("%s with %s", c.Status, c.RefreshToken.Reveal())
		}
	})
}

func TestATokenIsRenewedOnDemandOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.connect(key("ada"))
		g := w.gateway()
		for range 2 { // a double click: both have seen the same token
			fresh, err := g.Refresh(t.Context(), w.toolkit, first)
			if err != nil || fresh.AccessToken.Equal(first.AccessToken) {
				t.Errorf("%s, %v", fresh.AccessToken.Reveal(), err)
			}
		}
		w.wantCalls(1, "the second saw an old one")
		bare := *w.toolkit
		bare.OAuth = nil
		_, err := g.Refresh(t.Context(), &bare, first)
		wantUnusable(t, err, connection.Expired, connection.NoRefreshToken)
	})
}

func TestEachAccountIsRenewedForItself(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first, home := w.connect(key("ada")), w.labelled("conn_home", "ada@home.example")
		time.Sleep(2 * time.Hour)
		g := w.gateway()
		for name, before := range map[string]connection.Connection{"": first, "ada@home.example": home} {
			fresh := w.token(g, account(name))
			if fresh.Key != before.Key || fresh.AccessToken.Equal(before.AccessToken) || !w.stored(before.Key).AccessToken.Equal(fresh.AccessToken) {
				t.Errorf("%q: %+v", name, fresh)
			}
		}
		w.wantCalls(2, "one for each account")
	})
}

// A roster of a moment ago may say who had a label before it went to another account.
func TestALabelThatHasMovedOnGivesNobodyElsesToken(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		old, now := w.labelled("conn_old", "old"), w.labelled("conn_now", "work")
		g := w.gateway()
		stale := roster{asOf: time.Now(), Accounts: connection.Accounts{All: []connection.Choice{{Account: old.Account, ID: old.ID, Label: "work"}}}}
		g.rosters.known[key("ada")] = stale
		w.gets(g, "work", now)
	})
}

func TestWhoHasOneConnectionNeverNeedsAList(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.connect(key("ada"))
		reads := 0
		w.store.breaks(func(op, _ string) error {
			if reads++; op == "list" {
				return errDown
			}
			return nil
		})
		g := w.gateway()
		for range 3 {
			w.gets(g, "", first)
		}
		if reads != 1 {
			t.Errorf("%d operations of the store", reads)
		}
	})
}

func TestAStoreThatIsAwayIsNoMissingAccount(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.labelled("conn_home", "ada@home.example")
		w.store.down("list", "get")
		g := w.gateway()
		w.refused(g, account("ada@home.example"), problem.StorageUnavailable)
		w.store.down("list")
		if err := w.vault.Remove(t.Context(), w.stored(key("ada"))); err != nil {
			t.Fatal(err)
		}
		w.refused(g, account(""), problem.StorageUnavailable)
	})
}

func TestAnAccountConnectedElsewhereIsFeltAtOnce(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		w.unusable(source, account("ada@home.example"), connection.NotConnected, connection.NoConnection)
		home := w.labelled("conn_home", "ada@home.example")
		w.gets(source, "ada@home.example", home)
		w.setDefault(nil, home.Key)
		w.gets(source, "", home)
	})
}

func TestAnAccountConnectedElsewhereIsFeltWithinASecondUntold(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		g.line(true)
		w.unusable(source, account("ada@home.example"), connection.NotConnected, connection.NoConnection)
		home := w.labelled("conn_home", "ada@home.example")
		time.Sleep(absentLife)
		w.gets(source, "ada@home.example", home)
	})
}

func TestADefaultChosenElsewhereIsFeltUntoldToo(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		first, home := w.stored(key("ada")), w.labelled("conn_home", "ada@home.example")
		w.setDefault(nil, home.Key)
		w.gets(source, "", home)
		g.line(true)
		w.setDefault(nil, first.Key)
		time.Sleep(DeafTrust)
		w.gets(source, "", w.stored(first.Key))
	})
}

// What is read while something changes is of before the change.
func TestARosterThatWasOvertakenIsNotKept(t *testing.T) {
	shared(t, func(t *testing.T, w *world, g *gossip, source *Source) {
		var home connection.Connection
		w.store.breaks(func(op, _ string) error {
			if op == "list" {
				w.store.up()
				g.tell(store.News{Kind: store.Changed, Key: "connection/acme/ada/acme/conn_home"})
			}
			return nil
		})
		w.unusable(source, account("ada@home.example"), connection.NotConnected, connection.NoConnection)
		if len(source.rosters.known) != 0 {
			t.Error("it is kept")
		}
		home = w.labelled("conn_home", "ada@home.example")
		w.gets(source, "ada@home.example", home)
	})
}

func TestInventedAccountsDoNotFillTheMemory(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := w.gatewayWith(Config{MaxEntries: 10})
		for i := range 100 {
			k := key(string(rune('a'+i%26)) + string(rune('a'+i/26)))
			k.Account = "invented"
			w.unusable(g, k, connection.NotConnected, connection.NoConnection)
		}
		if n := len(g.rosters.known); n > 10 {
			t.Errorf("%d rosters", n)
		}
		time.Sleep(idleLife + time.Second)
		g.Tidy()
		if n := len(g.rosters.known); n != 0 {
			t.Errorf("%d rosters of long ago", n)
		}
	})
}

func BenchmarkTokenByAccount(b *testing.B) {
	w := newWorld(b)
	w.provider.life = 240 * time.Hour
	w.connect(key("ada"))
	k := account("conn_home")
	w.connect(k)
	w.change(k, func(c *connection.Connection) { c.Label = "home"; c.AccessToken = secret.New("x") })
	g := w.gateway()
	for _, name := range []string{"conn_home", "home"} {
		b.Run(name, func(b *testing.B) {
			k := account(name)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Token(b.Context(), w.toolkit, k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestUseIsWrittenDownOnceAnHour(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.provider.life = 100 * time.Hour
		before := w.connect(key("ada"))
		idle := w.connect(key("bob"))
		writes := 0
		w.store.breaks(func(op, _ string) error {
			if op == "put" {
				writes++
			}
			return nil
		})
		g := w.gateway()
		g.Put(idle) // connected, and not used
		began := time.Now().UTC().Truncate(time.Second)
		for range 60 * 3 { // three hours of calls, and of the job in the background
			w.token(g, key("ada"))
			if _, err := g.NoteUse(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if writes != 3 {
			t.Errorf("%d writes", writes)
		}
		if c := w.stored(key("ada")); !c.LastUsed.Equal(began.Add(2*time.Hour)) || !c.UpdatedAt.Equal(before.UpdatedAt) || !c.AccessToken.Equal(before.AccessToken) {
			t.Errorf("last used %s, stored %+v", c.LastUsed, c)
		}
		if c := w.stored(key("bob")); !c.LastUsed.IsZero() || c.Version != idle.Version {
			t.Errorf("nobody used %+v", c)
		}
	})
}

func TestNotingUseGivesWayToWhoeverElseWrites(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.connect(key("bob"))
		g := w.gateway()
		w.token(g, key("ada"))
		w.token(g, key("bob"))
		again := w.connect(key("ada")) // at another gateway, whose news has not come
		if err := w.vault.Remove(t.Context(), w.stored(key("bob"))); err != nil {
			t.Fatal(err)
		}
		if n, err := g.NoteUse(t.Context()); n != 0 || err != nil {
			t.Errorf("noted %d, %v", n, err)
		}
		if c := w.stored(key("ada")); c.Version != again.Version || !c.AccessToken.Equal(again.AccessToken) {
			t.Errorf("stored: %+v", c)
		}
		if _, err := w.vault.Load(t.Context(), key("bob")); !errors.Is(err, connection.ErrNotConnected) {
			t.Errorf("what was taken away is back: %v", err)
		}
	})
}

// A refresh is under way: its intent and what it gives stay.
func TestNotingUseLosesNoRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.connect(key("ada"))
		g := w.gateway()
		w.token(g, key("ada"))
		time.Sleep(2 * time.Hour)
		w.provider.after = func(int, string) error {
			if n, err := g.NoteUse(t.Context()); n != 0 || err != nil {
				t.Errorf("noted %d, %v", n, err)
			}
			return nil
		}
		fresh := w.token(g, key("ada"))
		if n, err := g.NoteUse(t.Context()); n != 1 || err != nil {
			t.Errorf("noted %d, %v", n, err)
		}
		if c := w.stored(key("ada")); !c.RefreshToken.Equal(fresh.RefreshToken) || c.RefreshToken.Equal(first.RefreshToken) || c.Intent != nil || c.LastUsed.IsZero() {
			t.Errorf("stored: %+v", c)
		}
	})
}
