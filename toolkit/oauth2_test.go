// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

const dialect = `{
	"id": "odd", "base_url": "https://{instance}/api",
	"variables": {"instance": {"from": "token_reply", "field": "team.url", "hosts": ["*.odd.example"]}}, "auth": {"kind": "oauth2", "header": "X-Shopify-Access-Token", "prefix": "Zoho-oauthtoken "},
	"oauth2": {
		"issuer": "https://id.odd.example", "authorize_url": "https://id.odd.example/a", "token_url": "https://id.odd.example/t",
		"refresh_url": "https://id.odd.example/r", "revoke_url": "https://id.odd.example/v", "revoke_style": "bearer",
		"auth_style": "body", "client_id_param": "client_key", "scope_separator": ",", "scope_param": "user_scope", "pkce": false,
		"authorize_params": {"a": "1"}, "token_params": {"t": "1"}, "refresh_params": {"r": "1"}, "body_format": "json",
		"token_headers": {"x-version": "2"}, "token_path": "authed_user", "callback_hmac": "hmac", "callback_claims": {"shop": "odd"},
		"refresh_method": "GET", "refresh_grant_type": "fb_exchange_token", "refresh_token_param": "fb_exchange_token", "refresh_with": "access_token",
		"long_lived_grant_type": "ig_exchange_token", "long_lived_url": "https://id.odd.example/l",
		"refresh_scope": true, "reconnect_errors": ["190"], "retry_errors": ["2"], "token_lifetime": "12h", "refresh_buffer": "90s", "refresh_unused": "480h"
	}
}`

func odd(t *testing.T) toolkit.Definition {
	t.Helper()
	d, err := toolkit.ParseDefinition([]byte(dialect))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Every field of a file arrives in the toolkit; one that does not is a dialect that
// nobody speaks.
func TestEveryFieldOfTheDialectArrives(t *testing.T) {
	d := odd(t)
	off := false
	tk, err := d.Over(toolkit.Definition{OAuth: toolkit.OAuthDefinition{ClientID: "c", ClientSecret: secret.New("s"), Scopes: []string{"x"}, AutoRefresh: &off}}).Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	want := toolkit.OAuth2{
		Toolkit: "odd", Issuer: "https://id.odd.example", AuthorizeURL: "https://id.odd.example/a", TokenURL: "https://id.odd.example/t",
		RefreshURL: "https://id.odd.example/r", RevokeURL: "https://id.odd.example/v", RevokeStyle: toolkit.RevokeBearer,
		AuthStyle: toolkit.StyleBody, ClientID: "c", ClientSecret: secret.New("s"), ClientIDParam: "client_key",
		Scopes: []string{"x"}, ScopeSeparator: ",", ScopeParam: "user_scope", NoPKCE: true,
		AuthorizeParams: map[string]string{"a": "1"}, TokenParams: map[string]string{"t": "1"}, RefreshParams: map[string]string{"r": "1"},
		BodyFormat: toolkit.FormatJSON, TokenHeaders: map[string]string{"X-Version": "2"}, TokenPath: "authed_user", CallbackHMAC: "hmac", CallbackClaims: map[string]string{"shop": "odd"},
		Reply:         map[string]toolkit.Variable{"instance": {From: toolkit.FromReply, Field: "team.url", Hosts: []toolkit.HostPattern{"*.odd.example"}, MaxLength: 64}},
		RefreshMethod: "GET", RefreshGrantType: "fb_exchange_token", RefreshTokenParam: "fb_exchange_token", RefreshWith: toolkit.WithAccessToken,
		LongLivedGrantType: "ig_exchange_token", LongLivedURL: "https://id.odd.example/l",
		RefreshScope: true, ReconnectErrors: []string{"190"}, RetryErrors: []string{"2"},
		TokenLifetime: 12 * time.Hour, RefreshBuffer: 90 * time.Second, RefreshUnused: 480 * time.Hour, NoRefresh: true,
	}
	if !reflect.DeepEqual(*tk.OAuth, want) {
		t.Errorf("got %+v\nwant %+v", *tk.OAuth, want)
	}
	for i := range reflect.TypeFor[toolkit.OAuth2]().NumField() {
		if reflect.ValueOf(want).Field(i).IsZero() {
			t.Errorf("%s is not tried out", reflect.TypeFor[toolkit.OAuth2]().Field(i).Name)
		}
	}
	// A name in the catalogue must not lead into the operator's network, this one neither.
	d.OAuth.RefreshURL = "https://refresh.odd.example/r"
	if !slices.Contains(d.Addresses(), "refresh.odd.example") {
		t.Errorf("addresses %q", d.Addresses())
	}
	// Rows 16 and 21: where the token goes, and what stands before it.
	if tk.Auth.Header != "X-Shopify-Access-Token" || tk.Auth.Prefix != "Zoho-oauthtoken " {
		t.Errorf("%+v", tk.Auth)
	}
}

func TestEveryFieldOfTheDialectCanBeSaidDifferently(t *testing.T) {
	on, off := true, false
	over := toolkit.OAuthDefinition{
		Issuer: "https://i.example", AuthorizeURL: "https://a.example", TokenURL: "https://t.example", RefreshURL: "https://r.example", RevokeURL: "https://v.example", RevokeStyle: toolkit.RevokeToken,
		AuthStyle: toolkit.StyleBasic, ClientIDParam: "id", ScopeSeparator: "+", ScopeParam: "s", PKCE: &on,
		AuthorizeParams: map[string]string{"a": "2"}, TokenParams: map[string]string{"t": "2"}, RefreshParams: map[string]string{"r": "2"},
		BodyFormat: toolkit.FormatForm, TokenHeaders: map[string]string{"x-version": "3"}, TokenPath: "data", CallbackHMAC: "signature", CallbackClaims: map[string]string{"shop": "even"},
		RefreshMethod: "POST", RefreshGrantType: "g", RefreshTokenParam: "p", RefreshWith: toolkit.WithRefreshToken, RefreshScope: &off,
		TokenLifetime: 1, RefreshBuffer: 2, RefreshUnused: 3, ClientID: "c", ClientSecret: secret.New("s"), Scopes: []string{"x"}, AutoRefresh: &off,
		LongLivedGrantType: "l", LongLivedURL: "https://l.example",
		ReconnectErrors: []string{"1"}, RetryErrors: []string{"1"},
	}
	got := odd(t).Over(toolkit.Definition{OAuth: over}).OAuth
	want := over
	want.ReconnectErrors, want.RetryErrors = []string{"190", "1"}, []string{"2", "1"} // lists add up
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for i := range reflect.TypeFor[toolkit.OAuthDefinition]().NumField() {
		if reflect.ValueOf(over).Field(i).IsZero() {
			t.Errorf("%s is not tried out", reflect.TypeFor[toolkit.OAuthDefinition]().Field(i).Name)
		}
	}
}

// An operator's own authorization server does not send its refresh tokens to the
// catalogue's.
func TestAnotherTokenURLLeavesTheCataloguesRefreshURLBehind(t *testing.T) {
	for token, want := range map[string]string{"": "https://id.odd.example/r", "https://id.odd.example/t": "https://id.odd.example/r", "https://own.example/t": ""} {
		got := odd(t).Over(toolkit.Definition{OAuth: toolkit.OAuthDefinition{TokenURL: token}}).OAuth
		if got.RefreshURL != want || (got.LongLivedURL == "") != (want == "") {
			t.Errorf("%q: %q, %q", token, got.RefreshURL, got.LongLivedURL)
		}
	}
}

func TestMistakesInADialectAreNamed(t *testing.T) {
	for change, want := range map[string]string{
		`"auth_style":"header"`:                             `"header" is not an auth_style: basic, body, none`,
		`"body_format":"xml"`:                               `"xml" is not a body_format: form, json`,
		`"revoke_style":"get"`:                              `"get" is not a revoke_style: token, json, delete, bearer, itself`,
		`"refresh_method":"get"`:                            `"get" is not a refresh_method: POST, GET`,
		`"refresh_with":"password"`:                         `"password" is not what to refresh_with: refresh_token, access_token`,
		`"refresh_url":"/refresh"`:                          `refresh_url "/refresh": an address with https://`,
		`"long_lived_url":"https://l.example"`:              "long_lived_url needs long_lived_grant_type",
		`"long_lived_grant_type":"l","long_lived_url":"/l"`: `long_lived_url "/l": an address with https://`,
		`"token_path":".a"`:                                 `token_path ".a": names with single dots between them`,
		`"token_headers":{"Content-Type":"x"}`:              "header Content-Type cannot be set here",
		`"token_headers":{"Authorization":"x"}`:             "header Authorization cannot be set here",
		`"token_headers":{"X-Y":"a\r\nb"}`:                  "header X-Y: a value without control characters",
		`"token_lifetime":"soon"`:                           `"soon" is not a duration such as 90s or 12h`,
		`"token_lifetime":"0s"`:                             `"0s" is not a duration`,
		`"token_lifetime":3600`:                             "reading a toolkit",
		`"client_secret":"hunter2"`:                         `unknown field "client_secret"`,
		`"auto_refresh":false`:                              `unknown field "auto_refresh"`, // it is the operator's to say
	} {
		text := `{"id":"odd","base_url":"https://api.odd.example","auth":{"kind":"oauth2"},"oauth2":{"authorize_url":"https://a.example","token_url":"https://t.example",` + change + `}}`
		d, err := toolkit.ParseDefinition([]byte(text))
		if err == nil {
			_, err = d.Toolkit()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func TestADefinitionIsWrittenAsItIsRead(t *testing.T) {
	d := odd(t)
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := toolkit.ParseDefinition(text); err != nil || !reflect.DeepEqual(again, d) {
		t.Errorf("%v\n%+v\n%+v", err, again, d)
	}
}

func TestWhatPaysForANewTokenIsData(t *testing.T) {
	access, refresh := secret.New("access"), secret.New("refresh")
	for _, c := range []struct {
		o           toolkit.OAuth2
		alive, dead string
	}{
		{toolkit.OAuth2{}, "refresh", "refresh"},
		{toolkit.OAuth2{RefreshWith: toolkit.WithRefreshToken}, "refresh", "refresh"},
		{toolkit.OAuth2{RefreshWith: toolkit.WithAccessToken}, "access", ""},
		{toolkit.OAuth2{NoRefresh: true}, "", ""},
		{toolkit.OAuth2{RefreshWith: toolkit.WithAccessToken, NoRefresh: true}, "", ""},
	} {
		if alive, dead := c.o.RenewWith(access, refresh, false).Reveal(), c.o.RenewWith(access, refresh, true).Reveal(); alive != c.alive || dead != c.dead {
			t.Errorf("%+v: %q, %q", c.o, alive, dead)
		}
	}
}

func TestScopesThatWereNotGrantedAreNamed(t *testing.T) {
	for _, c := range []struct{ asked, granted, missing string }{
		{"a b c", "a c", "b"},
		{"a b", "b a", ""},
		{"a b", "", ""}, // the provider did not say
		{"Mail.Read", "mail.read", ""},
		{"Mail.Read", "https://graph.microsoft.com/Mail.Read", ""},
		{"https://graph.microsoft.com/Mail.Read", "Mail.Read", ""},
		{"Read", "Mail.Read", "Read"},
		{"openid email profile offline_access a", "a", ""}, // left out, or with other names
		{"a offline_access", "b", "a"},
		{"a b", "a b needed_later", ""},
	} {
		o := toolkit.OAuth2{Scopes: strings.Fields(c.asked)}
		missing := o.MissingScopes(strings.Fields(c.granted))
		if strings.Join(missing, " ") != c.missing {
			t.Errorf("%+v: %q", c, missing)
		}
		// A refresh asks for no more than was granted, and for no less.
		within := o.Within(strings.Fields(c.granted)).Scopes
		beyond := toolkit.LostScopes(strings.Fields(c.granted), o.Scopes)
		if slices.ContainsFunc(missing, func(s string) bool { return slices.Contains(within, s) }) || len(within)+len(missing) != len(o.Scopes)+len(beyond) {
			t.Errorf("%+v: within %q", c, within)
		}
		if strings.Join(o.Scopes, " ") != c.asked {
			t.Error("the toolkit was changed")
		}
	}
}
