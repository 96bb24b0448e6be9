// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

func TestAUserEntersAKeyAndItIsKept(t *testing.T) {
	w, desk := newKeyWorld(t)
	b, link := newBrowser(w), w.link(alice)
	p := b.enter(link, " \t"+goodKey+"\n")
	p.want(t, http.StatusOK, "Connected as ada@acme.example")
	if p.address != link || strings.Contains(p.text, "without being checked") {
		t.Errorf("at %s:\n%s", p.address, p.text)
	}
	conn := w.connection()
	want := connection.Connection{
		Key: aliceKey, ID: conn.ID, Version: 1, Status: connection.Active, AccessToken: conn.AccessToken, IssuedAt: w.clock.now(), AccountLabel: "ada@acme.example",
		Granted: connection.Grantee{Issuer: "api_key", Hosts: []string{acmeURL}}, CreatedAt: w.clock.now(), UpdatedAt: w.clock.now(), Agents: []string{"support-bot"},
	}
	if !reflect.DeepEqual(conn, want) || conn.AccessToken.Reveal() != goodKey || conn.ID == "" {
		t.Errorf("kept %+v", conn)
	}
	if len(w.told) != 1 || w.told[0].Version != 1 {
		t.Errorf("told of %+v", w.told)
	}
	if got := w.audit.text(); got != "link_started, connected" {
		t.Errorf("audit: %s", got)
	}
	asked := desk.asked[0]
	if desk.times() != 1 || asked.Method != "GET" || asked.URL.String() != acmeURL+"/v1/me" || asked.Host != "acme.example" || asked.Header.Get("X-Api-Version") != "7" {
		t.Errorf("asked %d times, %s %s with %v", desk.times(), asked.Method, asked.URL, asked.Header)
	}
}

func TestTheFormSaysWhatItWantsAndWhereThatIs(t *testing.T) {
	w, _ := newKeyWorld(t, func(cfg *connect.Config) {
		of(t, toolkit.AuthDefinition{Kind: toolkit.APIKey, Fields: []toolkit.FieldDefinition{{Name: "api_key", Label: "API key", Header: "X-A"}, {Name: "token", Query: "token"}}})(cfg)
	})
	p := newBrowser(w).get(w.link(alice))
	p.want(t, http.StatusOK, "Connect Acme?")
	wantPlain(t, "form", p)
	if got := p.header.Get("Content-Security-Policy"); !strings.HasSuffix(got, "; form-action 'self'") || p.header.Get("Referrer-Policy") != "same-origin" {
		t.Errorf("Content-Security-Policy is %q, Referrer-Policy %q", got, p.header.Get("Referrer-Policy"))
	}
	labels, fields := map[string]string{}, []string{}
	for n := range parseHTML(t, p.text).Descendants() {
		switch {
		case n.Type == html.ElementNode && n.Data == "label":
			labels[attribute(n, "for")] = textOf(n)
		case n.Data == "input" && attribute(n, "type") != "hidden":
			if attribute(n, "type") != "password" || attribute(n, "autocomplete") != "off" || attribute(n, "value") != "" {
				t.Errorf("a field with %v", n.Attr)
			}
			fields = append(fields, attribute(n, "name")+": "+labels[attribute(n, "id")])
		}
	}
	if want := []string{"key.api_key: API key", "key.token: token"}; !slices.Equal(fields, want) {
		t.Errorf("fields %q", fields)
	}
	a := findElement(t, p, "a")
	if attribute(a, "href") != helpURL || attribute(a, "rel") != "noopener noreferrer" || !strings.Contains(p.text, "It begins with good.") || !strings.Contains(p.text, "It is checked with <strong>acme.example</strong>") {
		t.Errorf("the help:\n%s", p.text)
	}
}

func TestAKeyThatCannotBeCheckedIsKeptAndThePagesSaySo(t *testing.T) {
	w, desk := newKeyWorld(t, change(func(tk *toolkit.Toolkit) { tk.Identity = nil }))
	b, link := newBrowser(w), w.link(alice)
	if p := b.get(link); !strings.Contains(p.text, "It cannot be checked here and is saved as it is.") {
		t.Errorf("before:\n%s", p.text)
	}
	p := b.enter(link, badKey)
	p.want(t, http.StatusOK, "Acme is connected")
	if !strings.Contains(p.text, "saved without being checked") || desk.times() != 0 || w.connection().AccessToken.Reveal() != badKey {
		t.Errorf("asked %d times:\n%s", desk.times(), p.text)
	}
}

func TestTheProbeDecidesAndTheIdentityNames(t *testing.T) {
	w, desk := newKeyWorld(t, change(func(tk *toolkit.Toolkit) { tk.Probe = "/ping?of=key&x" }))
	desk.answer = func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/v1/ping" {
			return says(http.StatusNoContent, ""), nil
		}
		return says(http.StatusForbidden, ""), nil // this key may not ask who it is
	}
	newBrowser(w).enter(w.link(alice), goodKey).want(t, http.StatusOK, "Acme is connected")
	if got := desk.asked[0].URL.RequestURI(); got != "/v1/ping?of=key&x" || desk.times() != 2 {
		t.Errorf("asked %s, %d times", got, desk.times())
	}
}

func TestKeysOfEveryKindAreCheckedAndKeptAsTheyAreUsed(t *testing.T) {
	fields := func(all ...toolkit.FieldDefinition) toolkit.AuthDefinition {
		return toolkit.AuthDefinition{Kind: toolkit.APIKey, Fields: all}
	}
	for name, c := range map[string]struct {
		auth    toolkit.AuthDefinition
		entered []string
		kept    string
		header  http.Header
		query   string
		grantee string
	}{
		"two headers": {fields(toolkit.FieldDefinition{Name: "api_key", Header: "DD-API-KEY"}, toolkit.FieldDefinition{Name: "application_key", Header: "DD-APPLICATION-KEY"}),
			[]string{"key.api_key", "a-1 ", "key.application_key", "b<2"}, `{"api_key":"a-1","application_key":"b<2"}`, http.Header{"Dd-Api-Key": {"a-1"}, "Dd-Application-Key": {"b<2"}}, "", "api_key:api_key,application_key"},
		"two parameters, one called token": {fields(toolkit.FieldDefinition{Name: "key", Query: "key"}, toolkit.FieldDefinition{Name: "token", Query: "token"}),
			[]string{"key.key", "a&1", "key.token", "b"}, `{"key":"a&1","token":"b"}`, http.Header{}, "key=a%261&token=b", "api_key:key,token"},
		"basic": {toolkit.AuthDefinition{Kind: toolkit.Basic}, []string{"key.username", "ada", "key.password", "pä ss:wörd"}, "ada:pä ss:wörd",
			http.Header{"Authorization": {"Basic YWRhOnDDpCBzczp3w7ZyZA=="}}, "", "basic"},
		"basic without a password": {toolkit.AuthDefinition{Kind: toolkit.Basic, Fields: []toolkit.FieldDefinition{{Name: "username"}}}, []string{"key.username", "sk"}, "sk:",
			http.Header{"Authorization": {"Basic c2s6"}}, "", "basic"},
	} {
		t.Run(name, func(t *testing.T) {
			w, desk := newKeyWorld(t, of(t, c.auth))
			desk.answer = answering(200, `{"email":"ada"}`)
			newBrowser(w).enter(w.link(alice), c.entered...).want(t, http.StatusOK, "Connected as ada")
			conn, asked := w.connection(), desk.asked[0]
			if conn.AccessToken.Reveal() != c.kept || conn.Granted.Issuer != c.grantee {
				t.Errorf("kept %s for %s", conn.AccessToken.Reveal(), conn.Granted.Issuer)
			}
			for name, want := range c.header {
				if !slices.Equal(asked.Header[name], want) {
					t.Errorf("checked with %s: %q", name, asked.Header[name])
				}
			}
			if asked.URL.RawQuery != c.query {
				t.Errorf("checked with %s", asked.URL.RawQuery)
			}
		})
	}
}

func TestANewKeyReplacesTheOldConnection(t *testing.T) {
	w := newWorld(t)
	newBrowser(w).connect(w.link(alice), "alice") // by OAuth, with a refresh token
	before := w.connection()
	desk := new(keyDesk)
	w.reload(func(cfg *connect.Config) {
		cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: keyToolkit(t, toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "X-Acme-Key"}), Upstream: desk}
	})
	newBrowser(w).enter(w.link(alice), goodKey).want(t, http.StatusOK, "Connected as ada@acme.example")
	conn := w.connection()
	if conn.ID != before.ID || conn.Version <= before.Version || !conn.RefreshToken.IsZero() || !conn.ExpiresAt.IsZero() || conn.Granted.ClientID != "" || len(conn.Scopes) != 0 {
		t.Errorf("kept %+v", conn)
	}
}

func TestACallbackForAToolkitThatTakesKeysNowSpendsNothing(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	callback := b.consent(w.link(alice), "alice")
	w.reload(of(t, toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "X-Acme-Key"}))
	b.get(callback).want(t, http.StatusConflict, "This service was set up anew meanwhile")
	if n := w.acme.Stats().TokenRequests; n != 0 {
		t.Error("the code was spent")
	}
}

func TestAnOperatorsKeyHasNoPage(t *testing.T) {
	w, _ := newKeyWorld(t)
	link := w.link(alice)
	w.reload(change(func(tk *toolkit.Toolkit) { tk.Auth.PerUser = false }))
	newBrowser(w).get(link).want(t, http.StatusNotFound, "This service was set up anew meanwhile")
}

func TestWhatTheFormShowsIsOnlyEverText(t *testing.T) {
	evil := `"'><script>alert(1)</script>`
	w, desk := newKeyWorld(t, change(func(tk *toolkit.Toolkit) { tk.Name, tk.Help, tk.Auth.Fields[0].Label = evil, evil, evil }))
	desk.answer = answering(200, `{"email":"<script>alert(2)</script>"}`)
	b, link := newBrowser(w), w.link(caller.Caller{Tenant: "t", Agent: evil, User: evil})
	wantPlain(t, "form", b.get(link))
	p := b.enter(link, goodKey)
	wantPlain(t, "done", p)
	p.want(t, http.StatusOK, "Connected as <script>alert(2)</script>")
}

func TestWithoutAuditNoKeyLeavesAndNoneIsKept(t *testing.T) {
	for event, asked := range map[audit.Event]int{audit.LinkOpened: 0, audit.Connected: 1} {
		w, desk := newKeyWorld(t)
		b, link := newBrowser(w), w.link(alice)
		w.audit.fail = func(e audit.Event) error {
			if e == event {
				return http.ErrServerClosed
			}
			return nil
		}
		b.enter(link, goodKey).want(t, http.StatusServiceUnavailable, sorry)
		if desk.times() != asked {
			t.Errorf("%s: asked %d times", event, desk.times())
		}
		w.notConnected()
		w.audit.fail = nil
		b.enter(link, goodKey).want(t, http.StatusOK, "Connected as ada@acme.example")
	}
}

func TestAKeyInAnotherFormIsNotSaidToWork(t *testing.T) {
	w, _ := newKeyWorld(t)
	newBrowser(w).enter(w.link(alice), goodKey)
	w.wantStatus(t, connection.Active, "")
	w.reload(of(t, toolkit.AuthDefinition{Kind: toolkit.Basic}))
	w.wantStatus(t, connection.NotConnected, connection.GrantMoved)
}

func TestAKeyOfAnAccountThatIsNotExpectedIsNotKept(t *testing.T) {
	w, _ := newKeyWorld(t, change(func(tk *toolkit.Toolkit) { tk.ExpectAccount = []string{"*@other.example"} }))
	p := newBrowser(w).enter(w.link(alice), goodKey)
	if !strings.Contains(p.text, "not the one that is expected") {
		t.Errorf("the page:\n%s", p.text)
	}
	w.notConnected()
	w.wantReported("failed other_account")
}

// Two tabs with two links, such as those of two agents, and two keys.
func TestAKeyOfAnotherAccountIsNotPutOverOneThatCameMeanwhile(t *testing.T) {
	w, _ := newKeyWorld(t)
	w.audit.fail = func(e audit.Event) error {
		if e == audit.Connected {
			w.audit.fail = nil
			if _, err := w.vault.Save(t.Context(), connection.Connection{
				Key: aliceKey, ID: "conn_1", Status: connection.Active, AccessToken: secret.New("bobs"), AccountLabel: "bob@acme.example", Granted: connection.Grantee{Issuer: "api_key"},
			}); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	p := newBrowser(w).enter(w.link(alice), goodKey)
	p.says(t, "another account than the one that is connected here")
	if c := w.connection(); c.AccessToken.Reveal() != "bobs" || c.AccountLabel != "bob@acme.example" || len(w.told) != 0 {
		t.Errorf("%q is kept as %q, and %d are told of", c.AccessToken.Reveal(), c.AccountLabel, len(w.told))
	}
}
