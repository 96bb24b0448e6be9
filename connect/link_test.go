// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
)

func TestALinkIsGivenAgainWhileItLives(t *testing.T) {
	w := newWorld(t)
	first := w.link(alice)
	w.clock.pass(13 * time.Minute)
	if again := w.link(alice); again != first {
		t.Error("a second link while the first lives")
	}
	w.clock.pass(time.Second)
	next := w.link(alice)
	if next == first {
		t.Error("a link that ends in a moment was given again")
	}
	newBrowser(w).get(first).want(t, http.StatusOK, "Connect Acme?") // who has it open may still go on
	newBrowser(w).connect(next, "alice")
	if after := w.link(alice); after == next {
		t.Error("a link that has done its work was given again")
	}
}

func TestALinkThatWasOpenedIsStillTheSame(t *testing.T) {
	w := newWorld(t)
	first := w.link(alice)
	newBrowser(w).toProvider(first)
	l, err := w.service.Link(t.Context(), alice, w.cfg.Toolkits["acme"].Toolkit)
	if err != nil || l.URL != first || !l.Pending {
		t.Errorf("got %+v, %v", l, err)
	}
	if want := public + "/v1/connections/acme"; l.StatusURL != want {
		t.Errorf("status at %s, want %s", l.StatusURL, want)
	}
	if !l.ExpiresAt.Equal(w.clock.now().Add(15 * time.Minute)) {
		t.Errorf("expires at %v", l.ExpiresAt)
	}
}

func TestAShortLifeDoesNotMeanALinkPerCall(t *testing.T) {
	w := newWorld(t, func(cfg *connect.Config) { cfg.LinkLife = time.Minute })
	first := w.link(alice)
	w.clock.pass(20 * time.Second)
	if w.link(alice) != first {
		t.Error("a second link while the first lives")
	}
}

func TestALinkIsNobodyElses(t *testing.T) {
	w := newWorld(t)
	seen := map[string]string{}
	add := func(name string, who caller.Caller, id string) {
		l, err := w.service.Link(t.Context(), who, w.cfg.Toolkits[id].Toolkit)
		if err != nil {
			t.Fatal(err)
		}
		if owner, taken := seen[l.URL]; taken {
			t.Errorf("%s was given the link of %s", name, owner)
		}
		seen[l.URL] = name
	}
	add("alice", alice, "acme")
	add("another toolkit", alice, "other")
	add("another user", caller.Caller{Tenant: "acme-inc", Agent: "support-bot", User: "user-2"}, "acme")
	add("another agent", caller.Caller{Tenant: "acme-inc", Agent: "other-bot", User: "user-1"}, "acme")
	add("another tenant", caller.Caller{Tenant: "other-inc", Agent: "support-bot", User: "user-1"}, "acme")
	// Names that would be one and the same if they were only joined.
	add("slashes in a user", caller.Caller{Tenant: "a", Agent: "b", User: "c/d"}, "acme")
	add("slashes in an agent", caller.Caller{Tenant: "a", Agent: "b/c", User: "d"}, "acme")
}

func TestAgentsOfOneUserConnectTheSameAccount(t *testing.T) {
	w := newWorld(t)
	other := caller.Caller{Tenant: alice.Tenant, Agent: "other-bot", User: alice.User}
	newBrowser(w).connect(w.link(alice), "alice")
	first := w.connection().ID
	newBrowser(w).connect(w.link(other), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	if w.connection().ID != first {
		t.Error("a second connection")
	}
}

func TestFiftyCallsAtOnceGetOneLink(t *testing.T) {
	w := newWorld(t)
	const calls = 50
	links := make([]string, calls)
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			l, err := w.service.Link(t.Context(), alice, w.cfg.Toolkits["acme"].Toolkit)
			if err != nil {
				t.Error(err)
			}
			links[i] = l.URL
		})
	}
	all.Wait()
	for _, l := range links {
		if l != links[0] {
			t.Fatal("there are two links")
		}
	}
	if n := w.store.count("link"); n != 1 {
		t.Errorf("%d links are stored", n)
	}
	newBrowser(w).get(links[0]).want(t, http.StatusOK, "Connect Acme?")
}

func TestALinkThatWasHalfMadeIsMadeWhole(t *testing.T) {
	w := newWorld(t)
	w.store.failing("put", "link")
	if _, err := w.service.Link(t.Context(), alice, w.cfg.Toolkits["acme"].Toolkit); err == nil {
		t.Fatal("no error although the link was not written")
	}
	w.store.works()
	newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	if n := w.store.count("link"); n != 1 {
		t.Errorf("%d links are stored", n)
	}
}

func TestALinkThatAnotherCallMakesWholeIsTheSame(t *testing.T) {
	w := newWorld(t)
	other := ""
	w.store.before("put", "link", func() { other = w.link(alice) })
	if link := w.link(alice); link != other {
		t.Error("there are two links")
	}
}

func TestAStoreThatIsAwayIsNeverAnotherLink(t *testing.T) {
	for _, op := range []string{"get link-for", "put link-for", "get link", "put link"} {
		t.Run(op, func(t *testing.T) {
			w := newWorld(t)
			verb, kind, _ := strings.Cut(op, " ")
			w.store.failing(verb, kind)
			_, err := w.service.Link(t.Context(), alice, w.cfg.Toolkits["acme"].Toolkit)
			p, ok := errors.AsType[*problem.Problem](err)
			if !ok || p.Code != problem.StorageUnavailable || p.RetryAfter == 0 || !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLinksCannotBeGuessed(t *testing.T) {
	w := newWorld(t)
	seen := map[string]bool{}
	for i := range 200 {
		link := w.link(caller.Caller{Tenant: "t", Agent: "a", User: fmt.Sprint("user-", i)})
		id, ok := strings.CutPrefix(link, public+"/connect/c_")
		bits, err := base64.RawURLEncoding.DecodeString(id)
		if !ok || err != nil || len(bits)*8 < 128 || seen[id] {
			t.Fatalf("%s: %d bits, seen before: %v", link, len(bits)*8, seen[id])
		}
		seen[id] = true
	}
}

func TestWhoReadsTheStoreCanOpenNothing(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	link := w.link(alice)
	callback := b.consent(link, "alice")
	dumps := w.store.dump()
	b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
	dumps += w.store.dump()
	for name, value := range w.secrets(b, link, callback) {
		if strings.Contains(dumps, value) {
			t.Errorf("the store shows the %s", name)
		}
	}
}

func TestASpentFlowKeepsNoVerifier(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	b.connect(w.link(alice), "alice")
	for key := range w.store.keys {
		if d, err := w.vault.Get(t.Context(), key); err != nil || strings.HasPrefix(key, "flow/") && strings.Contains(string(d.Plain), "verifier") {
			t.Errorf("%s: %s, %v", key, d.Plain, err)
		}
	}
}

// secrets are all that one flow had to hide.
func (w *world) secrets(b *browser, link, callback string) map[string]string {
	w.t.Helper()
	q := mustParse(w.t, callback).Query()
	all := map[string]string{
		"link id": link[strings.LastIndex(link, "/")+1:],
		"state":   q.Get("state"),
		"code":    q.Get("code"),
		"cookie":  b.cookie(),
		"key":     string(w.cfg.Key),
	}
	for i, value := range w.wire {
		all[fmt.Sprint("code, verifier or token no. ", i)] = value
	}
	if len(w.wire) < 4 {
		w.t.Errorf("only %d secrets went over the wire", len(w.wire))
	}
	for name, value := range all {
		if len(value) < 16 {
			w.t.Errorf("%s is %q", name, value)
		}
	}
	return all
}

func TestTheStoreIsSweptClean(t *testing.T) {
	w := newWorld(t)
	newBrowser(w).toProvider(w.link(alice)) // and never comes back
	other := caller.Caller{Tenant: "t", Agent: "a", User: "u"}
	newBrowser(w).connect(w.link(other), "alice")
	w.link(caller.Caller{Tenant: "t", Agent: "a", User: "nobody-opens-this"})
	w.clock.pass(15 * time.Minute)
	sweep(t, w)
	if n := w.store.count("flow"); n != 0 {
		t.Errorf("%d flows are left", n)
	}
	w.clock.pass(24 * time.Hour)
	sweep(t, w)
	for _, kind := range []string{"link", "link-for", "flow"} {
		if n := w.store.count(kind); n != 0 {
			t.Errorf("%d of %s are left", n, kind)
		}
	}
	if n := w.store.count("connection"); n != 1 {
		t.Errorf("%d connections are left, want the one", n)
	}
}

func sweep(t *testing.T, w *world) {
	t.Helper()
	if _, err := w.store.Sweep(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
}
