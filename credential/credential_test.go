// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

func request(t testing.TB, address string) *http.Request {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Request{URL: u, Header: http.Header{}}
}

func TestEachKindOfCredential(t *testing.T) {
	operator, user := secret.New("operators-key"), secret.New("users-token")
	for name, c := range map[string]struct {
		auth    toolkit.Auth
		header  http.Header
		query   string
		secrets []string
	}{
		"a user's token":         {toolkit.Auth{Kind: toolkit.OAuth, PerUser: true, Header: "Authorization", Prefix: "Bearer "}, http.Header{"Authorization": {"Bearer users-token"}}, "", []string{"users-token"}},
		"a user's key":           {toolkit.Auth{Kind: toolkit.APIKey, PerUser: true, Header: "x-key", Key: operator}, http.Header{"X-Key": {"users-token"}}, "", []string{"users-token"}},
		"the operator's key":     {toolkit.Auth{Kind: toolkit.APIKey, Header: "X-KEY", Prefix: "Key ", Key: operator}, http.Header{"X-Key": {"Key operators-key"}}, "", []string{"operators-key"}},
		"a key in the query":     {toolkit.Auth{Kind: toolkit.APIKey, Query: "k", Prefix: "p:", Key: secret.New("a+b/c")}, http.Header{}, "k=p%3Aa%2Bb%2Fc", []string{"a+b/c", "a%2Bb%2Fc"}},
		"a plain key in there":   {toolkit.Auth{Kind: toolkit.APIKey, Query: "k", Key: operator}, http.Header{}, "k=operators-key", []string{"operators-key"}},
		"the operator's Basic":   {toolkit.Auth{Kind: toolkit.Basic, Username: "u", Password: secret.New("p:w")}, http.Header{"Authorization": {"Basic dTpwOnc="}}, "", []string{"dTpwOnc=", "p:w"}},
		"a user's Basic":         {toolkit.Auth{Kind: toolkit.Basic, PerUser: true}, http.Header{"Authorization": {"Basic dXNlcnMtdG9rZW46"}}, "", []string{"dXNlcnMtdG9rZW46", "users-token"}},
		"none where none is due": {toolkit.Auth{Kind: toolkit.NoAuth, Key: operator}, http.Header{}, "", nil},
	} {
		out := request(t, "https://api.example.com/x")
		made := credential.For(c.auth, user)
		made.Apply(out)
		if !reflect.DeepEqual(out.Header, c.header) || out.URL.RawQuery != c.query || !reflect.DeepEqual(made.Secrets(), c.secrets) {
			t.Errorf("%s: header %v, query %q, secrets %q", name, out.Header, out.URL.RawQuery, made.Secrets())
		}
		if text := fmt.Sprintf("%v %+v %#v", made, made, made); strings.Contains(text, "users-token") || strings.Contains(text, "operators-key") || strings.Contains(text, "dTpwOnc=") {
			t.Errorf("%s: prints itself as %s", name, text)
		}
	}
}

func TestAUsersBasicIsKeptAsNameAndPassword(t *testing.T) {
	out := request(t, "https://api.example.com/x")
	credential.For(toolkit.Auth{Kind: toolkit.Basic, PerUser: true}, secret.New("ada:pass:word")).Apply(out)
	if user, password, ok := out.BasicAuth(); user != "ada" || password != "pass:word" || !ok {
		t.Errorf("sent %q, %q", user, password)
	}
}

func TestTheQueryKeepsItsBytes(t *testing.T) {
	for query, want := range map[string]string{
		"":                   "key=s",
		"a=1":                "a=1&key=s",
		"key=mine":           "key=s",
		"key":                "key=s",
		"key=mine&key=mine":  "key=s",
		"k%65y=mine":         "key=s",
		"KEY=mine":           "key=s",
		"+key=mine&%20key=m": "key=s",
		"a=1;key=mine;b":     "a=1;b&key=s",
		"fields=a;b,c;":      "fields=a;b,c;&key=s",
		"a&&b&":              "a&&b&&key=s",
		"a=%zz&%zz=1":        "a=%zz&%zz=1&key=s",
		"keys=1&x=key":       "keys=1&x=key&key=s",
		"a=%2f%2F+":          "a=%2f%2F+&key=s",
	} {
		out := request(t, "https://api.example.com/x")
		out.URL.RawQuery = query
		before := out.URL
		credential.Query{Name: "key", Secret: secret.New("s")}.Apply(out)
		if out.URL.RawQuery != want {
			t.Errorf("%q became %q, want %q", query, out.URL.RawQuery, want)
		}
		if before.RawQuery != query {
			t.Errorf("%q: the URL itself was changed", query)
		}
	}
}

func FuzzTheAgentsOwnParameterIsGone(f *testing.F) {
	for _, seed := range []string{"", "key=1", "a=1&key=2&b=3", "a;key=1;b", "%6bey=1&&", "&;&key;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		out := request(t, "https://api.example.com/x")
		out.URL.RawQuery = query
		credential.Query{Name: "key", Secret: secret.New("s")}.Apply(out)
		rest, found := strings.CutSuffix(out.URL.RawQuery, "key=s")
		if !found || rest != "" && !strings.HasSuffix(rest, "&") {
			t.Fatalf("%q became %q", query, out.URL.RawQuery)
		}
		for pair := range strings.FieldsFuncSeq(rest, func(r rune) bool { return r == '&' || r == ';' }) {
			name, _, _ := strings.Cut(pair, "=")
			if decoded, err := url.QueryUnescape(name); err == nil && strings.EqualFold(decoded, "key") {
				t.Fatalf("%q became %q", query, out.URL.RawQuery)
			}
			if !strings.Contains(query, pair) {
				t.Fatalf("%q became %q: %q is new", query, out.URL.RawQuery, pair)
			}
		}
	})
}
