// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

func userKey(auth toolkit.AuthDefinition) toolkit.Definition {
	auth.PerUser = true
	if auth.Kind == "" {
		auth.Kind = toolkit.APIKey
	}
	return toolkit.Definition{ID: "acme", BaseURL: "https://api.acme.example/v2", Auth: auth, Help: "Look there.", HelpURL: "https://acme.example/help#keys"}
}

func TestWhatAUserIsAskedForIsComplete(t *testing.T) {
	none := ""
	for name, c := range map[string]struct {
		auth    toolkit.AuthDefinition
		want    []toolkit.Field
		grantee string
	}{
		"a key":            {toolkit.AuthDefinition{}, []toolkit.Field{{"key", "API key", "Authorization", "", "Bearer "}}, "api_key"},
		"one in the query": {toolkit.AuthDefinition{Query: "k"}, []toolkit.Field{{"key", "API key", "", "k", ""}}, "api_key"},
		"one with a label": {toolkit.AuthDefinition{Fields: []toolkit.FieldDefinition{{Name: "pat", Label: "Personal token", Header: "X-Pat"}}}, []toolkit.Field{{"pat", "Personal token", "X-Pat", "", ""}}, "api_key"},
		"two fields": {toolkit.AuthDefinition{Fields: []toolkit.FieldDefinition{{Name: "z", Header: "authorization"}, {Name: "a", Header: "Authorization2", Prefix: &none}}},
			[]toolkit.Field{{"z", "z", "authorization", "", "Bearer "}, {"a", "a", "Authorization2", "", ""}}, "api_key:a,z"},
		"basic":           {toolkit.AuthDefinition{Kind: toolkit.Basic}, []toolkit.Field{{"username", "User name", "", "", ""}, {"password", "Password", "", "", ""}}, "basic"},
		"a name alone":    {toolkit.AuthDefinition{Kind: toolkit.Basic, Fields: []toolkit.FieldDefinition{{Name: "username", Label: "API key"}}}, []toolkit.Field{{"username", "API key", "", "", ""}}, "basic"},
		"basic, labelled": {toolkit.AuthDefinition{Kind: toolkit.Basic, Fields: []toolkit.FieldDefinition{{Name: "username", Label: "SID"}, {Name: "password"}}}, []toolkit.Field{{"username", "SID", "", "", ""}, {"password", "Password", "", "", ""}}, "basic"},
	} {
		tk, err := userKey(c.auth).Toolkit()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if issuer, client := tk.Grantee(); !reflect.DeepEqual(tk.Auth.Fields, c.want) || issuer != c.grantee || client != "" || tk.Draft() || tk.HelpURL == "" || tk.Help == "" {
			t.Errorf("%s: %+v, for %s", name, tk.Auth, issuer)
		}
		if len(c.want) == 1 && tk.Auth.Kind == toolkit.APIKey && (tk.Auth.Header != c.want[0].Header || tk.Auth.Query != c.want[0].Query || tk.Auth.Prefix != c.want[0].Prefix) {
			t.Errorf("%s goes to %+v", name, tk.Auth)
		}
	}
}

func TestAConnectionIsForOneClientOrOneFormOfKey(t *testing.T) {
	tk, err := acme().Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	if issuer, client := tk.Grantee(); issuer != "https://id.acme.example/token" || client != "c" {
		t.Errorf("%s %s", issuer, client)
	}
}

func TestTheOperatorsKeyAsksNoUser(t *testing.T) {
	d := userKey(toolkit.AuthDefinition{})
	d.Auth.PerUser = false
	if tk, err := d.Toolkit(); err != nil || tk.Auth.Fields != nil || tk.HelpURL != "" {
		t.Errorf("%+v, %v", tk, err)
	}
}

func TestTheCataloguesFieldsAndHelpAreForItsOwnWay(t *testing.T) {
	base := userKey(toolkit.AuthDefinition{Fields: []toolkit.FieldDefinition{{Name: "a", Header: "A"}, {Name: "b", Header: "B"}}})
	tk, err := base.Over(toolkit.Definition{Probe: "/me"}).Toolkit()
	if err != nil || len(tk.Auth.Fields) != 2 || tk.Probe != "/me" || tk.Help != "Look there." {
		t.Errorf("%+v, %v", tk, err)
	}
	tk, err = base.Over(toolkit.Definition{Auth: toolkit.AuthDefinition{Kind: toolkit.APIKey, PerUser: true, Query: "k"}, Help: "Here."}).Toolkit()
	if err != nil || len(tk.Auth.Fields) != 1 || tk.Auth.Fields[0].Query != "k" || tk.Help != "Here." || tk.HelpURL == "" {
		t.Errorf("a query in place of the fields: %+v, %v", tk, err)
	}
	tk, err = base.Over(toolkit.Definition{Auth: toolkit.AuthDefinition{Kind: toolkit.Basic, PerUser: true}}).Toolkit()
	if err != nil || tk.Auth.Fields[0].Name != "username" || tk.Help != "" || tk.HelpURL != "" {
		t.Errorf("another way: %+v, %v", tk, err)
	}
}

func TestAKeyIsCheckedByTheProbeBeforeTheIdentity(t *testing.T) {
	for _, c := range []struct {
		probe, identity, path, query string
	}{
		{"", "", "", ""}, {"", "/me", "/me", ""}, {"/ping", "/me", "/ping", ""}, {"/ping?a=b&c", "", "/ping", "a=b&c"},
	} {
		d := userKey(toolkit.AuthDefinition{})
		d.Probe = c.probe
		if c.identity != "" {
			d.Identity = &toolkit.Identity{Path: c.identity, Field: "name"}
		}
		tk, err := d.Toolkit()
		if err != nil {
			t.Fatal(err)
		}
		if path, query := tk.Check(); path != c.path || query != c.query {
			t.Errorf("%+v: %s ? %s", c, path, query)
		}
	}
}

func TestMistakesInUserKeysAreNamed(t *testing.T) {
	with := func(fields ...toolkit.FieldDefinition) func(*toolkit.Definition) {
		return func(d *toolkit.Definition) { d.Auth.Fields = fields }
	}
	basic := func(fields ...toolkit.FieldDefinition) func(*toolkit.Definition) {
		return func(d *toolkit.Definition) { d.Auth.Kind, d.Auth.Fields = toolkit.Basic, fields }
	}
	probe := func(path string) func(*toolkit.Definition) {
		return func(d *toolkit.Definition) { d.Probe = path }
	}
	for _, c := range []struct {
		break_ func(*toolkit.Definition)
		want   string
	}{
		{with(toolkit.FieldDefinition{Name: "A b", Header: "X"}), `"A b" cannot be the name of a field`},
		{with(toolkit.FieldDefinition{Header: "X"}), `"" cannot be the name of a field`},
		{with(toolkit.FieldDefinition{Name: "a"}), "say one of them"},
		{with(toolkit.FieldDefinition{Name: "a", Header: "X", Query: "y"}), "say one of them"},
		{with(toolkit.FieldDefinition{Name: "a", Header: "X Y"}), `called "X Y"`},
		{with(toolkit.FieldDefinition{Name: "a", Header: "host"}), `called "host"`},
		{with(toolkit.FieldDefinition{Name: "a", Header: "Cookie"}), `called "Cookie"`},
		{with(toolkit.FieldDefinition{Name: "a", Header: "X", Label: "a\nb"}), "without control characters"},
		{with(toolkit.FieldDefinition{Name: "a", Header: "X"}, toolkit.FieldDefinition{Name: "a", Header: "Y"}), "a is there twice"},
		{with(toolkit.FieldDefinition{Name: "a", Header: "X-A"}, toolkit.FieldDefinition{Name: "b", Header: "x-a"}), "b goes where another one goes"},
		{with(toolkit.FieldDefinition{Name: "a", Query: "k"}, toolkit.FieldDefinition{Name: "b", Query: "K"}), "b goes where another one goes"},
		{func(d *toolkit.Definition) {
			d.Auth.Header, d.Auth.Fields = "X", []toolkit.FieldDefinition{{Name: "a", Header: "X"}}
		}, "are for one key"},
		{with(make([]toolkit.FieldDefinition, 6)...), "at most 5"},
		{basic(toolkit.FieldDefinition{Name: "password"}), "username and password"},
		{basic(toolkit.FieldDefinition{Name: "username"}, toolkit.FieldDefinition{Name: "username"}), "twice"},
		{basic(toolkit.FieldDefinition{Name: "username"}, toolkit.FieldDefinition{Name: "key"}), "username and password"},
		{func(d *toolkit.Definition) {
			d.Auth.PerUser, d.Auth.Fields = false, []toolkit.FieldDefinition{{Name: "a", Header: "X"}}
		}, "each user"},
		{func(d *toolkit.Definition) { d.HelpURL = "javascript:alert(1)" }, "help_url"},
		{func(d *toolkit.Definition) { d.HelpURL = "javascript://x.example/%0aalert(1)" }, "help_url"},
		{func(d *toolkit.Definition) { d.HelpURL = "/here" }, "help_url"},
		{func(d *toolkit.Definition) { d.HelpURL = "https://a:b@x.example" }, "help_url"},
		{probe("me"), `probe "me"`}, {probe("?a=b"), "probe"}, {probe("/../x"), "probe"}, {probe("/~nobody/x"), "probe"},
		{probe("/a b"), "probe"}, {probe("/a#b"), "probe"}, {probe("/a?b\r\nX: y"), "probe"}, {probe("//evil.example/../.."), "probe"}, {probe("/%zz"), "probe"},
	} {
		d := userKey(toolkit.AuthDefinition{})
		c.break_(&d)
		if _, err := d.Toolkit(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
