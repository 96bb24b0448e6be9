// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

func TestEveryFileOfTheCatalogueIsGood(t *testing.T) {
	ids := toolkit.BuiltinIDs()
	if len(ids) == 0 || !slices.IsSorted(ids) {
		t.Fatalf("ids: %v", ids)
	}
	for _, id := range ids {
		text, err := os.ReadFile(filepath.Join("builtin", id+".json"))
		if err != nil {
			t.Fatal(err)
		}
		d, err := toolkit.ParseDefinition(text)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		if again, found := toolkit.Builtin(id); !found || !reflect.DeepEqual(again, d) {
			t.Errorf("%s: the built-in one is another", id)
		}
		if d.ID != id || d.Name == "" || len(d.Sources) == 0 || d.HelpURL == "" {
			t.Errorf("%s: id %q, name %q, %d sources, help_url %q", id, d.ID, d.Name, len(d.Sources), d.HelpURL)
		}
		for _, address := range regexp.MustCompile(`"[a-z]+:/[^"]*"`).FindAllString(string(text), -1) {
			if !strings.HasPrefix(address, `"https://`) {
				t.Errorf("%s: %s", id, address)
			}
		}
		tk, err := d.Toolkit()
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		want := map[toolkit.Kind][]string{
			toolkit.OAuth: {"client_id", "client_secret"}, toolkit.APIKey: {"api_key"}, toolkit.Basic: {"password", "username"},
		}[tk.Auth.Kind]
		if tk.OAuth != nil && tk.OAuth.AuthStyle == toolkit.StyleNone {
			want = []string{"client_id"}
		}
		if tk.Auth.PerUser && tk.Auth.Kind != toolkit.OAuth {
			want = nil
		}
		if !slices.Equal(tk.Missing, want) || tk.Draft() != (len(want) > 0) {
			t.Errorf("%s lacks %v, want %v", id, tk.Missing, want)
		}
		if tk.Identity != nil {
			if _, err := tk.Target(tk.Identity.Path, ""); err != nil || tk.Identity.Field == "" {
				t.Errorf("%s: identity %+v: %v", id, tk.Identity, err)
			}
		}
	}
	if _, found := toolkit.Builtin("nobody-knows-it"); found {
		t.Error("a toolkit out of nothing")
	}
	if _, found := toolkit.Builtin("../builtin/github"); found {
		t.Error("a name that is a path")
	}
}

func TestNamesArePathSegmentsAndHostLabels(t *testing.T) {
	for id, want := range map[string]bool{
		"github": true, "a": true, "7shifts": true, "a-b_c": true, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false,
		"": false, "-a": false, "_a": false, "GitHub": false, "a.b": false, "a/b": false, "ü": false, "a\x00": false, "..": false,
		"connect": false, "v1": false, "mcp": false,
	} {
		if toolkit.ValidID(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}

// acme is a definition that is complete.
func acme() toolkit.Definition {
	return toolkit.Definition{
		ID: "acme", BaseURL: "https://api.acme.example/v2", Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth: toolkit.OAuthDefinition{
			AuthorizeURL: "https://id.acme.example/authorize", TokenURL: "https://id.acme.example/token",
			ClientID: "c", ClientSecret: secret.New("s"), Scopes: []string{"read"},
		},
	}
}

func TestACompleteDefinitionIsFilledWithDefaults(t *testing.T) {
	tk, err := acme().Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	if tk.Draft() || tk.Name != "acme" || tk.MaxReplay != toolkit.DefaultMaxReplay || !tk.Auth.PerUser || tk.Auth.Header != "Authorization" || tk.Auth.Prefix != "Bearer " {
		t.Errorf("%+v", tk)
	}
	if o := tk.OAuth; o.AuthStyle != toolkit.StyleBasic || o.ScopeSeparator != " " || o.Grantor() != "https://id.acme.example/token" {
		t.Errorf("%+v", o)
	}
	d := acme()
	d.OAuth.Issuer = "https://id.acme.example"
	d.Hosts = map[string]string{"up": "https://up.acme.example:8443/x", "same": "https://api.acme.example/other"}
	d.Headers = map[string]string{"x-version": "1"}
	if tk, err = d.Toolkit(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"https://api.acme.example", "https://up.acme.example:8443"}; !slices.Equal(tk.Origins(), want) {
		t.Errorf("origins %v", tk.Origins())
	}
	if tk.OAuth.Grantor() != d.OAuth.Issuer || tk.Headers["X-Version"] != "1" {
		t.Errorf("%s, %v", tk.OAuth.Grantor(), tk.Headers)
	}
}

func TestCredentialsGoWhereTheyAreSaidTo(t *testing.T) {
	none, own := "", "Key "
	for _, c := range []struct {
		auth                  toolkit.AuthDefinition
		header, prefix, query string
		missing               []string
	}{
		{toolkit.AuthDefinition{Kind: toolkit.APIKey}, "Authorization", "Bearer ", "", []string{"api_key"}},
		{toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "authorization", Key: secret.New("k")}, "authorization", "Bearer ", "", nil},
		{toolkit.AuthDefinition{Kind: toolkit.APIKey, Prefix: &none, Key: secret.New("k")}, "Authorization", "", "", nil},
		{toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "X-Api-Key", Key: secret.New("k")}, "X-Api-Key", "", "", nil},
		{toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "X-Api-Key", Prefix: &own, PerUser: true}, "X-Api-Key", "Key ", "", nil},
		{toolkit.AuthDefinition{Kind: toolkit.APIKey, Query: "key", Key: secret.New("k")}, "", "", "key", nil},
		{toolkit.AuthDefinition{Kind: toolkit.Basic, Username: "u"}, "Authorization", "", "", []string{"password"}},
		{toolkit.AuthDefinition{Kind: toolkit.Basic, PerUser: true}, "Authorization", "", "", nil},
		{toolkit.AuthDefinition{Kind: toolkit.NoAuth}, "Authorization", "Bearer ", "", nil},
	} {
		tk, err := toolkit.Definition{ID: "acme", BaseURL: "https://api.acme.example", Auth: c.auth}.Toolkit()
		if err != nil {
			t.Errorf("%+v: %v", c.auth, err)
			continue
		}
		if a := tk.Auth; a.Header != c.header || a.Prefix != c.prefix || a.Query != c.query || !slices.Equal(tk.Missing, c.missing) {
			t.Errorf("%+v: %+v, lacks %v", c.auth, a, tk.Missing)
		}
	}
}

func TestWhatTheConfigurationSaysStandsOverTheCatalogue(t *testing.T) {
	prefix := "token "
	base := toolkit.Definition{
		ID: "acme", Name: "Acme", BaseURL: "https://api.acme.example", Hosts: map[string]string{"a": "https://a.example", "b": "https://b.example"},
		Headers: map[string]string{"X-One": "1", "X-Two": "2"}, HelpURL: "https://help.example", Identity: &toolkit.Identity{Path: "/me", Field: "name"},
		Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth, Header: "X-Auth", Prefix: &prefix},
		OAuth: toolkit.OAuthDefinition{
			AuthorizeURL: "https://id.example/a", TokenURL: "https://id.example/t", RevokeURL: "https://id.example/r",
			AuthStyle: toolkit.StyleBody, ScopeSeparator: ",", AuthorizeParams: map[string]string{"p": "1", "q": "2"},
		},
	}
	before := fmt.Sprintf("%+v", base)
	d := base.Over(toolkit.Definition{
		BaseURL: "https://proxy.example", Hosts: map[string]string{"b": "https://b2.example"}, Headers: map[string]string{"X-Two": "3"}, Timeout: time.Second,
		OAuth: toolkit.OAuthDefinition{ClientID: "c", ClientSecret: secret.New("s"), TokenURL: "https://other.example/t", AuthorizeParams: map[string]string{"q": "3"}},
	})
	tk, err := d.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	if tk.Name != "Acme" || tk.BaseURL.Host != "proxy.example" || tk.Aliases["a"].Host != "a.example" || tk.Aliases["b"].Host != "b2.example" || tk.Timeout != time.Second {
		t.Errorf("%+v", tk)
	}
	if !maps.Equal(tk.Headers, map[string]string{"X-One": "1", "X-Two": "3"}) || tk.Identity.Path != "/me" || d.HelpURL == "" || tk.Auth.Header != "X-Auth" || tk.Auth.Prefix != prefix {
		t.Errorf("%+v %+v", tk.Headers, tk.Auth)
	}
	if o := tk.OAuth; o.TokenURL != "https://other.example/t" || o.AuthorizeURL != "https://id.example/a" || o.AuthStyle != toolkit.StyleBody || o.ScopeSeparator != "," ||
		!maps.Equal(o.AuthorizeParams, map[string]string{"p": "1", "q": "3"}) || o.ClientID != "c" {
		t.Errorf("%+v", o)
	}
	if after := fmt.Sprintf("%+v", base); after != before {
		t.Error("the catalogue's was changed")
	}
}

func TestAnotherWayOfAuthenticatingSharesNothingWithTheCatalogues(t *testing.T) {
	prefix := "token "
	base := toolkit.Definition{ID: "acme", BaseURL: "https://api.acme.example", Auth: toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "X-Auth", Prefix: &prefix}}
	tk, err := base.Over(toolkit.Definition{Auth: toolkit.AuthDefinition{Kind: toolkit.Basic, Username: "u", Password: secret.New("p")}}).Toolkit()
	if err != nil || tk.Auth.Header != "Authorization" || tk.Auth.Prefix != "" {
		t.Errorf("%+v, %v", tk.Auth, err)
	}
	tk, err = base.Over(toolkit.Definition{Auth: toolkit.AuthDefinition{Query: "key", Key: secret.New("k")}}).Toolkit()
	if err != nil || tk.Auth.Header != "" || tk.Auth.Query != "key" || tk.Auth.Prefix != "" {
		t.Errorf("a query in place of the header: %+v, %v", tk.Auth, err)
	}
}

func TestMistakesAreNamedWithWhatWouldBeRight(t *testing.T) {
	broken := "a\r\nb"
	for _, c := range []struct {
		break_ func(*toolkit.Definition)
		want   string
	}{
		{func(d *toolkit.Definition) { d.ID = "GitHub" }, `"GitHub" cannot be a toolkit's name: lower case`},
		{func(d *toolkit.Definition) { d.ID = "mcp" }, "and not one of connect, callback"},
		{func(d *toolkit.Definition) { d.BaseURL = "" }, `the catalogue does not know "acme", so it needs a base_url`},
		{func(d *toolkit.Definition) { d.BaseURL = "api.acme.example" }, "an address with https://"},
		{func(d *toolkit.Definition) { d.BaseURL = "ftp://x.example" }, "an address with https://"},
		{func(d *toolkit.Definition) { d.BaseURL = "https://:443" }, "and a host"},
		{func(d *toolkit.Definition) { d.BaseURL = "https://u:hunter2@x.example" }, "without user name and password"},
		{func(d *toolkit.Definition) { d.BaseURL = "https://u:hunter2@x.example:port" }, "base_url is not a URL"},
		{func(d *toolkit.Definition) { d.BaseURL = "https://x.example/?a" }, "without a query"},
		{func(d *toolkit.Definition) { d.BaseURL = "https://x.example/?" }, "without a query"},
		{func(d *toolkit.Definition) { d.BaseURL = "https://x.example/#a" }, "without a fragment"},
		{func(d *toolkit.Definition) { d.BaseURL = "https://x.example/a/%2e%2e/b" }, "without . and .. segments"},
		{func(d *toolkit.Definition) { d.Hosts = map[string]string{"up": ""} }, "host up"},
		{func(d *toolkit.Definition) { d.Hosts = map[string]string{"a/b": "https://x.example"} }, `"a/b" cannot be the name of a host`},
		{func(d *toolkit.Definition) { d.Hosts = map[string]string{"": "https://x.example"} }, "cannot be the name of a host"},
		{func(d *toolkit.Definition) { d.Headers = map[string]string{"X Y": "1"} }, `"X Y" is not the name of a header`},
		{func(d *toolkit.Definition) { d.Headers = map[string]string{"X-Y": broken} }, "header X-Y: a value without control characters"},
		{func(d *toolkit.Definition) { d.Headers = map[string]string{"authorization": "hunter2"} }, "header authorization cannot be set here"},
		{func(d *toolkit.Definition) { d.Headers = map[string]string{"Host": "evil.example"} }, "header Host cannot be set here"},
		{func(d *toolkit.Definition) { d.Auth.Header = "X:Y" }, `"X:Y" is not the name of a header`},
		{func(d *toolkit.Definition) { d.Auth.Prefix = &broken }, "a prefix without control characters"},
		{func(d *toolkit.Definition) { d.Auth.Header, d.Auth.Query = "X", "y" }, "not both"},
		{func(d *toolkit.Definition) { d.Auth.Kind = "" }, "does not say how it authenticates: oauth2, api_key, basic or no_auth"},
		{func(d *toolkit.Definition) { d.Auth.Kind = "magic" }, `"magic" is not a kind of authentication`},
		{func(d *toolkit.Definition) { d.OAuth.AuthorizeURL = "" }, "it needs authorize_url in its oauth2 block"},
		{func(d *toolkit.Definition) { d.OAuth.TokenURL = "" }, "it needs token_url in its oauth2 block"},
		{func(d *toolkit.Definition) { d.OAuth.TokenURL = "//x" }, "token_url"},
		{func(d *toolkit.Definition) { d.OAuth.RevokeURL = "javascript:alert(1)" }, "revoke_url"},
		{func(d *toolkit.Definition) { d.OAuth.AuthStyle = "header" }, `"header" is not an auth_style: basic, body, none`},
	} {
		d := acme()
		c.break_(&d)
		_, err := d.Toolkit()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestADefinitionIsReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		`{"id":"acme","base_ulr":"https://x"}`: `unknown field "base_ulr"`,
		`{"id":"acme"} {"id":"evil"}`:          "something after its end",
		`{"id":`:                               "unexpected EOF",
		`{"id":"acme","oauth2":{"client_secret":"hunter2"}}`: `unknown field "client_secret"`,
	} {
		if _, err := toolkit.ParseDefinition([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWhatIsMissingMakesADraftAndNoError(t *testing.T) {
	d := acme()
	d.OAuth.ClientID, d.OAuth.ClientSecret = "", secret.String{}
	tk, err := d.Toolkit()
	if err != nil || !slices.Equal(tk.Missing, []string{"client_id", "client_secret"}) {
		t.Errorf("%v, %v", tk, err)
	}
	d.OAuth.AuthStyle = toolkit.StyleNone
	if tk, err = d.Toolkit(); err != nil || !slices.Equal(tk.Missing, []string{"client_id"}) {
		t.Errorf("a public client: %v, %v", tk, err)
	}
}
