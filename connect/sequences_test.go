// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/filestore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// life is what a user and a provider do to connections, in some order.
type life struct {
	*world
	raw    store.Store
	random *rand.Rand
	was    map[string]connection.Status // by id
	log    []string
}

// scanner is a store that lists all that it has; each one does.
type scanner interface {
	store.Store
	store.Scanner
}

func newLife(t *testing.T, seed uint64, file bool) *life {
	w := newWorld(t, behindASite, tellsReads, withAgents(alice.Agent, otherBot.Agent))
	l := &life{world: w, raw: w.store, random: rand.New(rand.NewPCG(seed, 3)), was: map[string]connection.Status{}}
	if !file {
		return l
	}
	s := filestore.New(filestore.Config{Path: filepath.Join(t.TempDir(), "store.db"), Now: w.clock.now})
	t.Cleanup(func() { s.Close() })
	ring, err := seal.ParseRing(strings.Repeat("0123456789abcdef", seal.KeySize/8))
	if err != nil {
		t.Fatal(err)
	}
	l.raw, w.vault = s, vault.New(s, ring)
	w.reload(func(cfg *connect.Config) { cfg.Vault = w.vault })
	return l
}

func pickOne[T any](l *life, of ...T) T { return of[l.random.IntN(len(of))] }

// step lets one thing happen.
func (l *life) step(t *testing.T) {
	l.clock.pass(time.Minute)
	b := newBrowserAs(l.world, alice.User)
	all := l.accounts().All
	id := ""
	if len(all) > 0 {
		id = pickOne(l, all...).ID
	}
	switch what := l.random.IntN(17); {
	case what == 14 || id == "" && what > 6:
		name := pickOne(l, "", "home", "bob@acme.example")
		l.log = append(l.log, fmt.Sprintf("set up %q", name))
		_, _, err := l.service.Stage(t.Context(), "req", aliceKey, name)
		if _, several := errors.AsType[*connection.Ambiguous](err); err != nil && !several {
			t.Fatal(err)
		}
	case what == 15 && id != "":
		as := pickOne(l, "alice", "bob")
		l.log = append(l.log, "connect "+id+" as "+as)
		if p := b.undo(t, id, "connect"); strings.Contains(p.text, "<h1>Connect ") {
			l.log = append(l.log, "- what was set up")
			l.goesOn(b, p, as)
		}
	case what == 16 && id != "":
		deed := pickOne(l, "reading", "writing")
		l.log = append(l.log, deed+" "+id)
		b.undo(t, id, deed)
	case what < 4 || id == "":
		wanted, as, who := pickOne(l, "", "alice@acme.example", "bob@acme.example", "home", id), pickOne(l, "alice", "bob", "carol"), pickOne(l, alice, otherBot)
		l.log = append(l.log, fmt.Sprintf("%s has %q connected as %s", who.Agent, wanted, as))
		if link := l.linkOf(who, wanted); link != "" {
			l.goesOn(b, b.get(link), as)
		}
	case what == 10:
		as := pickOne(l, "alice", "bob", "carol")
		l.log = append(l.log, "another as "+as)
		l.goesOn(b, b.undo(t, id, "another"), as)
	case what == 11:
		name := pickOne(l, "home", "", "Work")
		l.log = append(l.log, fmt.Sprintf("rename %s to %q", id, name))
		b.renames(t, id, name)
	case what > 11:
		agent, deed := pickOne(l, alice.Agent, otherBot.Agent), pickOne(l, "allow", "withdraw")
		l.log = append(l.log, deed+" "+agent+" "+id)
		b.lets(t, id, agent, deed)
	case what < 8:
		deed := pickOne(l, "default", "off", "on", "disconnect", "disconnect")
		l.log = append(l.log, deed+" "+id)
		b.undo(t, id, deed)
	case what == 8:
		h := pickOne(l, connection.RefreshEnded, connection.TokenRefused, connection.Renewed)
		l.log = append(l.log, string(h)+" "+id)
		if c, err := l.named(id).After(h, connection.RefreshRejected, l.clock.now()); err == nil {
			if _, err := l.vault.Save(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	case l.random.IntN(4) == 0:
		l.log = append(l.log, "forget")
		if _, err := l.service.Forget(t.Context(), "req", alice.Tenant, alice.User); err != nil {
			t.Fatal(err)
		}
	}
}

// linkOf is the link for an account, as an agent names it. "": that may be several, of which
// its user has to choose one.
func (l *life) linkOf(who caller.Caller, account string) string {
	l.t.Helper()
	made, err := l.service.LinkFor(l.t.Context(), who, connect.Ask{Toolkits: []string{"acme"}, Account: account})
	if _, several := errors.AsType[*connection.Ambiguous](err); several {
		all, meant := l.accounts(), 0
		for _, c := range all.All {
			if c.Means(account) || account == "" && all.Nobody {
				meant++
			}
		}
		if meant > 1 {
			return ""
		}
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return made.URL
}

// goesOn does what a link's page asks for.
func (l *life) goesOn(b *browser, p *page, as string) {
	l.t.Helper()
	if p.status == http.StatusTooManyRequests {
		return // another was asked for again and again
	}
	if strings.Contains(p.text, "<h1>Let ") {
		l.log = append(l.log, "- who is let in")
		b.press(p).says(l.t, "Allowed")
		return
	}
	b.get(b.answer(b.press(p), as, "allow"))
}

// agents looks at who may use each connection.
func (l *life) agents(t *testing.T) {
	t.Helper()
	for _, c := range l.accounts().All {
		conn := l.named(c.ID)
		all := slices.Concat(conn.Agents, conn.Barred)
		slices.Sort(all)
		if conn.Agents == nil || len(slices.Compact(all)) != len(conn.Agents)+len(conn.Barred) || slices.Contains(all, "") {
			t.Errorf("%s is for %q and not for %q", c.ID, conn.Agents, conn.Barred)
		}
	}
}

// whole looks whether the store is in order.
func (l *life) whole(t *testing.T) {
	t.Helper()
	records, err := l.raw.(scanner).Scan(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	var names, listed []string
	defaults := 0
	for _, r := range records {
		switch kind, _, _ := strings.Cut(r.Key, "/"); kind {
		case "connection":
			names = append(names, r.Key)
		case "default":
			defaults++
		}
	}
	for _, term := range []string{vault.Name("user", alice.Tenant, alice.User), vault.Name("toolkit", "acme")} {
		listed = listed[:0]
		found, err := l.raw.List(t.Context(), term, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			if strings.HasPrefix(r.Key, "connection/") {
				listed = append(listed, r.Key)
			}
		}
		if !slices.Equal(names, listed) {
			t.Errorf("there are %v, and %s lists %v", names, term, listed)
		}
	}
	all := l.accounts()
	if defaults > 1 || defaults == 1 && len(all.All) == 0 || len(all.All) != len(names) {
		t.Errorf("%d defaults of %+v, %v", defaults, all, names)
	}
	l.legal(t, all)
	l.agents(t)
}

// legal looks at what has become of each connection in one step.
func (l *life) legal(t *testing.T, all connection.Accounts) {
	t.Helper()
	now := map[string]connection.Status{}
	for _, c := range all.All {
		if _, twice := now[c.ID]; twice || c.ID == "" || c.Account != "" && c.Account != c.ID {
			t.Errorf("%+v among %+v", c, all.All)
		}
		now[c.ID] = c.Status
		from, known := l.was[c.ID]
		if known && from == c.Status {
			continue
		}
		if !slices.ContainsFunc(everything, func(h connection.Happening) bool {
			next, allowed := from.After(h)
			return allowed && next == c.Status
		}) {
			t.Errorf("%s went from %q to %s", c.ID, from, c.Status)
		}
	}
	if !all.Nobody && len(all.All) > 0 && !slices.ContainsFunc(all.All, func(c connection.Choice) bool { return c.Account == all.Default }) {
		t.Errorf("the default is %q of %+v", all.Default, all.All)
	}
	l.was = now
}

var everything = []connection.Happening{
	connection.Staged, connection.Granted, connection.Renewed, connection.RefreshEnded, connection.TokenRefused, connection.SwitchOff, connection.SwitchOn,
}

func TestWhateverHappensTheStoreIsInOrder(t *testing.T) {
	setUp := false
	for _, file := range []bool{false, true} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("file %v, seed %d", file, seed), func(t *testing.T) {
				l := newLife(t, seed, file)
				for range 70 {
					l.step(t)
					if l.whole(t); t.Failed() {
						t.Fatalf("after:\n%s", strings.Join(l.log, "\n"))
					}
				}
				if !slices.Contains(l.log, "- who is let in") {
					t.Error("nobody was let in")
				}
				setUp = setUp || slices.Contains(l.log, "- what was set up")
				if len(l.log) < 50 {
					t.Errorf("hardly anything has happened: %v", l.log)
				}
			})
		}
	}
	if !setUp {
		t.Error("nothing that was set up was connected")
	}
}
