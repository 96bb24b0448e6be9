// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/toolkit"
)

func TestReadOnlyLetsPassWhatIsKnownToRead(t *testing.T) {
	tk := acme(t, func(d *toolkit.Definition) {
		d.Reading = toolkit.Reading{
			Methods: []string{"GET", "OPTIONS"}, Reads: []string{"POST /search", "* /*.list"}, Writes: []string{"GET /logout", "* /admin.*"}, GraphQL: []string{"/graphql"},
		}
	})
	p := only(t, policy.Toolkit{Toolkit: tk, Rules: rules(t, "read_only")})
	const graphql = "POST"
	for _, c := range []struct{ method, address, body, want, why string }{
		{"GET", "/x", "", "ok", "a method that reads"},
		{"HEAD", "/x", "", "ok", "GET stands for HEAD too"},
		{"get", "/x", "", "read_only", "but no other spelling"},
		{"PUT", "/x", "", "read_only", "what is not known to read does not pass"},
		{"POST", "/batch", "", "read_only", "a batch may hold anything"},
		{"POST", "/search", "", "ok", "a path that reads"},
		{"POST", "/users.list", "", "ok", "Slack's methods are paths"},
		{"POST", "/admin.users.list", "", "read_only: writes * /admin.*", "what writes comes first"},
		{"GET", "/Logout/", "", "read_only: writes GET /logout", "however it is spelled"},
		{graphql, "/graphql", `{"query":"{ me { id } }"}`, "ok", "without a keyword it is a query"},
		{graphql, "/graphql", `{"query":"query Q($a: X = {b: \"}\"}) @d(x: 1) { a(s: \"\"\" mutation \\\"\"\" } \"\"\") } # mutation\nfragment F on T { b }"}`, "ok", "strings and comments are neither"},
		{graphql, "/graphql", `{"operationName":"Q","query":"query Q { a } mutation M { b }"}`, "read_only: a GraphQL operation that is no query", "whichever is chosen"},
		{graphql, "/graphql", `{"query":"mutation{ b }"}`, "read_only: a GraphQL operation that is no query", ""},
		{graphql, "/graphql", `{"query":"subscription { b }"}`, "read_only: a GraphQL operation that is no query", ""},
		{graphql, "/graphql", `{"query":"# {\rmutation { b }"}`, "read_only: a GraphQL operation that is no query", "a comment ends at a carriage return"},
		{graphql, "/graphql", `{"query":"{ a(s: \"\\\"\") } mutation { b }"}`, "read_only: a GraphQL operation that is no query", "a quote in a string"},
		{graphql, "/graphql", `{"\u0071uery":"mutation{ b }"}`, "read_only: a GraphQL operation that is no query", "names may be escaped"},
		{graphql, "/graphql", `{"query":"{a}","query":"mutation{ b }"}`, "read_only: a GraphQL request that cannot be read", "which of two counts?"},
		{graphql, "/graphql", `{"query":"{a}","Query":"mutation{ b }"}`, "read_only: a GraphQL request that cannot be read", ""},
		{graphql, "/graphql", `[{"query":"{a}"},{"query":"mutation{b}"}]`, "read_only: a GraphQL operation that is no query", "a list of requests"},
		{graphql, "/graphql", `[{"query":"{a}"},{"query":"{b}"}]`, "ok", ""},
		{graphql, "/graphql", `[]`, "read_only: a GraphQL request without a query in it", ""},
		{graphql, "/graphql", `{"extensions":{"persistedQuery":{"sha256Hash":"x"}}}`, "read_only: a GraphQL request without a query in it", "nobody sees what it does"},
		{graphql, "/graphql", `{"query":"{a} query"}`, "read_only: a GraphQL request that cannot be read", "half a definition"},
		{graphql, "/graphql", `{"query":"{ a "}`, "read_only: a GraphQL request that cannot be read", ""},
		{graphql, "/graphql", `{"query":"fragment F on T { a }"}`, "read_only: a GraphQL request that cannot be read", ""},
		{graphql, "/graphql", `{"query":{"a":1}}`, "read_only: a GraphQL request that cannot be read", ""},
		{graphql, "/graphql", `query=mutation{a}`, "read_only: a GraphQL request that cannot be read", "a form is not looked into"},
		{graphql, "/graphql?query=mutation{a}", `{"query":"{a}"}`, "read_only: a GraphQL operation that is no query", "some servers look at the address first"},
		{"GET", "/graphql?query=%7Ba%7D", "", "ok", ""},
		{"GET", "/graphql?query=mutation+%7Ba%7D", "", "read_only: a GraphQL operation that is no query", ""},
		{"GET", "/graphql", "", "read_only: a GraphQL request without a query", ""},
		{graphql, "/graphql", `{"query":"{a}","x":"` + strings.Repeat("x", 256<<10) + `"}`, "read_only: a GraphQL request that is too large to be looked into", ""},
	} {
		want := c.want
		if want != "ok" {
			want = "not_permitted: " + want
		}
		asked := call(tk, c.method, c.address)
		asked.Body = body(c.body)
		if got := said(p.Admit(t.Context(), asked)); got != want {
			t.Errorf("%s %s %.80s: %s, want %s %s", c.method, c.address, c.body, got, want, c.why)
		}
	}
}

func TestReadOnlyIsNeverAGuess(t *testing.T) {
	blank := acme(t, nil)
	toolkits := map[string]policy.Toolkit{"acme": {Toolkit: blank}}
	for why, cfg := range map[string]policy.Config{
		"the toolkit":          {Toolkits: map[string]policy.Toolkit{"acme": {Toolkit: blank, Rules: rules(t, "read_only")}}},
		"an agent":             {Toolkits: toolkits, Agents: map[string]policy.Agent{"bot": {Rules: map[string]policy.Rules{"acme": rules(t, "read_only")}}}},
		"an agent, everywhere": {Toolkits: toolkits, Agents: map[string]policy.Agent{"bot": {Rules: map[string]policy.Rules{"*": rules(t, "read_only")}}}},
	} {
		if _, err := policy.New(cfg); err == nil || !strings.Contains(err.Error(), "reads GET HEAD OPTIONS") {
			t.Errorf("%s: %v", why, err)
		}
	}
	for _, r := range []toolkit.Reading{{Methods: []string{"get"}}, {Reads: []string{"/x"}}, {Writes: []string{"GET x"}}, {GraphQL: []string{"graphql"}}} {
		if err := policy.CheckReading(r); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}

// FuzzGraphQL: what passes has no mutation at its top level, as a simpler reader sees it.
func FuzzGraphQL(f *testing.F) {
	tk := acme(f, func(d *toolkit.Definition) { d.Reading.GraphQL = []string{"/graphql"} })
	p := only(f, policy.Toolkit{Toolkit: tk, Rules: rules(f, "read_only")})
	f.Add("{a}", "mutation{b}")
	f.Add("query($a:I){a}", " \tmutation M{b}")
	f.Fuzz(func(t *testing.T, before, after string) {
		// A query that is whole in itself cannot hide what comes behind it.
		one := call(tk, "GET", "/graphql?query="+escaped(before))
		if p.Admit(t.Context(), one) != nil {
			return
		}
		both := call(tk, "GET", "/graphql?query="+escaped(before+"\nmutation{x}"+after))
		if p.Admit(t.Context(), both) == nil {
			t.Fatalf("%q hides a mutation", before)
		}
	})
}

func escaped(s string) string { return url.QueryEscape(s) }

// A user who allows reading only is heard by the gateway, whatever the operator's rules.
func TestWhatIsKnownToReadIsTold(t *testing.T) {
	tk := acme(t, func(d *toolkit.Definition) {
		d.Reading = toolkit.Reading{Methods: []string{"GET"}, Reads: []string{"POST /search"}, Writes: []string{"GET /logout"}}
	})
	p := only(t, policy.Toolkit{Toolkit: tk})
	for text, want := range map[string]bool{
		"GET /repos": true, "HEAD /repos": true, "POST /search": true, "POST /repos": false, "DELETE /search": false,
		"GET /logout": false, "GET /LOGOUT": false, "GET /a%2Fb": false, "GET /a//b": false, "GET /repos?_method=DELETE": false,
	} {
		method, address, _ := strings.Cut(text, " ")
		if got := p.Reads(call(tk, method, address)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if known := only(t, policy.Toolkit{Toolkit: acme(t, nil)}); known.Reads(call(tk, "GET", "/repos")) {
		t.Error("nothing says so")
	}
}
