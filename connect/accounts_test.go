// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

func hashed(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// statusOf asks for a connection's status.
func (w *world) statusOf(t *testing.T, query, account string) (int, statusAnswer) {
	t.Helper()
	r := httptest.NewRequest("GET", public+"/v1/connections/acme"+query, nil)
	r.Header.Set("X-User-Id", alice.User)
	if account != "" {
		r.Header.Set("X-Account", account)
	}
	res := w.serve(r)
	var answer statusAnswer
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

// says compares a status, which is a number in a refusal.
func (a statusAnswer) says(s connection.Status) bool { return string(a.Status) == `"`+string(s)+`"` }

// linkTo is the link for an account, as the agent names it.
func (w *world) linkTo(account string) string {
	w.t.Helper()
	l, err := w.service.LinkFor(w.t.Context(), alice, connect.Ask{Toolkits: []string{"acme"}, Account: account})
	if err != nil {
		w.t.Fatal(err)
	}
	return l.URL
}

// accounts are all that alice has of Acme.
func (w *world) accounts() connection.Accounts {
	w.t.Helper()
	all, err := w.vault.Accounts(w.t.Context(), aliceKey)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// named is alice's connection by that name.
func (w *world) named(name string) connection.Connection {
	w.t.Helper()
	account, err := w.accounts().Pick(name)
	if err != nil {
		w.t.Fatalf("%q: %v of %+v", name, err, w.accounts())
	}
	key := aliceKey
	key.Account = account
	c, err := w.vault.Load(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// twoAccounts is a world where alice has connected alice@ and then bob@acme.example.
func twoAccounts(t *testing.T, changes ...func(*connect.Config)) (*world, *browser) {
	t.Helper()
	w, b := connected(t, changes...)
	newBrowserAs(w, alice.User).connect(w.linkTo("bob@acme.example"), "bob").want(t, http.StatusOK, "Connected as bob@acme.example")
	return w, b
}

func TestASecondAccountStandsBesideTheFirst(t *testing.T) {
	w, _ := connected(t)
	first := w.connection()
	link := w.linkTo("bob@acme.example")
	b := newBrowserAs(w, alice.User)
	if p := b.get(link); !strings.Contains(p.text, "bob@acme.example") {
		t.Errorf("the page does not say which account:\n%s", p.text)
	}
	b.connect(link, "bob").want(t, http.StatusOK, "Connected as bob@acme.example")
	if now := w.connection(); now.Version != first.Version || !now.AccessToken.Equal(first.AccessToken) {
		t.Errorf("the first was %+v and is %+v", first, now)
	}
	second := w.named("bob@acme.example")
	if second.ID == first.ID || second.Key.Account != second.ID || second.Label != "" || second.AccountLabel != "bob@acme.example" {
		t.Errorf("the second is %+v", second)
	}
	if all := w.accounts(); len(all.All) != 2 || all.Nobody || all.Default != "" {
		t.Errorf("%+v", all)
	}
	if told := w.told[len(w.told)-1]; told.Key != second.Key {
		t.Errorf("told of %+v", told.Key)
	}
}

func TestTheFirstAccountGoesWhereTheOnlyOneWas(t *testing.T) {
	for _, wanted := range []string{"work", "alice@acme.example", "conn_ABCDEFGHIJKLMNOPQRSTUVWXYZ"} {
		w := newWorld(t)
		newBrowser(w).connect(w.linkTo(wanted), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
		conn := w.connection() // at the key without an account
		if got := w.named(wanted); got.Key != aliceKey || got.AccountLabel != "alice@acme.example" || got.ID != conn.ID {
			t.Errorf("%s: %+v", wanted, got)
		}
	}
}

// The same call works afterwards, by the very name that the agent used.
func TestANewAccountBearsTheNameThatWasAskedFor(t *testing.T) {
	w, _ := connected(t)
	newBrowserAs(w, alice.User).connect(w.linkTo("home"), "bob").want(t, http.StatusOK, "Connected as bob@acme.example")
	if c := w.named("home"); c.Label != "home" || c.AccountLabel != "bob@acme.example" || c.Key == aliceKey {
		t.Errorf("%+v", c)
	}
	// And is found by that name when its access is asked for once more.
	before := w.named("home")
	newBrowserAs(w, alice.User).connect(w.linkTo("Home"), "bob")
	after := w.named("bob@acme.example")
	if len(w.accounts().All) != 2 || after.Key != before.Key || after.ID != before.ID || after.Label != "home" || after.AccessToken.Equal(before.AccessToken) || !after.CreatedAt.Equal(before.CreatedAt) {
		t.Errorf("was %+v, is %+v", before, after)
	}
}

func TestAnAddressThatWasAskedForIsTheOneThatIsConnected(t *testing.T) {
	w, b := connected(t)
	p := b.get(b.consent(w.linkTo("bob@acme.example"), "alice")) // signed in at Acme as alice still
	if !strings.Contains(p.text, "not the one that is expected") {
		t.Errorf("said\n%s", p.text)
	}
	if len(w.accounts().All) != 1 {
		t.Errorf("%+v", w.accounts())
	}
	// Alice's own grant, which this was another one of, lives on.
	if r, _ := http.NewRequest("GET", acmeURL+"/v1/me", nil); w.apiStatus(r, w.connection().AccessToken.Reveal()) != http.StatusOK {
		t.Error("alice's grant was ended")
	}
	// One that nobody else lives on is given back.
	if got := w.acme.Stats().Revocations; got != 0 {
		t.Errorf("%d revocations", got)
	}
	other := newBrowserAs(w, alice.User)
	p = other.get(other.consent(w.linkTo("carol@acme.example"), "bob"))
	if !strings.Contains(p.text, "not the one that is expected") || w.acme.Stats().Revocations != 1 {
		t.Errorf("%d revocations, and\n%s", w.acme.Stats().Revocations, p.text)
	}
}

func TestAnAccountThatIsThereIsNotConnectedTwice(t *testing.T) {
	w, b := connected(t)
	before := w.connection()
	b.connect(w.linkTo("work"), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	after := w.connection()
	if len(w.accounts().All) != 1 || after.ID != before.ID || after.Label != "work" || after.AccessToken.Equal(before.AccessToken) {
		t.Errorf("was %+v, is %+v of %+v", before, after, w.accounts())
	}
}

func TestAConnectionThatWasTakenAwayGetsItsIDAgain(t *testing.T) {
	w, b := twoAccounts(t)
	id := w.named("bob@acme.example").ID
	b.undo(t, id, "disconnect")
	newBrowserAs(w, alice.User).connect(w.linkTo(id), "bob").want(t, http.StatusOK, "Connected as bob@acme.example")
	if c := w.named(id); c.ID != id || c.AccountLabel != "bob@acme.example" || c.Label != "" {
		t.Errorf("%+v", c)
	}
}

func TestALinkForAnAccountIsItsOwnAndGivenAgain(t *testing.T) {
	w, _ := twoAccounts(t)
	plain, bob := w.link(alice), w.linkTo("bob@acme.example")
	if again := w.linkTo(w.named("bob@acme.example").ID); again != bob || plain == bob || w.linkTo("carol") == bob {
		t.Errorf("%s, %s, %s", plain, bob, again)
	}
	if first := w.linkTo("alice@acme.example"); first != plain {
		t.Errorf("the first by its name: %s, by none: %s", first, plain)
	}
}

// A gateway of the version before knows one account alone. It finds no link for another,
// and so cannot put that one's grant over the first.
func TestAnOlderVersionFindsNoLinkForAFurtherAccount(t *testing.T) {
	w, _ := connected(t)
	for link, want := range map[string]string{w.link(alice): "link", w.linkTo("bob@acme.example"): "account-link"} {
		id := link[strings.LastIndex(link, "/")+1:]
		for _, kind := range []string{"link", "account-link"} {
			_, err := w.vault.Get(t.Context(), vault.Name(kind, hashed(id)))
			if there := err == nil; there != (kind == want) || err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s as %s: %v", id, kind, err)
			}
		}
	}
}

func TestWhatMayMeanSeveralIsNotGuessed(t *testing.T) {
	w, b := twoAccounts(t)
	b.undo(t, w.connection().ID, "disconnect")
	newBrowserAs(w, alice.User).connect(w.linkTo("alice@acme.example"), "alice")
	for _, name := range []string{"bob@acme.example", "alice@acme.example"} {
		c := w.named(name)
		c.Label = "mine"
		if _, err := w.vault.Save(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.service.LinkFor(t.Context(), alice, connect.Ask{Toolkits: []string{"acme"}, Account: "mine"})
	if several, ok := errors.AsType[*connection.Ambiguous](err); !ok || len(several.Choices) != 2 {
		t.Errorf("a link for either: %v", err)
	}
}

// do presses a button of the page of all that is connected.
func (b *browser) undo(t *testing.T, id, deed string) *page {
	t.Helper()
	form := formOf(t, b.get(mine))
	if form == nil {
		t.Fatal("there is nothing to press")
	}
	form.fields.Set("id", id)
	form.fields.Set("do", deed)
	return b.navigate("POST", mine, form.fields, "same-origin")
}

func TestAPersonSeesAllAccountsAndChoosesTheDefault(t *testing.T) {
	w, b := twoAccounts(t)
	p := b.get(mine)
	for _, text := range []string{"alice@acme.example", "bob@acme.example", "Assistants use it when they name none", "Make default"} {
		if strings.Count(p.text, text) == 0 {
			t.Errorf("the page does not say %q:\n%s", text, p.text)
		}
	}
	if strings.Count(p.text, "when they name none") != 1 || strings.Count(p.text, `value="default"`) != 1 {
		t.Errorf("one is the default, and one may become it:\n%s", p.text)
	}
	bob := w.named("bob@acme.example")
	p = b.undo(t, bob.ID, "default")
	p.want(t, http.StatusOK, "What you have connected")
	if all := w.accounts(); all.Nobody || all.Default != bob.ID || !strings.Contains(p.text, "from now on") {
		t.Errorf("%+v\n%s", all, p.text)
	}
	if !strings.HasSuffix(w.audit.text(), "default_chosen") {
		t.Errorf("audit: %s", w.audit.text())
	}
	if told := w.told[len(w.told)-1]; told.Key != aliceKey || !told.NotDefault {
		t.Errorf("told of %+v", told)
	}
	b.undo(t, w.connection().ID, "default")
	if all := w.accounts(); all.Nobody || all.Default != "" {
		t.Errorf("%+v", all)
	}
}

func TestNobodyChoosesForAnother(t *testing.T) {
	w, _ := twoAccounts(t)
	mallory := newBrowserAs(w, "mallory")
	bob := w.named("bob@acme.example")
	w.copyFor(t, "mallory")
	for _, deed := range []string{"default", "disconnect", "nonsense"} {
		mallory.undo(t, bob.ID, deed)
	}
	if all := w.accounts(); all.Default != "" || len(all.All) != 2 {
		t.Errorf("%+v", all)
	}
	if strings.Contains(w.audit.text(), "default_chosen") || strings.Contains(w.audit.text(), "disconnected") {
		t.Errorf("audit: %s", w.audit.text())
	}
}

// copyFor gives somebody a connection, so that there is a form to press.
func (w *world) copyFor(t *testing.T, user string) {
	t.Helper()
	c := w.connection()
	c.User, c.ID, c.Version = user, "conn_of_"+user, 0
	if _, err := w.vault.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func TestABlankDeedIsNoDeed(t *testing.T) {
	w, b := connected(t)
	b.undo(t, w.connection().ID, "nonsense").want(t, http.StatusOK, "What you have connected")
	w.connection() // is there
}

func TestWhenTheDefaultIsDisconnectedTheOthersStay(t *testing.T) {
	w, b := twoAccounts(t)
	newBrowserAs(w, alice.User).connect(w.linkTo("club"), "carol")
	alices := w.connection().ID
	b.undo(t, alices, "disconnect")
	w.notConnected()
	if all := w.accounts(); !all.Nobody || len(all.All) != 2 {
		t.Errorf("%+v", all)
	}
	if p := b.get(mine); strings.Contains(p.text, "when they name none") || strings.Count(p.text, `value="default"`) != 2 {
		t.Errorf("the page says\n%s", p.text)
	}
	b.undo(t, w.named("club").ID, "default")
	if all := w.accounts(); all.Default != w.named("club").ID {
		t.Errorf("%+v", all)
	}
	for _, name := range []string{"club", "bob@acme.example"} {
		b.undo(t, w.named(name).ID, "disconnect")
	}
	if n := w.store.count("default"); n != 0 || len(w.accounts().All) != 0 {
		t.Errorf("%d records of a default are left", n)
	}
}

// A plain link, such as one of before, fills the first one's place.
func TestTheFirstPlaceTakenAnewDoesNotTakeTheDefault(t *testing.T) {
	w, b := twoAccounts(t)
	link := w.link(alice)
	b.undo(t, w.connection().ID, "disconnect")
	newBrowserAs(w, alice.User).connect(link, "carol").want(t, http.StatusOK, "Connected as carol@acme.example")
	bob := w.named("bob@acme.example")
	if all := w.accounts(); all.Nobody || all.Default != bob.ID || len(all.All) != 2 || !w.connection().NotDefault {
		t.Errorf("%+v", all)
	}
}

func TestTheStatusIsOfTheAccountThatIsMeant(t *testing.T) {
	w, b := twoAccounts(t)
	bob := w.named("bob@acme.example")
	for name, c := range map[string]struct{ query, header, want string }{
		"none": {"", "", "alice@acme.example"}, "header": {"", bob.ID, "bob@acme.example"}, "query": {"?account=bob%40acme.example", "", "bob@acme.example"},
		"both": {"?account=" + bob.ID, bob.ID, "bob@acme.example"},
	} {
		status, answer := w.statusOf(t, c.query, c.header)
		if status != 200 || answer.Account != c.want || !answer.says(connection.Active) || len(answer.Others) != 1 || answer.Others[0].ID == answer.ID {
			t.Errorf("%s: %d %+v", name, status, answer)
		}
	}
	if status, answer := w.statusOf(t, "?account=carol", ""); status != 200 || !answer.says(connection.NotConnected) || answer.Account != "" || len(answer.Others) != 2 {
		t.Errorf("an unknown one: %d %+v", status, answer)
	}
	for _, bad := range []string{"?account=", "?account=a&account=b", "?account=a%2Cb"} {
		if status, answer := w.statusOf(t, bad, ""); status != 400 || answer.Code != "invalid_account" {
			t.Errorf("%s: %d %+v", bad, status, answer)
		}
	}
	newBrowserAs(w, alice.User).connect(w.linkTo("club"), "carol")
	b.undo(t, w.connection().ID, "disconnect")
	if status, answer := w.statusOf(t, "", ""); status != 409 || answer.Code != "multiple_connections" || len(answer.Connections) != 2 {
		t.Errorf("without a default: %d %+v", status, answer)
	}
	// The address in a refusal asks for the account that the call was for.
	l, err := w.service.LinkFor(t.Context(), alice, connect.Ask{Toolkits: []string{"acme"}, Account: "dave@acme.example"})
	if err != nil || l.StatusURL != public+"/v1/connections/acme?account=dave%40acme.example" {
		t.Errorf("%s, %v", l.StatusURL, err)
	}
	newBrowserAs(w, alice.User).toProvider(l.URL)
	if status, answer := w.statusOf(t, "?account=dave@acme.example", ""); status != 200 || !answer.says(connection.Pending) {
		t.Errorf("under way: %d %+v", status, answer)
	}
}

func TestTwoBrowsersAtOnceMakeTwoConnectionsOrOne(t *testing.T) {
	w := newWorld(t)
	one, two := newBrowser(w), newBrowser(w)
	first, second := one.consent(w.linkTo("alice@acme.example"), "alice"), two.consent(w.linkTo("bob@acme.example"), "bob")
	// Both have seen that nothing is there; the second finds the place taken.
	w.store.before("put", "connection", func() { two.get(second) })
	one.get(first).want(t, http.StatusOK, "Connected as alice@acme.example")
	all := w.accounts()
	if len(all.All) != 2 || w.named("alice@acme.example").AccountLabel != "alice@acme.example" || w.named("bob@acme.example").AccountLabel != "bob@acme.example" {
		t.Errorf("%+v", all)
	}
	if !slices.ContainsFunc(all.All, func(c connection.Choice) bool { return c.Account == "" }) {
		t.Errorf("none is the first: %+v", all)
	}
}

// A call needed a scope that was not granted: the user is asked for it and for what they
// granted before, since the new grant takes the old one's place.
func TestALinkForAScopeAsksForItBesideWhatWasGranted(t *testing.T) {
	w, b := connected(t)
	before := w.connection()
	scopes := append(slices.Clone(before.Scopes), "write")
	ask := connect.Ask{Toolkits: []string{"acme"}, Scopes: scopes}
	tk := w.cfg.Toolkits["acme"].Toolkit
	l, err := w.service.LinkFor(t.Context(), alice, ask)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(scopes)
	if again, err := w.service.LinkFor(t.Context(), alice, ask); err != nil || again.URL != l.URL || l.URL == w.link(alice) {
		t.Errorf("%s, %s (%v), %s", l.URL, again.URL, err, w.link(alice))
	}
	query := l.StatusURL[len(public+"/v1/connections/acme"):]
	if status, answer := w.statusOf(t, query, ""); status != 200 || !answer.says(connection.Insufficient) || answer.Reason != "insufficient_scope" || !slices.Equal(answer.ScopesMissing, []string{"write"}) {
		t.Errorf("before: %d %+v", status, answer)
	}
	w.wantStatus(t, connection.Active, "") // for all else
	if p := b.get(l.URL); !strings.Contains(p.text, "<code>write</code>") || !strings.Contains(p.text, "<code>read</code>") {
		t.Errorf("the page says\n%s", p.text)
	}
	b.connect(l.URL, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	after := w.connection()
	if after.ID != before.ID || !slices.Contains(after.Scopes, "write") || !slices.Contains(after.Scopes, "read") {
		t.Errorf("was %+v, is %+v", before, after)
	}
	if status, answer := w.statusOf(t, query, ""); status != 200 || !answer.says(connection.Active) {
		t.Errorf("afterwards: %d %+v", status, answer)
	}
	if strings.Join(tk.OAuth.Scopes, " ") != "read offline_access" {
		t.Errorf("the toolkit asks everybody for %v", tk.OAuth.Scopes)
	}
}
