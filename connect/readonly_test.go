// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

var tellsReads = change(func(tk *toolkit.Toolkit) { tk.Reading.Methods = []string{"GET", "HEAD"} })

func (w *world) wantReadOnly(t *testing.T, want bool) {
	t.Helper()
	if w.connection().ReadOnly != want {
		t.Errorf("for reading only: %v", !want)
	}
}

// connectReading ticks the box, or takes the tick out.
func (b *browser) connectReading(link, choice string) *page {
	b.halt = "/callback/"
	p := b.press(b.get(link), "reading", choice)
	return b.get(b.answer(p, "alice", "allow"))
}

func TestAUserAllowsReadingOnlyWhenTheyConnect(t *testing.T) {
	w := newWorld(t, behindASite, tellsReads)
	b := newBrowserAs(w, alice.User)
	p := b.get(w.link(alice))
	if p.says(t, "Reading only", "change nothing"); strings.Contains(p.text, " checked") {
		t.Error("it is ticked before anybody has said so")
	}
	b.connectReading(w.link(alice), "only").says(t, "Connected as alice@acme.example", "Reading only")
	w.wantReadOnly(t, true)
	if !strings.HasSuffix(w.audit.text(), "connected read_only") {
		t.Errorf("audit: %s", w.audit.text())
	}
	if p := b.get(w.link(alice)); !strings.Contains(p.text, " checked") {
		t.Errorf("when it is connected anew, it is not as it was:\n%s", p.text)
	}
	b.connect(w.link(alice), "alice")
	w.wantReadOnly(t, true)
	b.connectReading(w.link(alice), "asked").hides(t, "Reading only")
	w.wantReadOnly(t, false)
	if !strings.HasSuffix(w.audit.text(), "connected read_write") {
		t.Errorf("audit: %s", w.audit.text())
	}
}

func TestAKeyIsForReadingOnlyToo(t *testing.T) {
	w, _ := newKeyWorld(t, tellsReads)
	b, link := newBrowser(w), w.link(alice)
	p := b.press(b.get(link), "key.key", badKey, "reading", "only")
	if !strings.Contains(p.text, " checked") {
		t.Error("what was ticked is forgotten with a key that is wrong")
	}
	b.press(p, "key.key", goodKey).want(t, http.StatusOK, "Connected as ada@acme.example")
	w.wantReadOnly(t, true)
}

func TestReadingOnlyIsNotOfferedWhereNobodyCanTellReads(t *testing.T) {
	w, b := connected(t)
	for _, p := range []*page{b.get(mine), b.get(w.link(alice))} {
		p.hides(t, "eading only", `name="reading"`)
	}
	b.undo(t, w.connection().ID, "reading")
	b.connectReading(w.link(alice), "only")
	w.wantReadOnly(t, false)
	// What was said stands when the toolkit's data changes, and can be taken back.
	c := w.connection()
	c.ReadOnly = true
	if _, err := w.vault.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b.connect(w.link(alice), "alice")
	w.wantReadOnly(t, true)
	b.get(mine).says(t, "Reading only", "Allow changes too")
	b.undo(t, c.ID, "writing")
	w.wantReadOnly(t, false)
}

func TestAUserLimitsWhatIsConnectedAndTakesThatBack(t *testing.T) {
	var stopped []connection.Key
	w, b := connected(t, tellsReads, func(cfg *connect.Config) {
		cfg.Stopped = func(k connection.Key) { stopped = append(stopped, k) }
	})
	id := w.connection().ID
	w.store.before("put", "connection", func() { // a refresh comes between
		c := w.connection()
		c.AccessToken = secret.New("renewed meanwhile")
		if _, err := w.vault.Save(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	p := b.undo(t, id, "reading")
	p.says(t, "can only read with this account", "Allowed", "Allow changes too")
	p.hides(t, `value="reading"`)
	w.wantReadOnly(t, true)
	if c := w.connection(); c.AccessToken.Reveal() != "renewed meanwhile" || w.told[len(w.told)-1].ReadOnly != true || len(stopped) != 1 || stopped[0] != aliceKey {
		t.Errorf("%s, told of %+v, stopped %v", c.AccessToken.Reveal(), w.told[len(w.told)-1], stopped)
	}
	if a := w.statusFor(t, alice.Agent); !a.says(connection.Active) || !a.ReadOnly {
		t.Errorf("its agent is told %+v", a)
	}
	b.undo(t, id, "reading") // a second click
	b.undo(t, id, "writing").says(t, "can change things with this account again")
	w.wantReadOnly(t, false)
	if got := w.audit.text(); !strings.HasSuffix(got, "connected read_write, read_only, read_write") || len(stopped) != 1 {
		t.Errorf("audit: %s; stopped %v", got, stopped)
	}
}

func TestWithoutAuditNothingIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := connected(t, tellsReads)
		id := w.connection().ID
		w.audit.fail = func(audit.Event) error { return errors.New("the disk is full") }
		b.undo(t, id, "reading").want(t, http.StatusServiceUnavailable, sorry)
		w.wantReadOnly(t, false)
	})
}

func TestAnotherAgentIsLetInForReadingOnly(t *testing.T) {
	var stopped []connection.Key
	w, b := twoAgents(t, tellsReads, func(cfg *connect.Config) {
		cfg.Stopped = func(k connection.Key) { stopped = append(stopped, k) }
	})
	p := b.get(w.link(otherBot))
	p.says(t, "Let other-bot use Acme?", "Reading only", "for all who use this connection")
	b.press(p, "reading", "only").says(t, "Allowed", "Reading only")
	w.wantReadOnly(t, true)
	w.wantAgents(t, []string{alice.Agent, otherBot.Agent}, nil)
	if got := w.audit.text(); !strings.HasSuffix(got, "agent_approved, read_only") || len(stopped) != 1 {
		t.Errorf("audit: %s; stopped %v", got, stopped)
	}
	// A page that was open all the while takes no limit off.
	b.lets(t, w.connection().ID, otherBot.Agent, "withdraw")
	p = b.get(w.link(otherBot))
	p.says(t, "Reading only")
	p.hides(t, `name="reading"`)
	b.press(p, "reading", "asked")
	w.wantReadOnly(t, true)
}

func TestReadingOnlyIsChosenForEachOfSeveralToolkits(t *testing.T) {
	w := newWorld(t, threeToolkits(t), tellsReads)
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second")
	p := b.get(link)
	if n := strings.Count(p.text, `type="checkbox"`); n != 1 {
		t.Errorf("%d boxes", n)
	}
	b.halt = "/callback/"
	b.get(b.answer(b.pressFor(p, "acme", "reading", "only"), "alice", "allow"))
	w.wantReadOnly(t, true)
}

func TestCallingOffALinkTakesBackItsChoiceOfReadingOnly(t *testing.T) {
	w, _ := connected(t, tellsReads)
	b := newBrowserAs(w, alice.User)
	b.halt = "/callback/"
	callback := b.answer(b.press(b.get(w.link(alice)), "reading", "only"), "alice", "allow")
	w.meanwhile(w.callsOff)
	b.get(callback).want(t, http.StatusGone, calledOff)
	w.wantReadOnly(t, false)
}
