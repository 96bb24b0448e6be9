// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// threeToolkits are Acme, a second toolkit of its, and one with keys of the users' own.
func threeToolkits(t testing.TB) func(*connect.Config) {
	return func(cfg *connect.Config) {
		second := acmeToolkit(t, "second")
		second.Name = "Second"
		keys := keyToolkit(t, toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "X-Acme-Key"})
		keys.ID, keys.Name = "keys", "Keys"
		cfg.Toolkits["second"] = connect.Endpoint{Toolkit: second, Upstream: cfg.Toolkits["acme"].Upstream}
		cfg.Toolkits["keys"] = connect.Endpoint{Toolkit: keys, Upstream: new(keyDesk)}
	}
}

func (w *world) linkFor(who caller.Caller, toolkits ...string) string {
	w.t.Helper()
	l, err := w.service.LinkFor(w.t.Context(), who, connect.Ask{Toolkits: toolkits})
	if err != nil {
		w.t.Fatal(err)
	}
	return l.URL
}

func (w *world) connectedTo(toolkits ...string) {
	w.t.Helper()
	var have []string
	for id := range w.cfg.Toolkits {
		if c, err := w.vault.Load(w.t.Context(), connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: id}); err == nil && c.Status == connection.Active {
			have = append(have, id)
		}
	}
	slices.Sort(have)
	if !slices.Equal(have, slices.Sorted(slices.Values(toolkits))) {
		w.t.Errorf("connected to %q, want %q", have, toolkits)
	}
}

// pressFor submits the form for one toolkit of a page that has several.
func (b *browser) pressFor(p *page, toolkitID string, more ...string) *page {
	b.w.t.Helper()
	for n := range parseHTML(b.w.t, p.text).Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" && strings.HasSuffix(attribute(n, "action"), "/"+toolkitID) {
			fields := url.Values{"token": {formOf(b.w.t, p).fields.Get("token")}}
			for field := range n.Descendants() {
				if field.Data == "input" && attribute(field, "type") == "hidden" {
					fields.Set(attribute(field, "name"), attribute(field, "value"))
				}
			}
			for i := 0; i < len(more); i += 2 {
				fields.Set(more[i], more[i+1])
			}
			return b.navigate("POST", attribute(n, "action"), fields, "same-origin")
		}
	}
	b.w.t.Fatalf("%s has no button for %s:\n%s", p.address, toolkitID, p.text)
	return nil
}

// connectFor connects one toolkit of a link for several and gives the last page.
func (b *browser) connectFor(link, toolkitID, user string) *page {
	b.w.t.Helper()
	return b.get(b.answer(b.pressFor(b.get(link), toolkitID), user, "allow"))
}

func (p *page) says(t testing.TB, texts ...string) {
	t.Helper()
	shown := textOf(parseHTML(t, p.text))
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			t.Errorf("%s does not say %q:\n%s", p.address, text, shown)
		}
	}
}

func (p *page) hides(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(p.text, text) {
			t.Errorf("%s says %q:\n%s", p.address, text, p.text)
		}
	}
}

func TestOneLinkConnectsSeveralToolkitsOneAfterTheOther(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, link := newBrowser(w), w.linkFor(alice, "second", "keys", "acme")
	p := b.get(link)
	p.want(t, http.StatusOK, "Connect 3 services")
	p.says(t, "support-bot", "0 of 3 connected", "Not connected yet", "offline_access", "15 more minutes")
	if strings.Index(p.text, "<h2>Second") > strings.Index(p.text, "<h2>Acme") {
		t.Error("they are not in the order that was asked for")
	}

	p = b.connectFor(link, "acme", "alice")
	p.want(t, http.StatusOK, "Connect 3 services")
	p.says(t, "1 of 3 connected", "Connected as alice@acme.example")
	if p.address != link {
		t.Errorf("it goes on at %s", p.address)
	}
	w.connectedTo("acme")
	if w.linkFor(alice, "acme", "keys", "second") != link {
		t.Error("another link while this one has something left to do")
	}

	p = b.get(link + "/keys")
	p.want(t, http.StatusOK, "Connect Keys?")
	b.press(p, "key.key", badKey).want(t, http.StatusOK, "Connect Keys?")
	b.get(link).says(t, "1 of 3 connected", "does not accept what you entered")
	p = b.press(b.get(link+"/keys"), "key.key", goodKey)
	p.says(t, "2 of 3 connected", "Connected as ada@acme.example")

	b.get(b.answer(b.pressFor(b.get(link), "second"), "bob", "deny")).says(t, "2 of 3 connected", "You declined")
	newBrowser(w).get(link).want(t, http.StatusGone, "This link has done its work")
	p = b.connectFor(link, "second", "bob")
	p.want(t, http.StatusOK, "Everything is connected")
	p.says(t, "Connected as alice@acme.example", "Connected as ada@acme.example")
	w.connectedTo("acme", "keys", "second")
	if formOf(t, p) != nil {
		t.Error("there still is a button")
	}
	if w.linkFor(alice, "acme", "keys", "second") == link {
		t.Error("a link that has done its work was given again")
	}
	if got := w.audit.text(); got != "link_started, connected, link_started, connect_failed wrong_key, link_started, connected, link_started, connect_failed denied, link_started, connected" {
		t.Errorf("audit: %s", got)
	}
}

func TestWhatIsConnectedOnALinkIsNotConnectedAgain(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second")
	before := b.get(link)
	b.connectFor(link, "acme", "alice")
	for name, p := range map[string]*page{"the button": b.pressFor(before, "acme"), "the address": b.get(link + "/acme")} {
		if p.address != link || p.status != http.StatusOK {
			t.Errorf("%s leads to %d %s", name, p.status, p.address)
		}
	}
	if n := w.acme.Stats().TokenRequests; n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// The accounts of two people would become those of one user.
func TestWhereNobodyAsksOneBrowserConnectsAllOfALink(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, other := newBrowser(w), newBrowser(w)
	link := w.linkFor(alice, "acme", "second")
	callback := func() string { // the other one is on its way by then
		return other.answer(other.pressFor(other.get(link), "second"), "bob", "allow")
	}()
	open := other.get(link)
	b.connectFor(link, "acme", "alice")

	other.get(callback).want(t, http.StatusGone, "This link has done its work")
	other.pressFor(open, "second").want(t, http.StatusGone, "This link has done its work")
	other.get(link+"/second").want(t, http.StatusGone, "This link has done its work")
	p := other.get(link)
	p.want(t, http.StatusGone, "This link has done its work")
	p.hides(t, "alice")
	w.connectedTo("acme")
	b.connectFor(link, "second", "alice").want(t, http.StatusOK, "Everything is connected")
}

func TestWhatWentWrongIsShownToWhoDidIt(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second")
	b.get(b.answer(b.pressFor(b.get(link), "acme"), "alice", "deny")).says(t, "You declined")
	newBrowser(w).get(link).hides(t, "You declined")
}

func TestTheProgressIsForItsUserAlone(t *testing.T) {
	w := newWorld(t, threeToolkits(t), behindASite)
	link := w.linkFor(alice, "acme", "second")
	newBrowserAs(w, alice.User).connectFor(link, "acme", "alice")
	newBrowserAs(w, "mallory").get(link).want(t, http.StatusForbidden, "This link is for somebody else")
	newBrowser(w).get(link+"/second").want(t, http.StatusForbidden, "Please sign in first")
	// Another device of the same person goes on.
	phone := newBrowserAs(w, alice.User)
	phone.get(link).says(t, "1 of 2 connected", "Connected as alice@acme.example")
	phone.connectFor(link, "second", "alice").want(t, http.StatusOK, "Everything is connected")
}

func TestALinkForSeveralThatIsOpenedLateGoesOnWithWhatIsLeft(t *testing.T) {
	w := newWorld(t, threeToolkits(t), behindASite)
	b, link := newBrowserAs(w, alice.User), w.linkFor(alice, "acme", "keys", "second")
	b.connectFor(link, "acme", "alice")
	w.clock.pass(time.Hour)
	b.as(alice.User)
	p := b.connectFor(link, "second", "alice")
	p.want(t, http.StatusOK, "Connect 2 services")
	p.says(t, "1 of 2 connected")
	if p.address == link {
		t.Error("it goes on with a link that is over")
	}
	w.connectedTo("acme", "second")

	w = newWorld(t, threeToolkits(t))
	link = w.linkFor(alice, "acme", "second")
	w.clock.pass(15 * time.Minute)
	newBrowser(w).get(link).want(t, http.StatusGone, "This link has expired")
	newBrowser(w).get(link+"/acme").want(t, http.StatusGone, "This link has expired")
}

func TestAnsweringAtAnotherToolkitsCallbackIsRefused(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second")
	callback := b.answer(b.pressFor(b.get(link), "acme"), "alice", "allow")
	b.get(strings.Replace(callback, "/callback/acme", "/callback/second", 1)).want(t, http.StatusBadRequest, "This sign-in cannot be finished")
	w.wantReported("refused toolkit_mismatch")
	newBrowser(w).get(callback).want(t, http.StatusForbidden, "This sign-in was started in another browser")
	w.connectedTo()
	b.get(callback).says(t, "1 of 2 connected")
}

func TestPreviewsOfALinkForSeveralChangeNothing(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	link := w.linkFor(alice, "acme", "keys")
	before, writes := w.store.dump(), w.store.writes
	for _, address := range []string{link, link + "/acme", link + "/keys"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if res := newBrowser(w).send(method, address, nil, "none"); res.StatusCode != http.StatusOK {
				t.Errorf("%s %s: %d", method, address, res.StatusCode)
			}
		}
	}
	if w.store.dump() != before || w.store.writes != writes || w.audit.text() != "" {
		t.Error("a preview has changed something")
	}
}

func TestOnlyToolkitsOfTheLinkHaveAPage(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	several, single := w.linkFor(alice, "acme", "second"), w.link(alice)
	for _, address := range []string{several + "/keys", several + "/", several + "/acme/", several + "/acme/x", several + "/nothing", single + "/acme", single + "/"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if res := newBrowser(w).send(method, address, url.Values{}, "same-origin"); res.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, address, res.StatusCode)
			}
		}
	}
}

func TestWhoMayNotGetALinkForSeveralIsToldWhy(t *testing.T) {
	w := newWorld(t, threeToolkits(t), func(cfg *connect.Config) {
		cfg.May = func(_ caller.Caller, id string) bool { return id != "second" }
		ours := acmeToolkit(t, "ours")
		ours.OAuth, ours.Auth = nil, toolkit.Auth{Kind: toolkit.APIKey}
		cfg.Toolkits["ours"] = connect.Endpoint{Toolkit: ours}
		draft := acmeToolkit(t, "draft")
		draft.Missing = []string{"client_id"}
		cfg.Toolkits["draft"] = connect.Endpoint{Toolkit: draft}
	})
	for text, code := range map[string]problem.Code{
		"": problem.BadRequest, "acme acme": problem.BadRequest, "acme nothing": problem.UnknownToolkit, "acme second": problem.ToolkitForbidden,
		"acme ours": problem.BadRequest, "acme draft": problem.ToolkitDraft, strings.Repeat("acme ", 21): problem.BadRequest,
	} {
		_, err := w.service.LinkFor(t.Context(), alice, connect.Ask{Toolkits: strings.Fields(text)})
		if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Code != code {
			t.Errorf("%q: %v, want %s", text, err, code)
		}
	}
	if w.store.writes != 0 {
		t.Error("something was written")
	}
}

func TestALinkForSeveralGoesOnWithoutAToolkitThatIsGone(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second")
	open := b.get(link)
	callback := b.answer(b.pressFor(open, "second"), "alice", "allow")
	second := w.cfg.Toolkits["second"]
	w.reload(func(cfg *connect.Config) { delete(cfg.Toolkits, "second") })
	b.get(link).says(t, "Not offered here any more", "0 of 2 connected")
	b.get(callback).want(t, http.StatusNotFound, "This service was set up anew meanwhile")
	b.pressFor(open, "second").want(t, http.StatusNotFound, "This service was set up anew meanwhile")
	b.connectFor(link, "acme", "alice").says(t, "1 of 2 connected")
	w.reload(func(cfg *connect.Config) { cfg.Toolkits["second"] = second })
	b.get(callback).want(t, http.StatusOK, "Everything is connected")
}

func TestTwoToolkitsOfALinkConnectAtOnce(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second")
	open := b.get(link)
	first := b.answer(b.pressFor(open, "acme"), "alice", "allow")
	second := b.answer(b.pressFor(open, "second"), "alice", "allow")
	var both sync.WaitGroup
	for _, callback := range []string{first, second} {
		both.Go(func() {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, callback, nil)
			b.addCookies(r)
			if res, err := w.RoundTrip(r); err != nil || res.Header.Get("Location") != link {
				t.Errorf("%v %v", res, err)
			}
		})
	}
	both.Wait()
	w.connectedTo("acme", "second")
	b.get(link).want(t, http.StatusOK, "Everything is connected")
}

func TestAnAgentSeesThatItsUserIsOnTheWayWithALinkForSeveral(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	b, link := newBrowser(w), w.linkFor(alice, "acme", "second")
	b.pressFor(b.get(link), "acme")
	w.wantStatus(t, connection.Pending, connection.ConnectPending)
	if l, err := w.service.LinkFor(t.Context(), alice, connect.Ask{Toolkits: []string{"acme", "second"}}); err != nil || !l.Pending {
		t.Errorf("%+v %v", l, err)
	}
	if answer, _ := w.status(t, http.MethodGet, "second"); string(answer.Status) != `"not_connected"` {
		t.Errorf("the other toolkit is %s", answer.Status)
	}
	w.clock.pass(10 * time.Minute)
	w.wantStatus(t, connection.NotConnected, connection.NoConnection)
}

// Gateways of this version and of the one before run side by side on one store.
func TestALinkForOneToolkitIsStoredAsTheVersionBeforeKnowsIt(t *testing.T) {
	w := newWorld(t, threeToolkits(t))
	single, several := storedLink(t, w, w.link(alice)), storedLink(t, w, w.linkFor(alice, "acme", "second"))
	names := slices.Sorted(maps.Keys(single))
	if want := []string{"agent", "created", "expires", "id", "tenant", "toolkit", "user"}; !slices.Equal(names, want) || single["toolkit"] != "acme" {
		t.Errorf("one toolkit: %v", single)
	}
	if several["toolkit"] != "" || len(several["parts"].([]any)) != 2 {
		t.Errorf("the version before would take %v for a link of its own", several)
	}
}

func storedLink(t *testing.T, w *world, link string) (all map[string]any) {
	t.Helper()
	d, err := w.vault.Get(context.Background(), linkRecordName(link))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(d.Plain, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func hashOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// linkRecordName is where a link is kept.
func linkRecordName(link string) string {
	return vault.Name("link", hashOf(link[strings.LastIndex(link, "/")+1:]))
}

func TestALinkOfTheVersionBeforeGoesOn(t *testing.T) {
	w := newWorld(t)
	id := "c_" + strings.Repeat("A", 24)
	plain := `{"id":"` + id + `","tenant":"acme-inc","agent":"support-bot","user":"user-1","toolkit":"acme","created":"2026-11-20T06:00:00Z","expires":"2026-11-20T06:15:00Z"}`
	note := vault.Name("link-for", "acme-inc", "support-bot", "user-1", "acme")
	for _, name := range []string{note, linkRecordName("/" + id)} {
		if err := w.vault.Put(t.Context(), vault.Document{Name: name, Plain: []byte(plain), Version: 1, Expires: w.clock.now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	link := w.link(alice)
	if link != public+"/connect/"+id {
		t.Errorf("the link is %s", link)
	}
	newBrowser(w).connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
}
