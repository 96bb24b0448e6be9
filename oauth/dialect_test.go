// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

const callback = "https://gw.example/callback/acme"

// desk is a provider's token endpoint: it takes what the provider takes, to the letter,
// and answers as the provider does.
type desk struct {
	name string
	// definition is the oauth2 part of the toolkit as it stands in a file of the
	// catalogue; "": that of the catalogue itself.
	definition string
	scopes     []string
	authorize  string // the query, without state, redirect_uri and PKCE
	noPKCE     bool
	code       sent
	longLived  sent // what follows at once, where there is such a step
	refresh    sent
	// granted is what the exchange gives, renewed what the refresh does.
	granted, renewed gives
}

// sent is a token request as the provider wants it and what it answers.
type sent struct {
	method, address, basic, contentType string
	header                              map[string]string
	params                              string // as a form, sorted
	answer                              string
}

// gives is what is to be read from the answer.
type gives struct {
	access, refresh, scopes string
	life                    time.Duration
}

func deskOf(name string) desk {
	all := slices.Concat(desks, moreDesks)
	return all[slices.IndexFunc(all, func(d desk) bool { return d.name == name })]
}

func (d desk) toolkit(t *testing.T) *toolkit.OAuth2 {
	t.Helper()
	definition, found := toolkit.Builtin(d.name)
	if d.definition != "" {
		var err error
		definition, err = toolkit.ParseDefinition([]byte(`{"id":"` + d.name + `","base_url":"https://api.example","auth":{"kind":"oauth2"},"oauth2":` + d.definition + `}`))
		if found = err == nil; err != nil {
			t.Error(err)
		}
	}
	tk, err := definition.Over(toolkit.Definition{OAuth: toolkit.OAuthDefinition{ClientID: "id", ClientSecret: secret.New("s&t"), Scopes: d.scopes}}).Toolkit()
	if !found || err != nil {
		t.Fatal(d.name, found, err)
	}
	return tk.OAuth
}

// client sends to the desk, which expects one request of each.
func (d desk) client(t *testing.T, each ...sent) (*oauth.Client, *int) {
	requests := new(int)
	return &oauth.Client{Now: func() time.Time { return now }, Transport: transport(func(r *http.Request) (*http.Response, error) {
		*requests++
		want := each[min(*requests, len(each))-1]
		d.compare(t, r, want)
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(want.answer))}, nil
	})}, requests
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (d desk) compare(t *testing.T, r *http.Request, want sent) {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	params := string(text)
	switch {
	case r.Method == http.MethodGet:
		if params != "" {
			t.Errorf("%s: a GET with a body %q", d.name, params)
		}
		params = r.URL.RawQuery
	case want.contentType == "application/json":
		var object map[string]string
		if err := json.Unmarshal(text, &object); err != nil {
			t.Errorf("%s: %q: %v", d.name, text, err)
		}
		form := url.Values{}
		for name, value := range object {
			form.Set(name, value)
		}
		params = form.Encode()
	}
	bare := *r.URL
	bare.RawQuery = ""
	id, password, _ := r.BasicAuth()
	if basic := strings.Trim(id+":"+password, ":"); r.Method != want.method || bare.String() != want.address || basic != want.basic || r.Header.Get("Content-Type") != want.contentType {
		t.Errorf("%s: %s %s, Basic %q, %s", d.name, r.Method, bare.String(), basic, r.Header.Get("Content-Type"))
	}
	if plain, err := url.QueryUnescape(params); err != nil || plain != want.params {
		t.Errorf("%s: got\n%s, want\n%s (%v)", d.name, plain, want.params, err)
	}
	for name, value := range want.header {
		if r.Header.Get(name) != value {
			t.Errorf("%s: header %s is %q", d.name, name, r.Header.Get(name))
		}
	}
}

func (g gives) compare(t *testing.T, why string, got oauth.Grant, err error) {
	t.Helper()
	life := got.ExpiresAt.Sub(now)
	if got.ExpiresAt.IsZero() {
		life = 0
	}
	if err != nil || got.AccessToken.Reveal() != g.access || got.RefreshToken.Reveal() != g.refresh || strings.Join(got.Scopes, " ") != g.scopes || life != g.life {
		t.Errorf("%s: %v, %q, %q, %q for %v", why, err, got.AccessToken.Reveal(), got.RefreshToken.Reveal(), got.Scopes, life)
	}
}

// Each provider is a few lines of data, and its desk is served as it wants to be.
func TestEveryDialectIsData(t *testing.T) {
	for _, d := range slices.Concat(desks, moreDesks) {
		o := d.toolkit(t)
		d.consents(t, o)
		steps := []sent{d.code, d.longLived}
		if d.longLived.method == "" {
			steps = steps[:1]
		}
		client, requests := d.client(t, steps...)
		g, err := client.Exchange(t.Context(), o, "c1", "verifier", callback)
		d.granted.compare(t, d.name+", the code", g, err)
		if *requests != len(steps) {
			t.Errorf("%s: %d requests for one code", d.name, *requests)
		}
		if d.refresh.method == "" {
			continue
		}
		client, requests = d.client(t, d.refresh)
		g, err = client.Refresh(t.Context(), o, o.RenewWith(g.AccessToken, g.RefreshToken, false))
		d.renewed.compare(t, d.name+", the refresh", g, err)
		if *requests != 1 {
			t.Errorf("%s: %d requests for one refresh", d.name, *requests)
		}
	}
}

func (d desk) consents(t *testing.T, o *toolkit.OAuth2) {
	t.Helper()
	q := authorize(t, o, "verifier").Query()
	if pkce := q.Has("code_challenge") && q.Get("code_challenge_method") == "S256"; pkce == d.noPKCE {
		t.Errorf("%s: PKCE is %v", d.name, pkce)
	}
	for _, name := range []string{"state", "redirect_uri", "code_challenge", "code_challenge_method"} {
		q.Del(name)
	}
	if plain, err := url.QueryUnescape(q.Encode()); err != nil || plain != d.authorize {
		t.Errorf("%s: the user is sent with\n%s, want\n%s", d.name, plain, d.authorize)
	}
}

// Of a code's answer, the token at the top is the bot's where the user's was asked for.
func TestSlacksBotIsNotTheUser(t *testing.T) {
	slack := deskOf("slack")
	for _, answer := range []string{`{"ok":true,"access_token":"xoxb-1","refresh_token":"r","authed_user":{"id":"U1"}}`, `{"ok":true,"access_token":"xoxb-1"}`} {
		slack.code.answer = answer
		client, _ := slack.client(t, slack.code)
		g, err := client.Exchange(t.Context(), slack.toolkit(t), "c1", "verifier", callback)
		if _, ok := errors.AsType[*oauth.Unavailable](err); !ok || !g.AccessToken.IsZero() {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

// Facebook's first token lives for an hour or two. It is exchanged at once: once its time
// has passed it buys nothing, and nobody may call in that hour.
func TestATokenThatIsItsOwnPaymentIsProlongedAtOnce(t *testing.T) {
	facebook := deskOf("facebook")
	o := facebook.toolkit(t)
	for answer, want := range map[string]gives{
		`{"access_token":"long","expires_in":5183944}`: {"long", "", "", 5183944 * time.Second},
		`{"error":{"type":"OAuthException","code":2}}`: {"short", "", "", 3600 * time.Second}, // better than nothing
	} {
		var seen []string
		client := &oauth.Client{Now: func() time.Time { return now }, Transport: transport(func(r *http.Request) (*http.Response, error) {
			text := `{"access_token":"short","expires_in":3600}`
			if seen = append(seen, r.Method); r.Method == http.MethodGet {
				text = answer
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}, nil
		})}
		g, err := client.Exchange(t.Context(), o, "c1", "verifier", callback)
		want.compare(t, answer, g, err)
		if !slices.Equal(seen, []string{"POST", "GET"}) {
			t.Errorf("requests: %v", seen)
		}
	}
	o.NoRefresh = true
	client, requests := facebook.client(t, sent{method: "POST", address: o.TokenURL, contentType: formType, params: facebook.code.params, answer: `{"access_token":"short","expires_in":3600}`})
	if _, err := client.Exchange(t.Context(), o, "c1", "verifier", callback); err != nil || *requests != 1 {
		t.Errorf("%v, %d requests where nothing is to be renewed", err, *requests)
	}
}

// Instagram's first token cannot be renewed at all, so it is exchanged even where tokens
// are not to be renewed, and kept where that fails: it is good for an hour.
func TestAFirstTokenIsExchangedForOneThatLivesLong(t *testing.T) {
	instagram := deskOf("instagram")
	for _, noRefresh := range []bool{false, true} {
		for answer, want := range map[string]gives{
			instagram.longLived.answer:                       instagram.granted,
			`{"error":{"type":"OAuthException","code":190}}`: {"IGQ1", "", "", time.Hour},
		} {
			o, steps := instagram.toolkit(t), []sent{instagram.code, instagram.longLived}
			o.NoRefresh = noRefresh
			if noRefresh && want.access == "IGQ1" {
				want.life = 0 // the provider has not said
			}
			steps[1].answer = answer
			client, requests := instagram.client(t, steps...)
			g, err := client.Exchange(t.Context(), o, "c1", "verifier", callback)
			want.compare(t, answer, g, err)
			if *requests != 2 {
				t.Errorf("%d requests", *requests)
			}
		}
	}
}

// A transport's error may quote the address, and that of a GET holds secrets.
func TestNoErrorQuotesWhatWasSent(t *testing.T) {
	for way, o := range ways("https://id.example/token?keep=1") {
		for _, break_ := range []func(*http.Request) error{
			func(r *http.Request) error {
				return &url.Error{Op: "Get", URL: r.URL.String(), Err: errors.New("broken")}
			},
			func(r *http.Request) error { return errors.New("no way to " + r.URL.String()) },
			func(r *http.Request) error { return errors.New("no way to " + refreshToken) },
			func(r *http.Request) error {
				return errors.Join(errors.New("x"), &url.Error{URL: r.URL.String(), Err: errors.New(clientSecret)})
			},
		} {
			client := &oauth.Client{Transport: transport(func(r *http.Request) (*http.Response, error) { return nil, break_(r) })}
			_, err := client.Refresh(t.Context(), o, secret.New(refreshToken))
			if away, ok := errors.AsType[*oauth.Unavailable](err); !ok || away.Unspent {
				t.Errorf("%s: %v", way, err)
			}
			noSecrets(t, way, err)
			if strings.Contains(break_(&http.Request{URL: &url.URL{}}).Error(), "broken") && !strings.Contains(err.Error(), "broken") {
				t.Errorf("%s: the reason is lost: %v", way, err)
			}
		}
	}
}

// What belongs to the protocol cannot be bent by data.
func TestExtraParametersReplaceNothing(t *testing.T) {
	bent := map[string]string{"grant_type": "password", "code": "x", "refresh_token": "x", "redirect_uri": "x", "code_verifier": "x", "client_id": "x", "client_secret": "x", "own": "1"}
	e := newEndpoint(t, says(200, "", `{"access_token":"a"}`))
	e.oauth.AuthStyle, e.oauth.TokenParams, e.oauth.RefreshParams = toolkit.StyleBody, bent, bent
	before := maps.Clone(bent)
	if _, err := e.client.Exchange(t.Context(), e.oauth, "c", "v", callback); err != nil {
		t.Fatal(err)
	}
	for name, values := range e.form {
		if values[0] == "x" && name != "refresh_token" || len(values) != 1 || e.form.Get("grant_type") != "authorization_code" || e.form.Get("own") != "1" {
			t.Errorf("code: %s=%q", name, values)
		}
	}
	e.requests.Store(0)
	if _, err := e.refresh(); err != nil {
		t.Fatal(err)
	}
	if e.form.Get("grant_type") != "refresh_token" || e.form.Get("refresh_token") != refreshToken || e.form.Get("client_secret") != clientSecret || e.form.Get("own") != "1" {
		t.Errorf("refresh: %v", e.form)
	}
	if !maps.Equal(before, bent) {
		t.Error("the toolkit's data was changed")
	}
}
