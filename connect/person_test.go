// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/secret"
)

// siteUser is who is signed in on the site in front, by a cookie of its own.
type siteUser struct{ err error }

func (s siteUser) User(r *http.Request) (string, error) {
	c, err := r.Cookie("site")
	if err != nil {
		return "", s.err
	}
	return c.Value, s.err
}

func behindASite(cfg *connect.Config) { cfg.Verifier = siteUser{} }

// as signs the browser in on the site in front; "" signs it out.
func (b *browser) as(user string) {
	if b.cookies["connect.example.com"] == nil {
		b.cookies["connect.example.com"] = map[string]kept{}
	}
	b.cookies["connect.example.com"]["site"] = kept{user, b.w.clock.now().Add(time.Hour)}
	if user == "" {
		delete(b.cookies["connect.example.com"], "site")
	}
}

func TestOnlyTheLinksUserGoesOn(t *testing.T) {
	w := newWorld(t, behindASite)
	b := newBrowser(w)
	link := w.link(alice)
	b.get(link).want(t, http.StatusForbidden, "Please sign in first")
	b.as("mallory")
	b.get(link).want(t, http.StatusForbidden, "This link is for somebody else")
	w.wantReported("refused other_user")
	b.as("USER-1") // ids are exact
	b.get(link).want(t, http.StatusForbidden, "This link is for somebody else")
	b.as(alice.User)
	b.connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	b.as("mallory")
	b.get(link).want(t, http.StatusForbidden, "This link is for somebody else")
}

// The page may have been opened by the right one, and what follows done by another.
func TestEveryStepAsksAgainWhoItIs(t *testing.T) {
	for _, who := range []struct{ user, heading string }{{"", "Please sign in first"}, {"mallory", "This link is for somebody else"}} {
		w := newWorld(t, behindASite)
		b := newBrowser(w)
		b.as(alice.User)
		link := w.link(alice)
		p := b.get(link)
		b.as(who.user)
		b.press(p).want(t, http.StatusForbidden, who.heading)
		if got := w.audit.text(); got != "" {
			t.Errorf("%q: a flow was started: %s", who.user, got)
		}
		b.as(alice.User)
		callback := b.consent(link, "alice")
		b.as(who.user)
		b.get(callback).want(t, http.StatusForbidden, who.heading)
		if n := w.acme.Stats().TokenRequests; n != 0 {
			t.Errorf("%q: the code was spent", who.user)
		}
		w.notConnected()
		b.as(alice.User)
		b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
	}
}

func TestWhereNobodyCanSayWhoItIsNothingHappens(t *testing.T) {
	w := newWorld(t, func(cfg *connect.Config) { cfg.Verifier = siteUser{errors.New("the keys cannot be had")} })
	b := newBrowser(w)
	b.as(alice.User)
	b.get(w.link(alice)).want(t, http.StatusServiceUnavailable, "That did not work just now")
	w.wantReported("trouble verify_user")
}

func TestALinkThatIsOpenedLateGoesOnForItsUserAlone(t *testing.T) {
	w := newWorld(t, behindASite)
	link := w.link(alice)
	w.clock.pass(time.Hour)
	other := newBrowser(w)
	other.as("mallory")
	other.get(link).want(t, http.StatusForbidden, "This link is for somebody else")
	b := newBrowser(w)
	b.as(alice.User)
	p := b.get(link)
	p.want(t, http.StatusOK, "Connect Acme?")
	if strings.Contains(p.text, "This link is good for") {
		t.Error("the page tells of a life that is over")
	}
	last := b.connect(link, "alice")
	last.want(t, http.StatusOK, "Connected as alice@acme.example")
	if last.address == link || last.address != w.link(alice) && w.connection().Status != "active" {
		t.Errorf("it ended at %s", last.address)
	}
	// And it is a link like any other: used once.
	newBrowserAs(w, alice.User).get(last.address).want(t, http.StatusGone, "This link has done its work")
}

func newBrowserAs(w *world, user string) *browser {
	b := newBrowser(w)
	b.as(user)
	return b
}

const confirmKey = "marker-confirm-key"

func atTheApplication(cfg *connect.Config) {
	page, _ := url.Parse("https://app.example/verify?from=chat")
	cfg.SignIn = &connect.Confirming{Page: page, Key: secret.New(confirmKey)}
}

// toApplication opens a link and gives the flow with which the browser is sent to the
// operator's page.
func (b *browser) toApplication(link string) (flow string) {
	b.w.t.Helper()
	b.halt = "/verify"
	defer func() { b.halt = "" }()
	p := b.get(link)
	if p.status != http.StatusOK {
		b.w.t.Fatalf("the link answers %d", p.status)
	}
	to := mustParse(b.w.t, b.press(p).next)
	if to.Host != "app.example" || to.Query().Get("from") != "chat" {
		b.w.t.Fatalf("sent to %s", to)
	}
	return to.Query().Get("flow_id")
}

// says is the operator's server: it tells who it saw.
func (w *world) says(method, key, body string) (status int, answer struct{ NextURI, Code string }) {
	w.t.Helper()
	r, _ := http.NewRequest(method, public+"/v1/confirm_user", strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := w.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	var raw struct {
		NextURI string `json:"next_uri"`
		Code    string `json:"code"`
	}
	_ = json.NewDecoder(res.Body).Decode(&raw)
	answer.NextURI, answer.Code = raw.NextURI, raw.Code
	return res.StatusCode, answer
}

func (w *world) confirm(flow, user string) (next string) {
	w.t.Helper()
	status, answer := w.says("POST", confirmKey, `{"flow_id":"`+flow+`","user_id":"`+user+`"}`)
	if status != http.StatusOK {
		w.t.Fatalf("%d %s", status, answer.Code)
	}
	return answer.NextURI
}

func TestTheOperatorsApplicationSaysWhoItIs(t *testing.T) {
	w := newWorld(t, atTheApplication)
	b := newBrowser(w)
	link := w.link(alice)
	next := w.confirm(b.toApplication(link), alice.User)
	b.get(next).want(t, http.StatusOK, "Connect Acme?")
	b.connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	b.get(next).want(t, http.StatusBadRequest, "This sign-in cannot be finished")
	for name, c := range b.cookies["connect.example.com"] { // of a browser that keeps them
		b.cookies["connect.example.com"][name] = kept{c.value, c.until.Add(time.Hour)}
	}
	w.clock.pass(time.Hour)
	b.get(w.link(alice)).want(t, http.StatusOK, "Is it you?")
}

// The attacker has the victim's link and has the victim confirm the attacker's flow.
func TestAConfirmationIsGoodInTheBrowserThatAskedAlone(t *testing.T) {
	w := newWorld(t, atTheApplication)
	attacker, victim := newBrowser(w), newBrowser(w)
	link := w.link(alice)
	next := w.confirm(attacker.toApplication(link), alice.User)
	victim.get(next).want(t, http.StatusForbidden, "This sign-in was started in another browser")
	w.wantReported("refused other_browser")
	attacker.get(link).want(t, http.StatusOK, "Is it you?")
	// The cookie that says who somebody is, in another browser.
	victim.get(w.confirm(victim.toApplication(link), alice.User)).want(t, http.StatusOK, "Connect Acme?")
	stolen := victim.cookies["connect.example.com"]["__Host-toolgate-user"]
	if stolen.value == "" {
		t.Fatal("the browser has no such cookie")
	}
	attacker.cookies["connect.example.com"]["__Host-toolgate-user"] = stolen
	attacker.get(link).want(t, http.StatusOK, "Is it you?")
}

// The one who sent the flow on knows it, and not what the application's server was given.
func TestAFlowAloneIsNoProof(t *testing.T) {
	for _, proof := range []string{"", "&proof=", "&proof=guess"} {
		w := newWorld(t, atTheApplication)
		b := newBrowser(w)
		flow := b.toApplication(w.link(alice))
		w.confirm(flow, alice.User)
		b.get(public+"/signin?state="+flow+proof).want(t, http.StatusForbidden, "We could not recognise you")
		unconfirmed := b.toApplication(w.link(alice))
		b.get(public+"/signin?state="+unconfirmed+proof).want(t, http.StatusForbidden, "We could not recognise you")
	}
}

func TestAConfirmationOfSomebodyElseIsRefused(t *testing.T) {
	w := newWorld(t, atTheApplication)
	b := newBrowser(w)
	flow := b.toApplication(w.link(alice))
	if status, answer := w.says("POST", confirmKey, `{"flow_id":"`+flow+`","user_id":"mallory"}`); status != http.StatusForbidden || answer.Code != "user_mismatch" {
		t.Errorf("%d %s", status, answer.Code)
	}
	w.wantReported("refused other_user")
	if status, _ := w.says("POST", confirmKey, `{"flow_id":"`+flow+`","user_id":"user-1"}`); status != http.StatusNotFound {
		t.Errorf("the flow is not over: %d", status)
	}
}

func TestOnlyTheOperatorsServerConfirmsAndOnce(t *testing.T) {
	w := newWorld(t, atTheApplication)
	b := newBrowser(w)
	flow := b.toApplication(w.link(alice))
	good := `{"flow_id":"` + flow + `","user_id":"user-1"}`
	for _, c := range []struct {
		method, key, body string
		status            int
	}{
		{"GET", confirmKey, good, 405}, {"POST", "", good, 401}, {"POST", "wrong", good, 401}, {"POST", confirmKey + "x", good, 401},
		{"POST", confirmKey, "", 400}, {"POST", confirmKey, "[]", 400}, {"POST", confirmKey, `{"flow_id":"` + flow + `"}`, 400},
		{"POST", confirmKey, `{"flow_id":"` + flow + `","user_id":"a b"}`, 400}, {"POST", confirmKey, `{"flow_id":"x","user_id":"user-1"}`, 404},
		{"POST", confirmKey, `{"flow_id":"` + flow + `","user_id":"` + strings.Repeat("x", 17<<10) + `"}`, 400},
		{"POST", confirmKey, good, 200}, {"POST", confirmKey, good, 404},
	} {
		if status, answer := w.says(c.method, c.key, c.body); status != c.status {
			t.Errorf("%s %.60s: %d %s, want %d", c.method, c.body, status, answer.Code, c.status)
		}
	}
	late := newBrowser(w).toApplication(w.link(alice))
	w.clock.pass(11 * time.Minute)
	if status, _ := w.says("POST", confirmKey, `{"flow_id":"`+late+`","user_id":"user-1"}`); status != http.StatusNotFound {
		t.Errorf("after eleven minutes: %d", status)
	}
	plain := newWorld(t)
	if status, answer := plain.says("POST", "", good); status != http.StatusNotFound || answer.Code != "not_found" {
		t.Errorf("where nobody asks: %d %s", status, answer.Code)
	}
}

func TestWithoutAKeyNobodyConfirms(t *testing.T) {
	w := newWorld(t, func(cfg *connect.Config) {
		atTheApplication(cfg)
		cfg.SignIn.(*connect.Confirming).Key = secret.String{}
	})
	if status, _ := w.says("POST", "", `{"flow_id":"x","user_id":"user-1"}`); status != http.StatusUnauthorized {
		t.Errorf("%d", status)
	}
}

// signIn is somebody's sign-in page at idp.example.
type signIn struct {
	user string
	err  error
	trip connect.Trip
}

func (s *signIn) Begin(_ context.Context, t *connect.Trip) (string, error) {
	t.Nonce, t.Verifier = "a-nonce", "a-verifier"
	return "https://idp.example/authorize?" + url.Values{"state": {t.State}, "back": {t.Back}}.Encode(), s.err
}

func (s *signIn) Finish(_ context.Context, _ url.Values, t connect.Trip) (string, error) {
	s.trip = t
	return s.user, s.err
}

func (s *signIn) Place() *url.URL { return &url.URL{Scheme: "https", Host: "idp.example"} }

// signedIn sends the browser to the sign-in and back, where it gives the page after that.
func (b *browser) signedIn(p *page) *page {
	b.w.t.Helper()
	b.halt = "/authorize"
	to := mustParse(b.w.t, b.press(p).next).Query()
	b.halt = ""
	return b.get(to.Get("back") + "?" + url.Values{"state": {to.Get("state")}, "code": {"c"}}.Encode())
}

func TestAPersonSignsIn(t *testing.T) {
	idp := &signIn{user: alice.User}
	w := newWorld(t, func(cfg *connect.Config) { cfg.SignIn = idp })
	b := newBrowser(w)
	link := w.link(alice)
	b.signedIn(b.get(link)).want(t, http.StatusOK, "Connect Acme?")
	if idp.trip.Nonce != "a-nonce" || idp.trip.Verifier != "a-verifier" || idp.trip.Back != public+"/signin" {
		t.Errorf("the way back does not know what was sent: %+v", idp.trip)
	}
	b.connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
}

func TestAnotherPersonIsToldAndMaySignInAgain(t *testing.T) {
	idp := &signIn{user: "mallory"}
	w := newWorld(t, func(cfg *connect.Config) { cfg.SignIn = idp })
	b := newBrowser(w)
	link := w.link(alice)
	p := b.signedIn(b.get(link))
	p.want(t, http.StatusForbidden, "Is it you?")
	if !strings.Contains(p.text, "mallory") || !strings.Contains(p.text, "somebody else") || strings.Contains(p.text, alice.User) {
		t.Errorf("the page:\n%s", p.text)
	}
	idp.user = alice.User
	b.signedIn(p).want(t, http.StatusOK, "Connect Acme?")
}

func TestASignInThatComesToNothingIsSaid(t *testing.T) {
	for _, c := range []struct {
		user    string
		err     error
		status  int
		heading string
	}{
		{"", connect.ErrNotRecognised, 403, "We could not recognise you"},
		{"", nil, 403, "We could not recognise you"},
		{"not an id", nil, 403, "We could not recognise you"},
		{"", errors.New("the token endpoint is away"), 503, "That did not work just now"},
	} {
		idp := &signIn{user: c.user}
		w := newWorld(t, func(cfg *connect.Config) { cfg.SignIn = idp })
		b := newBrowser(w)
		p := b.get(w.link(alice))
		b.halt = "/authorize"
		to := mustParse(t, b.press(p).next).Query()
		b.halt, idp.err = "", c.err
		b.get(public+"/signin?state="+to.Get("state")).want(t, c.status, c.heading)
		b.get(w.link(alice)).want(t, http.StatusOK, "Is it you?")
	}
}

func TestNobodySignsInForAnotherBrowser(t *testing.T) {
	idp := &signIn{user: alice.User}
	w := newWorld(t, func(cfg *connect.Config) { cfg.SignIn = idp })
	one, other := newBrowser(w), newBrowser(w)
	link := w.link(alice)
	one.halt = "/authorize"
	to := mustParse(t, one.press(one.get(link)).next).Query()
	one.halt = ""
	back := to.Get("back") + "?state=" + to.Get("state")
	other.get(link)
	other.get(back).want(t, http.StatusForbidden, "This sign-in was started in another browser")
	one.get(back).want(t, http.StatusOK, "Connect Acme?")
	one.get(back).want(t, http.StatusBadRequest, "This sign-in cannot be finished")
	one.get(public+"/signin").want(t, http.StatusBadRequest, "This sign-in cannot be finished")
	res := one.send("POST", back, url.Values{}, "same-origin")
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.StatusCode)
	}
}
