// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// ask gives the link for what is asked.
func (w *world) ask(a connect.Ask) connect.Link {
	w.t.Helper()
	l, err := w.service.LinkFor(w.t.Context(), alice, a)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) expire(c connection.Connection) {
	w.t.Helper()
	c.Status, c.Reason = connection.Expired, connection.RefreshRejected
	if _, err := w.vault.Save(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// meanwhile lets something happen while the code of a callback is being spent.
func (w *world) meanwhile(happen func()) {
	exchange := w.cfg.Exchanger
	w.reload(func(cfg *connect.Config) {
		cfg.Exchanger = exchanger(func(ctx context.Context, code, verifier string) (oauth.Grant, error) {
			happen()
			return exchange.Exchange(ctx, cfg.Toolkits["acme"].Toolkit.OAuth, code, verifier, connect.RedirectURI(cfg.PublicURL, "acme"))
		})
	})
}

func TestCallingALinkOffTakesItsOwnAccountBackAndNoOther(t *testing.T) {
	w, _ := connected(t)
	first := w.connection()
	b := newBrowserAs(w, alice.User)
	callback := b.consent(w.linkTo("bob@acme.example"), "bob")
	w.meanwhile(func() {
		if n, err := w.links().RevokeOf(t.Context(), alice.Tenant, alice.User); n != 1 || err != nil {
			t.Errorf("%d links ended, %v", n, err)
		}
	})
	b.get(callback).want(t, http.StatusGone, calledOff)
	if now := w.connection(); now.Version != first.Version || len(w.accounts().All) != 1 {
		t.Errorf("the first was %+v and is %+v, of %+v", first, now, w.accounts().All)
	}
	if n := w.acme.Stats().Revocations; n != 1 {
		t.Errorf("%d grants were given back", n)
	}
	if len(w.gone) != 1 || w.gone[0].Account == "" {
		t.Errorf("told that these are gone: %+v", w.gone)
	}
}

// The callback is at work when the link that it would be written into is removed.
func TestWhoIsForgottenInTheMiddleOfASignInStaysForgotten(t *testing.T) {
	for name, op := range map[string]string{"before it is saved": "put", "while it is being looked up": "get"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, behindASite)
			b := newBrowserAs(w, alice.User)
			callback := b.consent(w.linkTo("work"), "alice")
			w.meanwhile(func() { w.store.before(op, "connection", func() { w.forget(t, alice.User) }) })
			b.get(callback).want(t, http.StatusNotFound, "This link is not known here")
			if text := w.all(t); strings.Contains(text, alice.User) {
				t.Errorf("left:\n%s", text)
			}
			if n := w.acme.Stats().Revocations; n != 1 {
				t.Errorf("%d grants were given back", n)
			}
		})
	}
}

func TestALinkForAnAccountIsEndedAndSeenAsAnyOther(t *testing.T) {
	w, b := connected(t)
	link := w.linkTo("bob@acme.example")
	name := vault.Name("account-link", hashOf(link[strings.LastIndex(link, "/")+1:]))
	if i, err := w.links().About(t.Context(), name); err != nil || i.State != "waiting" || len(i.Ref) != 64 || i.User != alice.User {
		t.Errorf("%+v, %v", i, err)
	}
	if did, err := w.links().Revoke(t.Context(), name); !did || err != nil {
		t.Errorf("ended: %v, %v", did, err)
	}
	b.get(link).want(t, http.StatusGone, calledOff)
	mine := w.linkTo("carol@acme.example")
	b.cancels(b.get(mine)).want(t, http.StatusGone, calledOff)
	if w.linkTo("carol@acme.example") == mine {
		t.Error("a link that was called off was given again")
	}
}

func TestAnAccountAndScopesAreOfOneToolkit(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	for _, ask := range []connect.Ask{{Account: "home"}, {Scopes: []string{"write"}}} {
		ask.Toolkits = []string{"acme", "second"}
		_, err := w.service.LinkFor(t.Context(), alice, ask)
		if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Code != problem.BadRequest {
			t.Errorf("%+v: %v", ask, err)
		}
	}
	if w.store.writes != 0 {
		t.Error("something was written")
	}
}

// Calls that name no account go to the default. A link that names none is for that one too.
func TestALinkForSeveralRenewsTheAccountThatIsTheDefault(t *testing.T) {
	w, b := twoAccounts(t, threeToolkits(t))
	together := w.linkFor(alice, "acme", "second")
	b.undo(t, w.named("bob@acme.example").ID, "default")
	first, bob := w.connection(), w.named("bob@acme.example")
	link := w.linkFor(alice, "second", "acme")
	if link == together || link != w.linkFor(alice, "acme", "second") {
		t.Errorf("for the one account: %s, for the other: %s", together, link)
	}
	// A gateway of the version before would put bob's grant in alice's place.
	if _, err := w.vault.Get(t.Context(), linkRecordName(link)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the version before finds it: %v", err)
	}
	p := newBrowserAs(w, alice.User).connectFor(link, "acme", "alice")
	p.says(t, "0 of 2 connected", "another account than the one that is connected here")
	newBrowserAs(w, alice.User).connectFor(link, "acme", "bob").says(t, "1 of 2 connected", "Connected as bob@acme.example")
	if now := w.connection(); now.Version != first.Version {
		t.Errorf("the first was %+v and is %+v", first, now)
	}
	if now := w.named("bob@acme.example"); now.ID != bob.ID || now.AccessToken.Equal(bob.AccessToken) || len(w.accounts().All) != 2 {
		t.Errorf("was %+v, is %+v", bob, now)
	}
	b.cancels(b.get(link))
	w.expire(w.named("bob@acme.example"))
	again := w.linkFor(alice, "second", "acme")
	other := newBrowserAs(w, alice.User)
	other.pressFor(other.get(again), "second")
	other.get(again).says(t, "Begun, and not finished yet")
	if _, answer := w.statusOf(t, "", ""); !answer.says(connection.Expired) {
		t.Errorf("the toolkit that nobody has begun with: %+v", answer)
	}
	w.clock.pass(time.Hour) // and goes on late, for the same account
	other.as(alice.User)
	other.connectFor(again, "acme", "bob").says(t, "Connected as bob@acme.example")
	if now := w.named("bob@acme.example"); now.ID != bob.ID || now.Status != connection.Active || len(w.accounts().All) != 2 {
		t.Errorf("%+v", now)
	}
}

func TestALinkForAnAccountThatIsOpenedLateIsForThatAccountStill(t *testing.T) {
	w, _ := connected(t)
	l := w.ask(connect.Ask{Toolkits: []string{"acme"}, Account: "home", Scopes: []string{"read", "write"}})
	w.clock.pass(time.Hour)
	newBrowserAs(w, alice.User).connect(l.URL, "bob").want(t, http.StatusOK, "Connected as bob@acme.example")
	if c := w.named("home"); c.AccountLabel != "bob@acme.example" || c.Key == aliceKey || !slices.Contains(c.Scopes, "write") {
		t.Errorf("%+v", c)
	}
}

func TestTheProjectLinkLooksAtTheAccountThatCallsGoTo(t *testing.T) {
	w, b := twoAccounts(t, aProject("acme"))
	b.get(projectLink).says(t, "Everything is connected", "alice@acme.example")
	bob := w.named("bob@acme.example")
	b.undo(t, bob.ID, "default")
	b.get(projectLink).says(t, "Everything is connected", "bob@acme.example")
	first := w.connection()
	w.expire(w.named("bob@acme.example"))
	p := b.get(projectLink)
	p.says(t, "0 of 1 connected", "bob@acme.example", "has ended") // though alice's works
	link := b.press(p).address
	newBrowserAs(w, alice.User).connect(link, "bob").want(t, http.StatusOK, "Connected as bob@acme.example")
	b.get(projectLink).says(t, "Everything is connected", "bob@acme.example")
	if now := w.connection(); now.Version != first.Version || w.named("bob@acme.example").ID != bob.ID || len(w.accounts().All) != 2 {
		t.Errorf("the first was %+v and is %+v, of %+v", first, now, w.accounts().All)
	}
	// Without a default, agents choose among those that work.
	newBrowserAs(w, alice.User).connect(w.linkTo("club"), "carol")
	b.undo(t, bob.ID, "disconnect")
	w.expire(w.connection())
	b.get(projectLink).says(t, "Everything is connected", "carol@acme.example")
}

// One button connects all that is missing. It must not undo what the user has decided.
func TestTheProjectLinkDoesNotOfferWhatIsSwitchedOff(t *testing.T) {
	w := newWorld(t, threeToolkits(t), aProject("acme", "second"), behindASite)
	b := newBrowserAs(w, alice.User)
	b.connect(w.link(alice), "alice")
	b.undo(t, w.connection().ID, "off")
	p := b.get(projectLink)
	p.says(t, "0 of 2 connected", "is switched off", "Not connected yet")
	p = b.press(p)
	p.want(t, http.StatusOK, "Connect Second?")
	b.get(b.answer(b.press(p), "alice", "allow")).want(t, http.StatusOK, "Connected as alice@acme.example")
	p = b.get(projectLink)
	p.want(t, http.StatusOK, "Connect your accounts")
	p.says(t, "1 of 2 connected", "is switched off")
	if formOf(t, p) != nil || w.connection().Status != connection.Inactive {
		t.Errorf("acme is %s, and there is a button on\n%s", w.connection().Status, p.text)
	}
}

func TestOneLinkLivesForAnAccountItsScopesAndTheWayBack(t *testing.T) {
	w, _ := connected(t, backToTheApp)
	one := func(account, scopes, back string) string {
		return w.ask(connect.Ask{Toolkits: []string{"acme"}, Account: account, Scopes: strings.Fields(scopes), CallbackURL: back}).URL
	}
	seen := map[string]string{}
	for _, account := range []string{"", "home"} {
		for _, scopes := range []string{"", "read write"} {
			for _, back := range []string{"", theApp} {
				url, what := one(account, scopes, back), account+"|"+scopes+"|"+back
				if before, twice := seen[url]; twice {
					t.Errorf("%s and %s have one link", what, before)
				}
				seen[url] = what
				if one(account, reversed(scopes), back) != url {
					t.Errorf("%s: another link while the first lives", what)
				}
			}
		}
	}
	l := w.ask(connect.Ask{Toolkits: []string{"acme"}, Account: "home", CallbackURL: theApp})
	if l.StatusURL != public+"/v1/connections/acme?account=home" {
		t.Errorf("the status is at %s", l.StatusURL)
	}
	other := newBrowserAs(w, alice.User)
	callback := other.consent(l.URL, "bob")
	if _, answer := w.statusOf(t, "?account=home", ""); !answer.says(connection.Pending) {
		t.Errorf("under way: %+v", answer)
	}
	if _, answer := w.statusOf(t, "?account=club", ""); !answer.says(connection.NotConnected) {
		t.Errorf("another account: %+v", answer)
	}
	res := other.send(http.MethodGet, callback, nil, "cross-site")
	if got := res.Header.Get("Location"); got != theApp+"&status=connected&toolkit=acme" {
		t.Errorf("sent to %q", got)
	}
	if w.named("home").AccountLabel != "bob@acme.example" || w.connection().AccountLabel != "alice@acme.example" {
		t.Errorf("%+v", w.accounts().All)
	}
}

// One person's address is the name of all their companies at some providers.
func TestAnotherCompanyIsAnotherAccount(t *testing.T) {
	c := newCompanies(t)
	c.answer = func() (int, string, error) { return 200, `{"email":"alice@acme.example"}`, nil }
	c.finish(with("123")).want(t, http.StatusOK, "Connected as alice@acme.example")
	before := c.connection()
	p := c.finish(with("124"))
	p.want(t, http.StatusOK, "Connect Acme?")
	p.says(t, "another account than the one that is connected here")
	if now := c.connection(); now.Version != before.Version || c.acme.Stats().Revocations != 0 {
		t.Errorf("was %+v, is %+v, %d grants were given back", before, now, c.acme.Stats().Revocations)
	}
	finish := func(link, company string) {
		t.Helper()
		b := newBrowser(c.world)
		callback := mustParse(t, b.consent(link, "alice"))
		q := callback.Query()
		q.Set("realmId", company)
		callback.RawQuery = q.Encode()
		b.get(callback.String()).want(t, http.StatusOK, "Connected as alice@acme.example")
	}
	finish(c.linkTo("the other company"), "124")
	if now := c.connection(); now.Version != before.Version || now.Variables["company"] != "123" {
		t.Errorf("the first was %+v and is %+v", before, now)
	}
	other := c.named("the other company")
	if other.Variables["company"] != "124" || other.ID == before.ID || other.AccountLabel != "alice@acme.example" {
		t.Errorf("%+v", other)
	}
	// What the token endpoint says may move, and the account is the same one.
	c.variables = map[string]string{"instance": "na2.acme.example"}
	finish(c.link(alice), "123")
	if now := c.connection(); now.ID != before.ID || !maps.Equal(now.Variables, map[string]string{"instance": "na2.acme.example", "company": "123"}) {
		t.Errorf("was %+v, is %+v", before, now)
	}
}

func TestAConnectionIsTriedOutAtItsOwnAddress(t *testing.T) {
	c := newCompanies(t)
	c.reload(behindASite)
	b := newBrowserAs(c.world, alice.User)
	callback := mustParse(t, b.consent(c.link(alice), "alice"))
	b.get(callback.String()+"&realmId=123").want(t, http.StatusOK, "Connected as alice@acme.example")
	c.reload(func(cfg *connect.Config) { cfg.Tokens = &tokens{w: c.world} })
	c.calls = nil
	b.undo(t, c.connection().ID, "test").says(t, "It works")
	if want := []string{"https://na1.acme.example/v3/company/123/companyinfo/123"}; !slices.Equal(c.calls, want) {
		t.Errorf("calls %q", c.calls)
	}
}

// At most providers a revocation ends all that the client has of the account.
func TestWhatIsNotExpectedIsNotGivenBackWhereAnotherLivesOnIt(t *testing.T) {
	w, _ := connected(t)
	token := w.connection().AccessToken.Reveal()
	w.cfg.Toolkits["acme"].Toolkit.ExpectAccount = []string{"bob@acme.example"}
	other := caller.Caller{Tenant: alice.Tenant, Agent: alice.Agent, User: "user-2"}
	newBrowserAs(w, other.User).connect(w.link(other), "alice").want(t, http.StatusOK, "Connect Acme?")
	w.wantReported("failed other_account")
	if r, _ := http.NewRequest("GET", acmeURL+"/v1/me", nil); w.apiStatus(r, token) != http.StatusOK {
		t.Error("alice's grant was ended by another user's sign-in")
	}
	newBrowserAs(w, other.User).connect(w.link(other), "carol").want(t, http.StatusOK, "Connect Acme?")
	if n := w.acme.Stats().Revocations; n != 1 {
		t.Errorf("%d grants were given back", n)
	}
}

func reversed(words string) string {
	all := strings.Fields(words)
	slices.Reverse(all)
	return strings.Join(all, " ")
}
