// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
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

func TestAUserLetsAnotherAgentUseAConnectionWithoutSigningInAgain(t *testing.T) {
	w, b := twoAgents(t)
	before, tokens := w.connection(), w.acme.Stats().TokenRequests
	w.clock.pass(30 * time.Minute)
	link := w.link(otherBot)
	p := b.get(link)
	p.want(t, http.StatusOK, "Let other-bot use Acme?")
	p.says(t, "other-bot asks to use your Acme connection, which you made on 20 November 2026.", "alice@acme.example", "offline_access", alice.Agent, "15 more minutes")
	b.get(link)
	b.get(link)
	w.wantAgents(t, []string{alice.Agent}, nil) // whoever looks at it changes nothing
	p = b.press(p)
	p.want(t, http.StatusOK, "Allowed")
	p.says(t, "other-bot can use Acme for you from now on", "alice@acme.example")
	w.wantAgents(t, []string{alice.Agent, otherBot.Agent}, nil)
	now := w.connection()
	if !now.AccessToken.Equal(before.AccessToken) || now.ID != before.ID || !now.CreatedAt.Equal(before.CreatedAt) || w.acme.Stats().TokenRequests != tokens {
		t.Errorf("the grant was touched: %+v", now)
	}
	if a := w.statusFor(t, otherBot.Agent); !a.says(connection.Active) || a.Account != "alice@acme.example" {
		t.Errorf("afterwards: %+v", a)
	}
	if told := w.told[len(w.told)-1]; !slices.Equal(told.Agents, now.Agents) || told.Version != now.Version {
		t.Errorf("told of %+v", told)
	}
	if line := w.audit.lines[len(w.audit.lines)-1]; line.Event != audit.AgentApproved || line.Agent != otherBot.Agent || line.Connection != now.ID {
		t.Errorf("audit: %+v", line)
	}
	w.wantReported("agent_approved")
	b.get(link).want(t, http.StatusOK, "Allowed")
	newBrowserAs(w, alice.User).get(link).want(t, http.StatusGone, "This link has done its work")
}

func TestAnApprovalIsForItsUserAndOurPageAlone(t *testing.T) {
	w, b := twoAgents(t)
	link := w.link(otherBot)
	p := b.get(link)
	fields := formOf(t, p).fields
	if fields.Get("go") != "approve" {
		t.Fatalf("the first button: %v", fields)
	}
	mallory := newBrowserAs(w, "mallory")
	m := mallory.get(link)
	m.want(t, http.StatusForbidden, "This link is for somebody else")
	m.hides(t, "alice@acme.example")
	mallory.cookies["connect.example.com"]["__Host-toolgate"] = b.cookies["connect.example.com"]["__Host-toolgate"]
	mallory.navigate("POST", link, fields, "same-origin").want(t, http.StatusForbidden, "This link is for somebody else")
	b.navigate("POST", link, fields, "cross-site").want(t, http.StatusForbidden, "This was not sent from our page")
	b.navigate("GET", link+"?"+fields.Encode(), nil, "same-origin").want(t, http.StatusOK, "Let other-bot use Acme?")
	newBrowserAs(w, alice.User).navigate("POST", link, fields, "same-origin").want(t, http.StatusForbidden, "Please open the link once more")
	w.wantAgents(t, []string{alice.Agent}, nil)
}

func TestWhoDoesNotAllowItChangesNothing(t *testing.T) {
	w, b := twoAgents(t)
	before := w.connection()
	link := w.link(otherBot)
	p := b.get(link)
	b.cancels(p).want(t, http.StatusGone, calledOff)
	b.press(p).want(t, http.StatusGone, calledOff)
	if now := w.connection(); now.Version != before.Version {
		t.Errorf("was %+v and is %+v", before, now)
	}
}

func TestADoubleClickApprovesOnce(t *testing.T) {
	w, b := twoAgents(t)
	p := b.get(w.link(otherBot))
	b.press(p).want(t, http.StatusOK, "Allowed")
	version := w.connection().Version
	b.press(p).want(t, http.StatusGone, "This link has done its work")
	if w.connection().Version != version || strings.Count(w.audit.text(), "agent_approved") != 1 {
		t.Errorf("audit: %s", w.audit.text())
	}
}

// A link lives for minutes so that nobody else can use it; this is surely its user.
func TestALateApprovalCountsForItsUser(t *testing.T) {
	w, b := twoAgents(t)
	link := w.link(otherBot)
	w.clock.pass(20 * time.Minute)
	b.press(b.get(link)).want(t, http.StatusOK, "Allowed")
	w.wantAgents(t, []string{alice.Agent, otherBot.Agent}, nil)
}

func TestWhatHasEndedIsConnectedAnewAndThatApprovesToo(t *testing.T) {
	for name, end := range map[string]func(*world){
		"expired":    func(w *world) { w.expire(w.connection()) },
		"moved":      func(w *world) { w.cfg.Toolkits["acme"].Toolkit.OAuth.Issuer = "https://new.example" },
		"taken away": func(w *world) { _ = w.vault.Remove(w.t.Context(), w.connection()) },
		"no lifetime left": func(w *world) {
			c := w.connection()
			c.ExpiresAt, c.RefreshToken = w.clock.now(), secret.String{}
			_, _ = w.vault.Save(w.t.Context(), c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, b := twoAgents(t)
			link := w.link(otherBot)
			open := b.get(link)
			end(w)
			if name != "moved" {
				b.press(open).want(t, http.StatusConflict, "Connect Acme?")
			}
			p := b.get(link)
			p.want(t, http.StatusOK, "Connect Acme?")
			if name == "moved" {
				return // the provider of this test knows no other issuer
			}
			b.connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
			want := []string{alice.Agent, otherBot.Agent}
			if name == "taken away" {
				want = want[1:]
			}
			w.wantAgents(t, want, nil)
		})
	}
}

// Between the look and the deed, the connection ends, or another one is made in its place.
func TestAnApprovalIsOfTheConnectionThatWasShown(t *testing.T) {
	for name, happen := range map[string]func(*world, connection.Connection){
		"expired": func(w *world, c connection.Connection) { w.expire(c) },
		"gone":    func(w *world, c connection.Connection) { _ = w.vault.Remove(w.t.Context(), c) },
		"another": func(w *world, c connection.Connection) {
			c.ID = "conn_other"
			_, _ = w.vault.Save(w.t.Context(), c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, b := twoAgents(t)
			p, c := b.get(w.link(otherBot)), w.connection()
			w.store.before("put", "link", func() { happen(w, c) })
			b.press(p).says(t, "has changed meanwhile, so nothing was done")
			if now, err := w.vault.Load(t.Context(), aliceKey); err == nil && slices.Contains(now.Agents, otherBot.Agent) {
				t.Errorf("it may use %+v", now)
			}
			w.wantReported("failed changed")
		})
	}
}

// The page stands open in one tab while somebody connects there in another.
func TestWhatAnOldPageHasNotShownIsNotApproved(t *testing.T) {
	for name, change := range map[string]func(*connection.Connection){
		"another account": func(c *connection.Connection) { c.AccountLabel = "alice@private.example" },
		"for more":        func(c *connection.Connection) { c.Scopes = append([]string{"admin"}, c.Scopes...) },
		"another one":     func(c *connection.Connection) { c.ID = "conn_other" },
	} {
		t.Run(name, func(t *testing.T) {
			w, b := twoAgents(t)
			link := w.link(otherBot)
			p, c := b.get(link), w.connection()
			change(&c)
			if _, err := w.vault.Save(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			again := b.press(p)
			again.want(t, http.StatusConflict, "Let other-bot use Acme?")
			again.says(t, "has changed meanwhile, so nothing was done")
			w.wantAgents(t, []string{alice.Agent}, nil)
			b.press(p, "shown", "").want(t, http.StatusConflict, "Let other-bot use Acme?")
			w.wantAgents(t, []string{alice.Agent}, nil)
			b.press(again).want(t, http.StatusOK, "Allowed")
			w.wantAgents(t, []string{alice.Agent, otherBot.Agent}, nil)
		})
	}
}

func TestARefreshInTheSameMomentKeepsItsToken(t *testing.T) {
	w, b := twoAgents(t)
	p := b.get(w.link(otherBot))
	w.store.before("put", "connection", func() {
		c := w.connection()
		c.AccessToken = secret.New("renewed meanwhile")
		if _, err := w.vault.Save(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	b.press(p).want(t, http.StatusOK, "Allowed")
	if c := w.connection(); c.AccessToken.Reveal() != "renewed meanwhile" {
		t.Errorf("the token is %s", c.AccessToken.Reveal())
	}
	w.wantAgents(t, []string{alice.Agent, otherBot.Agent}, nil)
}

func TestAnApprovalIsRecordedOrNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := twoAgents(t)
		link := w.link(otherBot)
		p := b.get(link)
		w.audit.fail = func(audit.Event) error { return errors.New("the disk is full") }
		b.press(p).want(t, http.StatusServiceUnavailable, "That did not work just now")
		w.wantAgents(t, []string{alice.Agent}, nil)
		w.audit.fail = nil
		b.press(b.get(link)).want(t, http.StatusOK, "Allowed")
	})
}

func TestAnApprovalThatCannotBeSavedIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := twoAgents(t)
		p := b.get(w.link(otherBot))
		w.store.failing("put", "connection")
		b.press(p).want(t, http.StatusServiceUnavailable, "That did not work just now")
		w.store.works()
		w.wantAgents(t, []string{alice.Agent}, nil)
	})
}

func TestAnApprovalThatIsCalledOffMeanwhileIsTakenBackAndTheConnectionStays(t *testing.T) {
	for name, off := range map[string]func(*world){
		"ended": func(w *world) { _, _ = w.links().RevokeOf(w.t.Context(), alice.Tenant, alice.User) },
	} {
		t.Run(name, func(t *testing.T) {
			w, b := twoAgents(t)
			var withdrawn []string
			w.reload(func(cfg *connect.Config) {
				cfg.Withdrawn = func(k connection.Key, agent string) { withdrawn = append(withdrawn, agent) }
			})
			before := w.connection()
			link := w.link(otherBot)
			p := b.get(link)
			w.store.before("put", "connection", func() { off(w) })
			b.press(p).want(t, http.StatusGone, calledOff)
			if now := w.connection(); !now.AccessToken.Equal(before.AccessToken) || now.Status != connection.Active || now.Admits(otherBot.Agent, true) || !now.Admits(alice.Agent, true) {
				t.Errorf("was %+v and is %+v", before, now)
			}
			if !slices.Equal(withdrawn, []string{otherBot.Agent}) || w.acme.Stats().Revocations != 0 || len(w.gone) != 0 {
				t.Errorf("withdrawn %q, revoked %d, gone %v", withdrawn, w.acme.Stats().Revocations, w.gone)
			}
		})
	}
}

// Where nobody asks who sits at a browser, the agent could open its own link.
func TestWhereNobodyIsKnownOnlyTheProvidersSignInApproves(t *testing.T) {
	w := newWorld(t, withAgents(alice.Agent, otherBot.Agent))
	newBrowser(w).connect(w.link(alice), "alice")
	link, b := w.link(otherBot), newBrowser(w)
	p := b.get(link)
	p.want(t, http.StatusOK, "Connect Acme?")
	p.hides(t, "alice@acme.example")
	b.press(p, "go", "approve")
	w.wantAgents(t, []string{alice.Agent}, nil)
	b.get(b.answer(b.toProvider(link), "bob", "allow"))
	w.wantAgents(t, []string{alice.Agent}, nil) // of another account
	newBrowser(w).connect(w.link(otherBot), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	w.wantAgents(t, []string{alice.Agent, otherBot.Agent}, nil)
}

// On this machine, whoever is at it is its user.
func TestOnThisMachineTheButtonApproves(t *testing.T) {
	w := newWorld(t, withAgents(alice.Agent, otherBot.Agent))
	newBrowser(w).connect(w.link(alice), "alice")
	link := w.link(otherBot)
	w.reload(func(cfg *connect.Config) { cfg.LocalOnly = true })
	get := httptest.NewRequest("GET", link, nil)
	get.RemoteAddr = "127.0.0.1:4711"
	rec := httptest.NewRecorder()
	w.service.ServeHTTP(rec, get)
	p := showing(rec.Result(), get)
	p.want(t, http.StatusOK, "Let other-bot use Acme?")
	p.hides(t, "alice@acme.example")
	form := formOf(t, p)
	post := httptest.NewRequest("POST", link, strings.NewReader(form.fields.Encode()))
	post.RemoteAddr = get.RemoteAddr
	post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	post.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, c := range rec.Result().Cookies() {
		post.AddCookie(c)
	}
	w.service.ServeHTTP(httptest.NewRecorder(), post)
	w.wantAgents(t, []string{alice.Agent, otherBot.Agent}, nil)
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
