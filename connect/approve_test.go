// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
)

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
