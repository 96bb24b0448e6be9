// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

var (
	oneKey  = toolkit.Auth{Kind: toolkit.APIKey, PerUser: true, Header: "X-Key", Fields: []toolkit.Field{{Name: "key"}}}
	datadog = toolkit.Auth{Kind: toolkit.APIKey, PerUser: true, Header: "Authorization", Fields: []toolkit.Field{
		{Name: "api_key", Header: "DD-API-KEY"}, {Name: "application_key", Header: "dd-application-key", Prefix: "App "},
	}}
	trello = toolkit.Auth{Kind: toolkit.APIKey, PerUser: true, Fields: []toolkit.Field{{Name: "key", Query: "key"}, {Name: "token", Query: "token"}}}
	login  = toolkit.Auth{Kind: toolkit.Basic, PerUser: true, Header: "Authorization", Fields: []toolkit.Field{{Name: "username"}, {Name: "password"}}}
)

func TestWhatAUserEnteredIsPutWhereTheToolkitSays(t *testing.T) {
	for name, c := range map[string]struct {
		auth    toolkit.Auth
		entered map[string]string
		packed  string
		header  http.Header
		query   string
		secrets []string
	}{
		"one key": {oneKey, map[string]string{"key": `{"k":1}`}, `{"k":1}`, http.Header{"X-Key": {`{"k":1}`}}, "key=mine", []string{`{"k":1}`}},
		"two headers": {datadog, map[string]string{"api_key": "first", "application_key": `se"c<ond`}, `{"api_key":"first","application_key":"se\"c<ond"}`,
			http.Header{"Dd-Api-Key": {"first"}, "Dd-Application-Key": {`App se"c<ond`}}, "key=mine", []string{"first", `se"c<ond`}},
		"two parameters": {trello, map[string]string{"key": "k&1", "token": "t=2"}, `{"key":"k&1","token":"t=2"}`,
			http.Header{}, "key=k%261&token=t%3D2", []string{"k&1", "k%261", "t=2", "t%3D2"}},
		"name and password": {login, map[string]string{"username": "ada", "password": "pass:word"}, "ada:pass:word",
			http.Header{"Authorization": {"Basic YWRhOnBhc3M6d29yZA=="}}, "key=mine", []string{"YWRhOnBhc3M6d29yZA==", "pass:word"}},
		"a key as the name": {login, map[string]string{"username": "sk_live_0"}, "sk_live_0:",
			http.Header{"Authorization": {"Basic c2tfbGl2ZV8wOg=="}}, "key=mine", []string{"c2tfbGl2ZV8wOg==", "sk_live_0"}},
		"and a password that is none": {login, map[string]string{"username": "sk_live_0", "password": "x"}, "sk_live_0:x",
			http.Header{"Authorization": {"Basic c2tfbGl2ZV8wOng="}}, "key=mine", []string{"c2tfbGl2ZV8wOng=", "sk_live_0"}},
	} {
		packed := credential.Pack(c.auth, c.entered)
		if packed.Reveal() != c.packed {
			t.Errorf("%s is kept as %s", name, packed.Reveal())
		}
		out := request(t, "https://api.example.com/x?key=mine")
		made := credential.For(c.auth, packed)
		made.Apply(out)
		if !reflect.DeepEqual(out.Header, c.header) || out.URL.RawQuery != c.query || !slices.Equal(made.Secrets(), c.secrets) {
			t.Errorf("%s: header %v, query %q, secrets %q", name, out.Header, out.URL.RawQuery, made.Secrets())
		}
		if text := fmt.Sprintf("%v %+v %#v %v", made, made, made, packed); strings.Contains(text, "first") || strings.Contains(text, "k&1") || strings.Contains(text, "sk_live") {
			t.Errorf("%s: prints itself as %s", name, text)
		}
	}
}

// A record that is not what the toolkit asks for must not let the agent's own key
// through, and must not be sent as it is.
func TestAFieldThatIsNotThereIsSentEmpty(t *testing.T) {
	for _, packed := range []string{"", "one-key", `["a","b"]`, `{"api_key":7}`, `{"other":"x"}`} {
		out := request(t, "https://api.example.com/x")
		out.Header.Set("Dd-Api-Key", "the-agents-own")
		credential.For(datadog, secret.New(packed)).Apply(out)
		if want := (http.Header{"Dd-Api-Key": {""}, "Dd-Application-Key": {"App "}}); !reflect.DeepEqual(out.Header, want) {
			t.Errorf("%s: sent %v", packed, out.Header)
		}
	}
}
