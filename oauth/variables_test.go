// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

// placed are the variables of a Salesforce and of a provider that has a number deep in
// its answer.
var placed = map[string]toolkit.Variable{
	"instance": {From: toolkit.FromReply, Field: "instance_url", Hosts: []toolkit.HostPattern{"*.salesforce.com", "*.force.com"}},
	"org":      {From: toolkit.FromReply, Field: "data.org.id", Segment: toolkit.Digits, MaxLength: 10},
}

func TestATokenAnswerNamesVariables(t *testing.T) {
	for text, want := range map[string]struct{ values, strays string }{
		`{"access_token":"a"}`: {},
		`{"access_token":"a","instance_url":"https://NA1.my.salesforce.com","data":{"org":{"id":42}}}`:        {"instance=na1.my.salesforce.com org=42", ""},
		"\ufeff" + `{"access_token":"a","instance_url":"https://na1.force.com/","data":{"org":{"id":"42"}}}`:  {"instance=na1.force.com org=42", ""},
		`access_token=a&instance_url=https%3A%2F%2Fna1.force.com`:                                             {"instance=na1.force.com", ""},
		`access_token=a&instance_url=https%3A%2F%2Fevil.example`:                                              {"", "instance"},
		`{"access_token":"a","instance_url":null,"data":null}`:                                                {},
		`{"access_token":"a","instance_url":{"host":"na1.force.com"},"data":{"org":{"id":[42]}}}`:             {"", "instance org"},
		`{"access_token":"a","instance_url":""}`:                                                              {"", "instance"},
		`{"access_token":"a","instance_url":"https://evilsalesforce.com","data":{"org":{"id":"4/2"}}}`:        {"", "instance org"},
		`{"access_token":"a","instance_url":"https://na1.salesforce.com.evil.com","data":{"org":{"id":-42}}}`: {"", "instance org"},
		`{"access_token":"a","instance_url":"http://na1.salesforce.com"}`:                                     {"", "instance"},
		`{"access_token":"a","instance_url":"https://na1.salesforce.com@evil.com"}`:                           {"", "instance"},
		`{"access_token":"a","instance_url":"https://na1.salesforce.com/services"}`:                           {"", "instance"},
	} {
		e := newEndpoint(t, says(200, "application/json", text))
		e.oauth.Reply = placed
		g, err := e.refresh()
		var values []string
		for _, name := range slices.Sorted(maps.Keys(g.Variables)) {
			values = append(values, name+"="+g.Variables[name])
		}
		if err != nil || g.AccessToken.Reveal() != "a" || strings.Join(values, " ") != want.values || strings.Join(g.Strays, " ") != want.strays {
			t.Errorf("%s\ngives %q, strays %q (%v)", text, values, g.Strays, err)
		}
	}
}

// The first answer may be the only one that says where the account is.
func TestATokenThatIsProlongedStaysWhereItIs(t *testing.T) {
	for second, want := range map[string]struct{ instance, strays string }{
		`{"access_token":"long"}`: {"na1.force.com", ""},
		`{"access_token":"long","instance_url":"https://na2.force.com"}`: {"na2.force.com", ""},
		`{"access_token":"long","instance_url":"https://evil.example"}`:  {"na1.force.com", "instance"},
	} {
		answers := []string{`{"access_token":"short","instance_url":"https://na1.force.com"}`, second}
		e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
			says(200, "application/json", answers[0])(w, r)
			answers = answers[1:]
		})
		e.oauth.Reply, e.oauth.LongLivedGrantType = placed, "exchange"
		g, err := e.client.Exchange(context.Background(), e.oauth, "code", "verifier", "https://here.example")
		if err != nil || g.AccessToken.Reveal() != "long" || g.Variables["instance"] != want.instance || strings.Join(g.Strays, " ") != want.strays {
			t.Errorf("%s gives %v, strays %v (%v)", second, g.Variables, g.Strays, err)
		}
	}
}
