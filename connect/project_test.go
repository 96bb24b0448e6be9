// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
)

const projectLink = public + "/connect"

// aProject lists these toolkits for the support bot, which acts for alice and bob.
func aProject(toolkits ...string) func(*connect.Config) {
	return func(cfg *connect.Config) {
		cfg.Project = &connect.Project{
			Tenant: alice.Tenant, Agent: alice.Agent, Toolkits: toolkits,
			ActsFor: func(user string) bool { return user == alice.User || user == "bob" },
		}
	}
}

func TestTheProjectLinkConnectsWhatIsMissing(t *testing.T) {
	w := newWorld(t, threeToolkits(t), aProject("acme", "keys", "second"), behindASite)
	b := newBrowserAs(w, alice.User)
	b.connect(w.link(alice), "alice")

	p := b.get(projectLink)
	p.want(t, http.StatusOK, "Connect your accounts")
	p.says(t, "support-bot", "1 of 3 connected", "Connected as alice@acme.example", "Not connected yet")
	p = b.press(p)
	if !strings.HasPrefix(p.address, public+"/connect/c_") {
		t.Fatalf("the button leads to %s", p.address)
	}
	link := p.address
	p.want(t, http.StatusOK, "Connect 2 services")
	p.hides(t, "<h2>Acme")
	if again := b.press(b.get(projectLink)); again.address != link {
		t.Error("a second link while the first lives")
	}
	b.connectFor(link, "second", "alice")
	b.get(projectLink).says(t, "2 of 3 connected")
	b.press(b.get(link+"/keys"), "key.key", goodKey)
	p = b.get(projectLink)
	p.want(t, http.StatusOK, "Everything is connected")
	if formOf(t, p) != nil {
		t.Error("there still is a button")
	}
	w.connectedTo("acme", "keys", "second")
	w.clock.pass(1000 * time.Hour) // it has no end
	b.as(alice.User)
	b.get(projectLink).want(t, http.StatusOK, "Everything is connected")
}

func TestTheProjectLinkShowsOnlyWhatIsThePersonsOwn(t *testing.T) {
	w := newWorld(t, threeToolkits(t), aProject("acme", "second"), behindASite)
	newBrowserAs(w, alice.User).connect(w.link(alice), "alice")
	other := caller.Caller{Tenant: "other-inc", Agent: alice.Agent, User: "bob"}
	newBrowserAs(w, "bob").connect(w.link(other), "bob")
	p := newBrowserAs(w, "bob").get(projectLink)
	p.says(t, "0 of 2 connected", "bob")
	p.hides(t, "@acme.example")
}

func TestTheProjectLinkIsForThoseWhoAreRecognised(t *testing.T) {
	w := newWorld(t, aProject("acme"), behindASite)
	newBrowser(w).get(projectLink).want(t, http.StatusForbidden, "Please sign in first")
	newBrowserAs(w, "mallory").get(projectLink).want(t, http.StatusForbidden, "This page is not for you")
	w.wantReported("refused acts_for")
	b := newBrowserAs(w, alice.User)
	open := b.get(projectLink)
	for user, heading := range map[string]string{"mallory": "This page is not for you", "": "Please sign in first"} {
		b.as(user)
		b.press(open).want(t, http.StatusForbidden, heading)
	}
	if w.store.count("link") != 0 {
		t.Error("a link was made")
	}
	w = newWorld(t, aProject("acme")) // where nobody asks
	newBrowser(w).get(projectLink).want(t, http.StatusNotFound, "This link is not known here")
	w = newWorld(t, aProject("gone"), behindASite)
	newBrowserAs(w, alice.User).get(projectLink).want(t, http.StatusNotFound, "This link is not known here")
}

func TestWhoSignsInForTheProjectLinkComesBackToIt(t *testing.T) {
	w := newWorld(t, aProject("acme"), atTheApplication)
	b := newBrowser(w)
	p := b.get(projectLink)
	p.want(t, http.StatusOK, "Is it you?")
	p.says(t, "support-bot")
	b.halt = "/verify"
	flow := mustParse(t, b.press(p).next).Query().Get("flow_id")
	b.halt = ""
	_, answer := w.says("POST", confirmKey, `{"flow_id":"`+flow+`","user_id":"user-1"}`)
	p = b.get(answer.NextURI)
	p.want(t, http.StatusOK, "Connect your accounts")
	if p.address != projectLink {
		t.Errorf("it comes back to %s", p.address)
	}
	b.get(b.answer(b.press(b.press(p)), "alice", "allow")).want(t, http.StatusOK, "Connected as alice@acme.example")
	b.get(projectLink).want(t, http.StatusOK, "Everything is connected")
}

func TestOpeningTheProjectLinkChangesNothing(t *testing.T) {
	w := newWorld(t, aProject("acme"), behindASite)
	b := newBrowserAs(w, alice.User)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if res := b.send(method, projectLink, nil, "none"); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", method, res.StatusCode)
		}
	}
	open := b.get(projectLink)
	form := formOf(t, open).fields
	for name, c := range map[string]struct {
		site   string
		fields url.Values
		status int
	}{
		"another site":   {"cross-site", form, 403},
		"no token":       {"same-origin", url.Values{}, 403},
		"another page's": {"same-origin", formOf(t, newBrowserAs(w, "bob").get(projectLink)).fields, 403},
	} {
		if res := b.send(http.MethodPost, projectLink, c.fields, c.site); res.StatusCode != c.status {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	r := httptest.NewRequest(http.MethodPost, projectLink, nil) // no cookie
	setBody(r, form)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if res := w.serve(r); res.StatusCode != http.StatusForbidden {
		t.Errorf("no cookie: %d", res.StatusCode)
	}
	if w.store.writes != 0 {
		t.Error("something was written")
	}
}

func TestTheProjectLinkListsWhatHasEndedAsMissing(t *testing.T) {
	w := newWorld(t, aProject("acme"), behindASite)
	b := newBrowserAs(w, alice.User)
	b.connect(w.link(alice), "alice")
	conn := w.connection()
	conn.Status = connection.Expired
	if _, err := w.vault.Save(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	p := b.get(projectLink)
	p.want(t, http.StatusOK, "Connect your accounts")
	p.says(t, "0 of 1 connected", "alice@acme.example", "has ended")
	b.get(b.answer(b.press(b.press(p)), "alice", "allow")).want(t, http.StatusOK, "Connected as alice@acme.example")
	b.get(projectLink).want(t, http.StatusOK, "Everything is connected")
}

func TestAStoreThatIsAwayIsSaidOnTheProjectLink(t *testing.T) {
	w := newWorld(t, aProject("acme"), behindASite)
	b := newBrowserAs(w, alice.User)
	open := b.get(projectLink)
	w.store.failing("put", "link-for")
	b.press(open).want(t, http.StatusServiceUnavailable, "That did not work just now")
	w.wantReported("trouble project")
}
