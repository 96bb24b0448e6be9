// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

// varied is a toolkit with one variable of each kind.
func varied() toolkit.Definition {
	return toolkit.Definition{
		ID: "varied", BaseURL: "https://{instance}/services/{team}", Hosts: map[string]string{"files": "https://{shop}.files.example.com/a%2Fb/{shop}", "fixed": "https://fixed.example.com"},
		Variables: map[string]toolkit.VariableDefinition{
			"instance": {From: toolkit.FromReply, Field: "instance_url", Hosts: []string{"*.force.example", "api.exact.example"}},
			"shop":     {From: toolkit.FromReply, Field: "shop", Label: true},
			"team":     {From: toolkit.FromCallback, Field: "teamId", Segment: toolkit.IDCharacters, MaxLength: 36},
		},
		Auth:     toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth:    toolkit.OAuthDefinition{AuthorizeURL: "https://id.example.com/authorize", TokenURL: "https://id.example.com/token", ClientID: "c"},
		Identity: &toolkit.Identity{Path: "/team/{team}", Field: "name"},
		Probe:    "/{team}/ping?x=1",
	}
}

func variedToolkit(t testing.TB) *toolkit.Toolkit {
	t.Helper()
	tk, err := varied().Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

func TestAConnectionHasItsOwnAddresses(t *testing.T) {
	tk := variedToolkit(t)
	own, err := tk.For(map[string]string{"instance": "na1.force.example", "shop": "my-shop", "team": "T_1-a", "of long ago": "x"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/x%2Fy":          "https://na1.force.example/services/T_1-a/x%2Fy",
		"/~files/x":       "https://my-shop.files.example.com/a%2Fb/my-shop/x",
		"/~fixed/x":       "https://fixed.example.com/x",
		own.Identity.Path: "https://na1.force.example/services/T_1-a/team/T_1-a",
		"/{team}":         "https://na1.force.example/services/T_1-a/%7Bteam%7D", // the agent's braces are no variable
	} {
		if u, err := own.Target(path, ""); err != nil || u.String() != want {
			t.Errorf("%s leads to %v (%v), want %s", path, u, err, want)
		}
	}
	if own.Probe != "/T_1-a/ping?x=1" {
		t.Errorf("probe %s", own.Probe)
	}
	for _, text := range []string{"https://na1.force.example/services/T_1-a/next", "https://my-shop.files.example.com/a%2Fb/my-shop/x", "https://fixed.example.com/x"} {
		if _, ok := own.Local(address(t, text)); !ok {
			t.Errorf("%s is not the connection's", text)
		}
	}
	for _, text := range []string{"https://na2.force.example/services/T_1-a/next", "https://na1.force.example/services/T_2/next", "https://other.files.example.com/a%2Fb/other/x"} {
		if _, ok := own.Local(address(t, text)); ok {
			t.Errorf("%s is another connection's", text)
		}
	}
	// What it is a copy of stays a pattern.
	if tk.BaseURL.Host != "{instance}" || tk.Identity.Path != "/team/{team}" || tk.Aliases["files"].Host != "{shop}.files.example.com" {
		t.Errorf("the toolkit was changed: %v %v", tk.BaseURL, tk.Identity)
	}
	if want := []string{"https://fixed.example.com", "https://{instance}", "https://{shop}.files.example.com"}; !slices.Equal(tk.Origins(), want) {
		t.Errorf("origins %q", tk.Origins())
	}
}

func TestValuesOutsideOfThePatternAreRefused(t *testing.T) {
	tk := variedToolkit(t)
	good := map[string]string{"instance": "na1.force.example", "shop": "shop", "team": "1"}
	if _, err := tk.For(good); err != nil {
		t.Fatal(err)
	}
	for name, values := range map[string][]string{
		"instance": {
			"", "force.example", "evilforce.example", "na1.force.example.evil.example", "na1.force.example.", "na1.force.example:443", "na1.force.example:8443",
			"https://na1.force.example", "u@na1.force.example", "na1.force.example/x", "na1.force.example?x", "na1.force.example#x", `evil.example\.force.example`,
			"evil.example/.force.example", "evil.example%2f.force.example", "a..force.example", ".force.example", "-.force.example", "...force.example",
			"NA1.force.example", "xn--80ak6aa92e.force.example", "a.xn--p1ai.force.example", "ünstance.force.example", "\u212a1.force.example", "na1。force.example",
			"na1.force.example\n", " na1.force.example", "a\x00.force.example", "127.0.0.1", "[::1]", "2130706433", "0x7f.1", "below.api.exact.example", "a_b.force.example",
			strings.Repeat("a", 64) + ".force.example", strings.Repeat("a.", 126) + "force.example", "{instance}", "localhost",
		},
		"shop": {"", ".", "a.b", "a-", "-a", "a_b", "xn--a", "A", "a/b", "a%2e", "a@b", "a:1", "ü", strings.Repeat("a", 64), "shop.files.example.com"},
		"team": {"", ".", "..", "a/b", "a%2fb", `a\b`, "a;b", "a b", "a\n", "ü", "a?b", "a#b", strings.Repeat("1", 37), "{team}"},
	} {
		for _, value := range values {
			bad := map[string]string{"instance": good["instance"], "shop": good["shop"], "team": good["team"], name: value}
			if own, err := tk.For(bad); !errors.Is(err, toolkit.ErrVariable) {
				t.Errorf("%s %q leads to %v (%v)", name, value, own.BaseURL, err)
			}
		}
		missing := map[string]string{"instance": good["instance"], "shop": good["shop"], "team": good["team"]}
		delete(missing, name)
		if _, err := tk.For(missing); !errors.Is(err, toolkit.ErrVariable) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestAValueIsKeptInOneSpelling(t *testing.T) {
	tk := variedToolkit(t)
	for text, want := range map[string]string{
		"https://NA1.Force.example": "na1.force.example", "https://na1.force.example/": "na1.force.example", "na1.force.example": "na1.force.example",
		"HTTPS://api.exact.example": "api.exact.example", "a--b.na1.force.example": "a--b.na1.force.example",
		"http://na1.force.example": "", "https://na1.force.example//": "", "https://na1.force.example/services": "", "na1.force.example/": "",
		"//na1.force.example": "", "https:na1.force.example": "", "https://https://na1.force.example": "", "https://u:p@na1.force.example": "",
		"https://na1.force.example?x": "", "https://na1.force.example:443": "", "https://na1.force.example\r\nX: y": "", "javascript:na1.force.example": "",
		"https://": "", "https:///": "", "https://\u212a1.force.example": "",
	} {
		if value, ok := tk.Variables["instance"].Accept(text); ok != (want != "") || ok && value != want {
			t.Errorf("%q is taken for %q (%v), want %q", text, value, ok, want)
		}
	}
	if value, ok := tk.Variables["shop"].Accept("My-Shop"); !ok || value != "my-shop" {
		t.Errorf("a label: %q", value)
	}
}

func TestWhatIsGuardedIsEveryHostThatAValueMayName(t *testing.T) {
	tk := variedToolkit(t)
	for host, want := range map[string]bool{
		"na1.force.example": true, "api.exact.example": true, "a.files.example.com": true, "fixed.example.com": false, "id.example.com": false, "evil.example": false,
	} {
		if tk.VariableHost(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
	if !tk.HasVariableHost() || downloading(t, "https://api.example.com").HasVariableHost() {
		t.Error("which toolkit has hosts that vary?")
	}
}

func TestVariablesThatAreRefused(t *testing.T) {
	variable := func(name string, change func(*toolkit.VariableDefinition)) func(*toolkit.Definition) {
		return func(d *toolkit.Definition) {
			v := d.Variables[name]
			change(&v)
			d.Variables[name] = v
		}
	}
	for _, c := range []struct {
		want   string
		change func(*toolkit.Definition)
	}{
		{"not where a value can be from", variable("shop", func(v *toolkit.VariableDefinition) { v.From = "query" })},
		{"has an address to ask", variable("shop", func(v *toolkit.VariableDefinition) { v.From = toolkit.FromLookup })},
		{"has an address to ask", variable("shop", func(v *toolkit.VariableDefinition) { v.Lookup = "https://api.example.com/sites" })},
		{"lookup: an address without user name", variable("shop", func(v *toolkit.VariableDefinition) {
			v.From, v.Lookup = toolkit.FromLookup, "https://u:p@api.example.com"
		})},
		{"is not a field", variable("shop", func(v *toolkit.VariableDefinition) { v.Field = "a..b" })},
		{"access_token is never a part", variable("shop", func(v *toolkit.VariableDefinition) { v.Field = "data.access_token" })},
		{"code is never a part", variable("team", func(v *toolkit.VariableDefinition) { v.Field = "code" })},
		{"say one of host, label and segment", variable("shop", func(v *toolkit.VariableDefinition) { v.Segment = toolkit.Digits })},
		{"not characters of a segment", variable("team", func(v *toolkit.VariableDefinition) { v.Segment = "any" })},
		{"1 to 256 characters", variable("team", func(v *toolkit.VariableDefinition) { v.MaxLength = 257 })},
		{"is too wide", variable("instance", func(v *toolkit.VariableDefinition) { v.Hosts = []string{"*.com"} })},
		{"no address, scheme or path", variable("instance", func(v *toolkit.VariableDefinition) { v.Hosts = []string{"*"} })},
		{"no port", variable("instance", func(v *toolkit.VariableDefinition) { v.Hosts = []string{"*.force.example:8443"} })},
		{"a name of lower case letters", func(d *toolkit.Definition) { d.Variables["Team"] = d.Variables["team"] }},
		{`there is no variable "region"`, func(d *toolkit.Definition) { d.BaseURL = "https://{instance}/{region}" }},
		{`base_url: there is no variable "x"`, func(d *toolkit.Definition) { d.BaseURL = "https://{x}" }},
		{"begins with https://", func(d *toolkit.Definition) { d.BaseURL = "http://{instance}/{team}" }},
		{"stands before its first dot", func(d *toolkit.Definition) { d.BaseURL = "https://a.{shop}.example.com/{team}" }},
		{"shop is not", func(d *toolkit.Definition) { d.BaseURL = "https://{shop}/{team}" }},
		{"instance is not", func(d *toolkit.Definition) { d.BaseURL = "https://{instance}.example.com/{team}" }},
		{"at least two labels and no port", func(d *toolkit.Definition) { d.BaseURL = "https://{shop}.example/{team}" }},
		{"at least two labels and no port", func(d *toolkit.Definition) { d.BaseURL = "https://{shop}.example.com:8443/{team}" }},
		{"at least two labels and no port", func(d *toolkit.Definition) { d.BaseURL = "https://{shop}.0.0.1/{team}" }},
		{"at least two labels and no port", func(d *toolkit.Definition) { d.BaseURL = "https://{shop}x.example.com/{team}" }},
		{"stands before its first dot", func(d *toolkit.Definition) { d.BaseURL = "https://u@{instance}/{team}" }},
		{"at least two labels and no port", func(d *toolkit.Definition) { d.BaseURL = "https://{shop}.u@example.com/{team}" }},
		{"a whole segment of a path", func(d *toolkit.Definition) { d.BaseURL = "https://{instance}/x{team}" }},
		{"is a host, and not a part", func(d *toolkit.Definition) { d.BaseURL = "https://{instance}/{instance}" }},
		{"identity: a variable is a whole", func(d *toolkit.Definition) { d.Identity.Path = "/me-{team}" }},
		{"probe: there is no variable", func(d *toolkit.Definition) { d.Probe = "/{x}" }},
		{"probe: a variable is a whole", func(d *toolkit.Definition) { d.Probe = "/x?team={team}" }},
		{"without a query", func(d *toolkit.Definition) { d.BaseURL = "https://{instance}/{team}?x" }},
		{"stands in no address", func(d *toolkit.Definition) { d.Hosts = nil }},
		{"are for oauth2", func(d *toolkit.Definition) { d.Auth.Kind = toolkit.NoAuth }},
		{"has to be proved", func(d *toolkit.Definition) { d.Identity = nil }},
		{"whose call proves it", func(d *toolkit.Definition) {
			d.BaseURL, d.Identity.Path, d.Hosts["more"] = "https://{instance}", "/me", "https://x.example.com/{team}"
		}},
	} {
		d := varied()
		c.change(&d)
		if _, err := d.Toolkit(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestALookupIsNoClaimAndItsHostIsKnown(t *testing.T) {
	d := varied()
	d.Variables["shop"] = toolkit.VariableDefinition{From: toolkit.FromLookup, Field: "dc", Lookup: "https://login.example.com/metadata", Label: true}
	tk, err := d.Toolkit()
	if err != nil || len(tk.LookedUp()) != 1 || len(tk.Claimed()) != 1 || len(tk.OAuth.Reply) != 1 || !slices.Contains(d.Addresses(), "login.example.com") {
		t.Errorf("%v, %v, %q (%v)", tk.LookedUp(), tk.Claimed(), d.Addresses(), err)
	}
}

func TestAnAddressThatIsWrittenOutNeedsNoVariable(t *testing.T) {
	salesforce, _ := toolkit.Builtin("salesforce")
	tk, err := salesforce.Over(toolkit.Definition{BaseURL: "https://acme.my.salesforce.com"}).Toolkit()
	if err != nil || len(tk.Variables) != 0 || tk.BaseURL.Host != "acme.my.salesforce.com" || len(tk.OAuth.Reply) != 0 {
		t.Errorf("%v %v (%v)", tk.BaseURL, tk.Variables, err)
	}
	// Of QuickBooks' own the identity call still has it.
	quickbooks, _ := toolkit.Builtin("quickbooks")
	tk, err = quickbooks.Over(toolkit.Definition{BaseURL: "https://sandbox-quickbooks.api.intuit.com/v3/company/{realm_id}"}).Toolkit()
	if err != nil || len(tk.Claimed()) != 1 {
		t.Fatalf("%v (%v)", tk, err)
	}
	own, err := tk.For(map[string]string{"realm_id": "9130357"})
	if u, _ := own.Target(own.Identity.Path, ""); err != nil || u.String() != "https://sandbox-quickbooks.api.intuit.com/v3/company/9130357/companyinfo/9130357" {
		t.Errorf("%v (%v)", u, err)
	}
	// What is written with a variable wins over the catalogue's of that name.
	tk, err = salesforce.Over(toolkit.Definition{Variables: map[string]toolkit.VariableDefinition{"instance": {From: toolkit.FromReply, Field: "instance_url", Hosts: []string{"*.my.salesforce.com"}}}}).Toolkit()
	if err != nil || len(tk.Variables["instance"].Hosts) != 1 {
		t.Errorf("%v (%v)", tk.Variables, err)
	}
	if again, _ := toolkit.Builtin("salesforce"); len(again.Variables["instance"].Hosts) != 2 {
		t.Error("the catalogue was changed")
	}
}

func FuzzVariables(f *testing.F) {
	for _, seed := range []string{
		"na1.force.example", "https://NA1.force.example/", "http://na1.force.example", "u:p@na1.force.example", "na1.force.example:8443", `evil.example\.force.example`,
		"evil.example%2f.force.example", "evilforce.example", "na1.force.example.evil.example", "xn--a.force.example", "127.0.0.1", "[::1].force.example", "..", "a/../b",
		"na1.force.example\r\nHost: evil.example", "https://\u212a.force.example", "a。force.example", "{instance}", "api.exact.example.", "%2e%2e",
	} {
		f.Add(seed)
	}
	tk := variedToolkit(f)
	plain := map[string]string{"instance": "na1.force.example", "shop": "shop", "team": "1"}
	f.Fuzz(func(t *testing.T, text string) {
		for name, v := range tk.Variables {
			value, ok := v.Accept(text)
			if again, still := v.Accept(value); ok && (!still || again != value) {
				t.Fatalf("%s: %q becomes %q, which becomes %q", name, text, value, again)
			}
			// What is taken as it is, too: a store may hold anything.
			for _, candidate := range []string{value, text} {
				values := map[string]string{"instance": plain["instance"], "shop": plain["shop"], "team": plain["team"], name: candidate}
				if own, err := tk.For(values); err == nil {
					leadsInside(t, own)
				}
			}
		}
	})
}

// leadsInside holds each address to what was written, as it is and as a client that
// parses it again reads it.
func leadsInside(t *testing.T, own *toolkit.Toolkit) {
	t.Helper()
	for _, path := range []string{"/x", "/~files/x", "/~fixed/x", own.Identity.Path} {
		u, err := own.Target(path, "")
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		again, err := url.Parse(u.String())
		if err != nil || again.Host != u.Host || again.EscapedPath() != u.EscapedPath() {
			t.Fatalf("%s is read as %v (%v)", u, again, err)
		}
		host := u.Host
		inside := strings.HasSuffix(host, ".force.example") || host == "api.exact.example" || strings.HasSuffix(host, ".files.example.com") || host == "fixed.example.com"
		if !inside || u.Scheme != "https" || u.User != nil || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || strings.Contains(host, "..") || host[0] == '.' {
			t.Fatalf("%s is outside", u)
		}
		if host != "fixed.example.com" && strings.Count(u.EscapedPath(), "/") != map[string]int{"/x": 3, "/~files/x": 3, own.Identity.Path: 4}[path] {
			t.Fatalf("%s has another path", u)
		}
	}
}
