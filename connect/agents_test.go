// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/vault"
)

var otherBot = caller.Caller{Tenant: alice.Tenant, Agent: "other-bot", User: alice.User}

// roster is who is configured.
type roster []string

func (r roster) Several(string) bool              { return len(r) > 1 }
func (r roster) Entitled(_, _, _ string) []string { return r }

// withAgents is a gateway with these agents, of which X-Agent tells who asks.
func withAgents(names ...string) func(*connect.Config) {
	return func(cfg *connect.Config) {
		cfg.Agents = roster(names)
		cfg.Identify = func(r *http.Request) (caller.Caller, error) {
			who, err := identify(r)
			if name := r.Header.Get("X-Agent"); name != "" {
				who.Agent = name
			}
			return who, err
		}
	}
}

// twoAgents is a world where alice has connected Acme for the support-bot, and there is
// another one.
func twoAgents(t *testing.T, changes ...func(*connect.Config)) (*world, *browser) {
	t.Helper()
	return connected(t, append([]func(*connect.Config){withAgents(alice.Agent, otherBot.Agent)}, changes...)...)
}

// lets presses the button of an agent on the page of what is connected.
func (b *browser) lets(t *testing.T, id, agent, deed string) *page {
	t.Helper()
	form := formOf(t, b.get(mine))
	form.fields.Set("id", id)
	form.fields.Set("agent", agent)
	form.fields.Set("do", deed)
	return b.navigate("POST", mine, form.fields, "same-origin")
}

func (b *browser) renames(t *testing.T, id, name string) *page {
	t.Helper()
	form := formOf(t, b.get(mine))
	form.fields.Set("id", id)
	form.fields.Set("label", name)
	form.fields.Set("do", "rename")
	return b.navigate("POST", mine, form.fields, "same-origin")
}

func (w *world) wantAgents(t *testing.T, agents, barred []string) {
	t.Helper()
	if c := w.connection(); c.Agents == nil || !slices.Equal(c.Agents, agents) || !slices.Equal(c.Barred, barred) {
		t.Errorf("it is for %q and not for %q, want %q and %q", c.Agents, c.Barred, agents, barred)
	}
}

// statusFor is how alice's connection stands for an agent.
func (w *world) statusFor(t *testing.T, agent string) statusAnswer {
	t.Helper()
	r := httptest.NewRequest("GET", public+"/v1/connections/acme", nil)
	r.Header.Set("X-User-Id", alice.User)
	r.Header.Set("X-Agent", agent)
	var answer statusAnswer
	if err := json.NewDecoder(w.serve(r).Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestAConnectionIsForTheAgentThatAskedForIt(t *testing.T) {
	w, _ := twoAgents(t)
	w.wantAgents(t, []string{alice.Agent}, nil)
	if a := w.statusFor(t, alice.Agent); !a.says(connection.Active) || a.Account != "alice@acme.example" {
		t.Errorf("for the one that asked: %+v", a)
	}
	a := w.statusFor(t, otherBot.Agent)
	if !a.says(connection.NotConnected) || a.Reason != "agent_not_approved" || a.Account != "" || a.ID != "" || a.Scopes != nil || !a.Updated.IsZero() {
		t.Errorf("for another one: %+v", a)
	}
}

func TestATenantsOnlyAgentIsNotAskedFor(t *testing.T) {
	w, b := connected(t, withAgents(alice.Agent))
	p := b.get(mine)
	p.hides(t, "Who may use it")
	w.reload(withAgents("support-bot-2")) // it has got another name
	if a := w.statusFor(t, "support-bot-2"); !a.says(connection.Active) {
		t.Errorf("%+v", a)
	}
	b.get(w.link(caller.Caller{Tenant: alice.Tenant, Agent: "support-bot-2", User: alice.User})).want(t, http.StatusOK, "Connect Acme?")
}

func TestARecordFromBeforeIsForAllUntilItsUserSaysOtherwise(t *testing.T) {
	w, b := twoAgents(t)
	c := w.connection()
	c.Agents = nil
	if _, err := w.vault.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if a := w.statusFor(t, otherBot.Agent); !a.says(connection.Active) {
		t.Errorf("%+v", a)
	}
	b.connect(w.link(otherBot), "alice")
	if c := w.connection(); c.Agents != nil {
		t.Errorf("connecting again made it be for %q", c.Agents)
	}
	b.get(mine).says(t, "Who may use it", alice.Agent, otherBot.Agent)
	b.lets(t, c.ID, otherBot.Agent, "withdraw").says(t, "Taken back", "not any more")
	w.wantAgents(t, []string{alice.Agent}, []string{otherBot.Agent})
}

func TestAUserTakesTheRightBackAndGivesItAgain(t *testing.T) {
	type end struct {
		key   connection.Key
		agent string
	}
	var ended []end
	w, b := twoAgents(t, func(cfg *connect.Config) {
		cfg.Withdrawn = func(k connection.Key, agent string) { ended = append(ended, end{k, agent}) }
	})
	b.press(b.get(w.link(otherBot)))
	id := w.connection().ID
	p := b.get(mine)
	p.says(t, "Who may use it", alice.Agent, otherBot.Agent)
	b.lets(t, id, otherBot.Agent, "withdraw").says(t, "That assistant does not use this account any more")
	w.wantAgents(t, []string{alice.Agent}, []string{otherBot.Agent})
	if !slices.Equal(ended, []end{{aliceKey, otherBot.Agent}}) {
		t.Errorf("ended: %v", ended)
	}
	version := w.connection().Version
	b.lets(t, id, otherBot.Agent, "withdraw") // a second click
	b.lets(t, id, "stranger", "allow")        // whom the page does not show
	b.lets(t, id, "", "allow")
	b.lets(t, "conn_unknown", otherBot.Agent, "allow")
	if w.connection().Version != version {
		t.Error("something was written")
	}
	b.lets(t, id, alice.Agent, "withdraw") // the last one too
	w.wantAgents(t, []string{}, []string{otherBot.Agent, alice.Agent})
	b.lets(t, id, otherBot.Agent, "allow").says(t, "Allowed. The assistant can use this account from now on.")
	w.wantAgents(t, []string{otherBot.Agent}, []string{alice.Agent})
	for _, what := range []string{"agent_withdrawn", "agent_allowed"} {
		w.wantReported(what)
	}
	if n := strings.Count(w.audit.text(), "agent_withdrawn"); n != 2 {
		t.Errorf("audit: %s", w.audit.text())
	}
}

func TestNobodyLetsAgentsUseWhatIsAnothers(t *testing.T) {
	w, b := twoAgents(t)
	fields := formOf(t, b.get(mine)).fields
	mallory := newBrowserAs(w, "mallory")
	mallory.get(mine)
	mallory.cookies["connect.example.com"]["__Host-toolgate"] = b.cookies["connect.example.com"]["__Host-toolgate"]
	for _, deed := range []string{"withdraw", "rename", "another"} {
		f := url.Values{"token": fields["token"], "id": fields["id"], "agent": {alice.Agent}, "label": {"mine now"}, "do": {deed}}
		mallory.navigate("POST", mine, f, "same-origin").want(t, http.StatusOK, "What you have connected")
		b.navigate("POST", mine, f, "cross-site").want(t, http.StatusForbidden, "This was not sent from our page")
		f.Set("token", "x")
		b.navigate("POST", mine, f, "same-origin")
	}
	w.wantAgents(t, []string{alice.Agent}, nil)
	if c := w.connection(); c.Label != "" {
		t.Errorf("it is called %s", c.Label)
	}
}

// With one agent left, what the user has said against it still counts.
func TestWhatWasTakenBackStaysSoWhenOneAgentIsLeft(t *testing.T) {
	w, b := twoAgents(t)
	b.lets(t, w.connection().ID, alice.Agent, "withdraw")
	w.reload(withAgents(alice.Agent))
	if a := w.statusFor(t, alice.Agent); a.Reason != "agent_not_approved" {
		t.Errorf("%+v", a)
	}
	b.get(mine).says(t, "Who may use it", "not any more")
	b.press(b.get(w.link(alice))).want(t, http.StatusOK, "Allowed")
	w.wantAgents(t, []string{alice.Agent}, nil)
}

func TestInALinkForSeveralWhatIsThereIsApprovedAndTheRestConnected(t *testing.T) {
	w, b := twoAgents(t, threeToolkits(t))
	link := w.linkFor(otherBot, "acme", "second")
	p := b.get(link)
	p.says(t, "Connected as alice@acme.example on 20 November 2026. May other-bot use it?", "0 of 2 connected", "Not connected yet")
	p = b.pressFor(p, "acme", "go", "approve")
	p.says(t, "1 of 2 connected", "Connected as alice@acme.example")
	w.wantAgents(t, []string{alice.Agent, otherBot.Agent}, nil)
	b.connectFor(link, "second", "alice").want(t, http.StatusOK, "Everything is connected")
}

func TestTheProjectLinkAsksForItsAgentsApproval(t *testing.T) {
	w := newWorld(t, aProject("acme"), behindASite, withAgents(alice.Agent, otherBot.Agent))
	b := newBrowserAs(w, alice.User)
	b.connect(w.link(otherBot), "alice")
	p := b.get(projectLink)
	p.says(t, "It is connected, and the assistant may not use it yet.", "0 of 1 connected")
	p = b.press(p)
	p.want(t, http.StatusOK, "Let support-bot use Acme?")
	b.press(p)
	b.get(projectLink).want(t, http.StatusOK, "Everything is connected")
}

func TestAnAgentIsToldNoNamesOfAccountsThatItMayNotUse(t *testing.T) {
	w, _ := twoAccounts(t, withAgents(alice.Agent, otherBot.Agent))
	if a := w.statusFor(t, alice.Agent); len(a.Others) != 1 || a.Others[0].Label != "bob@acme.example" {
		t.Errorf("its own: %+v", a.Others)
	}
	if a := w.statusFor(t, otherBot.Agent); len(a.Others) != 1 || a.Others[0].Label != "" || a.Others[0].ID == "" {
		t.Errorf("another's: %+v", a.Others)
	}
}

func TestAFurtherAccountIsApprovedByItself(t *testing.T) {
	w, b := twoAccounts(t, withAgents(alice.Agent, otherBot.Agent))
	l, err := w.service.LinkFor(t.Context(), otherBot, connect.Ask{Toolkits: []string{"acme"}, Account: "bob@acme.example"})
	if err != nil {
		t.Fatal(err)
	}
	p := b.get(l.URL)
	p.says(t, "Let other-bot use Acme?", "bob@acme.example")
	b.press(p)
	w.wantAgents(t, []string{alice.Agent}, nil)
	if c := w.named("bob@acme.example"); !c.Admits(otherBot.Agent, true) {
		t.Errorf("%+v", c)
	}
}

func TestAStoreThatIsAwayIsNoReasonToConnectAgain(t *testing.T) {
	w, b := twoAgents(t, threeToolkits(t))
	one, several := w.link(otherBot), w.linkFor(otherBot, "acme", "second")
	p := b.get(one)
	w.store.failing("get", "connection")
	b.get(one).want(t, http.StatusServiceUnavailable, "That did not work just now")
	b.get(several).want(t, http.StatusServiceUnavailable, "That did not work just now")
	b.press(p).want(t, http.StatusServiceUnavailable, "That did not work just now")
	w.store.works()
	b.press(b.get(one)).want(t, http.StatusOK, "Allowed")
}

// A record that cannot be read may have kept agents out.
func TestANewGrantInADamagedRecordsPlaceIsForItsAgentAlone(t *testing.T) {
	w, b := twoAgents(t)
	name := vault.Name("connection", alice.Tenant, alice.User, "acme", "")
	if err := w.vault.Put(t.Context(), vault.Document{Name: name, Plain: []byte("{}"), Version: w.connection().Version + 1}); err != nil {
		t.Fatal(err)
	}
	b.connect(w.link(otherBot), "alice")
	w.wantAgents(t, []string{otherBot.Agent}, nil)
}
