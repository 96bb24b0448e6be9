// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

// shops is a provider with a host for each shop, its authorization server too.
func shops() toolkit.Definition {
	const shop = "https://{shop}.shops.example"
	return toolkit.Definition{
		ID: "shops", BaseURL: shop + "/admin/api", Hosts: map[string]string{"app": "https://app.shops.example/store/{shop}/files"},
		Variables: map[string]toolkit.VariableDefinition{"shop": {From: toolkit.FromUser, Ask: "Your shop's name"}},
		Auth:      toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth: toolkit.OAuthDefinition{
			AuthorizeURL: shop + "/oauth/authorize?lang=en", TokenURL: shop + "/oauth/token", RefreshURL: "https://app.shops.example/{shop}/renew", RevokeURL: shop + "/oauth/{client_id}",
			ClientID: "c", CallbackHMAC: "hmac", CallbackClaims: map[string]string{"shop": "{shop}.shops.example"},
		},
		Identity: &toolkit.Identity{Path: "/shops/{shop}", Field: "name"},
	}
}

func made(t testing.TB, d toolkit.Definition) *toolkit.Toolkit {
	t.Helper()
	tk, err := d.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

// asking is shops with one more thing about the question.
func asking(change func(*toolkit.VariableDefinition)) toolkit.Definition {
	d := shops()
	v := d.Variables["shop"]
	change(&v)
	d.Variables["shop"] = v
	return d
}

func TestWhatAUserSaysIsInEveryAddress(t *testing.T) {
	tk := made(t, shops())
	own, err := tk.For(map[string]string{"shop": "acme"})
	if err != nil {
		t.Fatal(err)
	}
	o := own.OAuth
	for got, want := range map[string]string{
		o.AuthorizeURL: "https://acme.shops.example/oauth/authorize?lang=en", o.TokenURL: "https://acme.shops.example/oauth/token",
		o.RefreshURL: "https://app.shops.example/acme/renew", o.RevokeURL: "https://acme.shops.example/oauth/c", o.CallbackClaims["shop"]: "acme.shops.example",
		own.BaseURL.String(): "https://acme.shops.example/admin/api", own.Aliases["app"].String(): "https://app.shops.example/store/acme/files", own.Identity.Path: "/shops/acme",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	// Beforehand its server is known, and the API of nobody yet.
	at, err := tk.At(map[string]string{"shop": "acme"})
	if err != nil || at.OAuth.TokenURL != o.TokenURL || at.BaseURL.Host != "{shop}.shops.example" {
		t.Errorf("%v %v", at, err)
	}
	if issuer, client := tk.GranteeOf(map[string]string{"shop": "acme"}); issuer != o.TokenURL || client != "c" {
		t.Errorf("granted by %s to %s", issuer, client)
	}
	if tk.OAuth.TokenURL != "https://{shop}.shops.example/oauth/token" || tk.OAuth.CallbackClaims["shop"] != "{shop}.shops.example" {
		t.Errorf("the toolkit was changed: %+v", tk.OAuth)
	}
	if place := tk.OAuth.AuthorizePlace(); place.String() != "https://*.shops.example" {
		t.Errorf("users are sent to %s", place)
	}
}

// hostile are what nobody may have put into an address, whoever says it.
var hostile = []string{
	"", ".", "..", "-", "-a", "a-", "a_b", "a.b", "acme.", ".acme", "a..b", "A B", "acme\n", "\tacme", "acme\x00", "acme\r\nHost: evil.example",
	"a/b", "/acme", "acme/", "a?b", "a#b", "a@b", "u:p@acme", "acme:443", `a\b`, `evil.example\`, "a%2eb", "%61cme", "acme%2f..", "evil.example/", "evil.example#", "evil.example?",
	"evil.example", "evil.example/.shops.example", "127.0.0.1", "[::1]", "::1", "localhost.", "xn--80ak6aa92e", "xn--acme", "ünter", "\u212aelvin", "acme\u200b", "ａｃｍｅ", "acme。x", "а",
	"{shop}", "{", "acme;x", "acme,b", "acme&x=1", "acme=1", "acme+b", "acme'", `acme"`, "<acme>", "acme|b", "acme^", "acme~", "acme*", "*", "acme!", "$shop", "(acme)",
	strings.Repeat("a", 64), strings.Repeat("a", 5000),
}

func TestNoHostileValueGetsIntoAnAddress(t *testing.T) {
	tk := made(t, shops())
	for _, value := range hostile {
		values := map[string]string{"shop": value}
		if at, err := tk.At(values); !errors.Is(err, toolkit.ErrVariable) {
			t.Errorf("%q leads to %v (%v)", value, at, err)
		}
		if own, err := tk.For(values); !errors.Is(err, toolkit.ErrVariable) {
			t.Errorf("%q leads to %v (%v)", value, own, err)
		}
		if issuer, _ := tk.GranteeOf(values); !strings.Contains(issuer, "{") {
			t.Errorf("%q has granted something: %s", value, issuer)
		}
	}
	if _, err := tk.At(map[string]string{"shop": "Acme"}); err == nil {
		t.Error("what was not brought into one spelling is used")
	}
}

func TestPeoplePasteAddresses(t *testing.T) {
	tk := made(t, shops())
	for text, want := range map[string]string{
		"acme": "acme", " Acme\n": "acme", "ACME-2": "acme-2", "https://Acme.Shops.example/admin": "acme", "HTTPS://acme.shops.example": "acme", "http://acme.shops.example/": "acme",
		"acme.shops.example": "acme", "acme.shops.example/admin?x=1#y": "acme", "https://acme.shops.example?x": "acme", "https://acme.shops.example#x": "acme",
		"https://app.shops.example/store/acme/files/1": "app", // the first form that it is in
		"https://acme.shops.example.evil.example":      "", "https://evil.example/acme.shops.example": "", "https://evil.example#.shops.example": "", "https://evil.example?.shops.example": "",
		`https://evil.example\.shops.example`: "", "https://evil.example%2f.shops.example": "", "https://u@acme.shops.example": "", "https://acme:p@x.shops.example": "", "https://acme.shops.example:443": "",
		"https://a.b.shops.example": "", "https://.shops.example": "", "https://shops.example": "", "shops.example": "", "https://acme": "", "https://": "", "ftp://acme.shops.example": "",
		"https://https://acme.shops.example": "", "//acme.shops.example": "", "javascript:acme": "", "acme.shops.example.": "", "acme shops": "", "https://acmeshops.example": "",
		"https://\u212a.shops.example": "", "acme\nevil": "", strings.Repeat(" ", 3000) + "acme": "",
	} {
		if value, ok := tk.Hear("shop", text); ok != (want != "") || ok && value != want {
			t.Errorf("%q is heard as %q (%v), want %q", text, value, ok, want)
		}
	}
	for _, text := range hostile {
		if value, ok := tk.Hear("shop", text); ok && value != strings.Trim(strings.ToLower(text), "\n\t ") {
			t.Errorf("%q is heard as %q", text, value)
		}
	}
	if _, ok := tk.Hear("team", "acme"); ok {
		t.Error("there is no such question")
	}
}

func TestASegmentIsHeardInItsPlaceToo(t *testing.T) {
	d := asking(func(v *toolkit.VariableDefinition) { v.Segment, v.Example = toolkit.IDCharacters, "Acme_1" })
	d.BaseURL, d.Hosts, d.Identity = "https://api.shops.example/v2/{shop}", map[string]string{"app": "https://app.shops.example/store/{shop}/files"}, nil
	d.OAuth.AuthorizeURL, d.OAuth.TokenURL, d.OAuth.RevokeURL = "https://app.shops.example/{shop}/authorize", "https://app.shops.example/{shop}/token", ""
	tk := made(t, d)
	for text, want := range map[string]string{
		"Acme_1": "Acme_1", "https://API.shops.example/v2/Acme_1/orders?x": "Acme_1", "https://api.shops.example/v2/Acme_1": "Acme_1", "app.shops.example/store/Acme_1/files": "Acme_1",
		"https://app.shops.example/Acme_1#top": "Acme_1", "https://api.shops.example/v3/Acme_1": "", "https://api.shops.example/v2/": "", "https://api.shops.example/v2": "", "https://api.shops.example/v2/..": "",
		"https://evil.example/v2/Acme_1": "", "https://api.shops.example/v2/a%2fb": "", "a.b": "",
	} {
		if value, ok := tk.Hear("shop", text); ok != (want != "") || ok && value != want {
			t.Errorf("%q is heard as %q (%v), want %q", text, value, ok, want)
		}
	}
}

func TestTheClientsSecretLeavesForTheTemplatesHostsAlone(t *testing.T) {
	d := shops()
	d.OAuth.RevokeURL = "https://Revoke.{shop}"
	if _, err := d.Toolkit(); err == nil {
		t.Error("a variable is the last label")
	}
	d = shops()
	d.OAuth.TokenURL = "https://{shop}.Shops.Example/oauth/token"
	tk := made(t, d)
	for text, want := range map[string]bool{
		"https://acme.shops.example/oauth/token": true, "https://acme.shops.example/oauth/token?code=x": true, "https://app.shops.example/acme/renew": true, "https://acme.shops.example/oauth/c": true,
		"http://acme.shops.example/oauth/token": false, "https://acme.shops.example/oauth/token/": false, "https://acme.shops.example/oauth/other": false, "https://acme.shops.example:8443/oauth/token": false,
		"https://a.b.shops.example/oauth/token": false, "https://shops.example/oauth/token": false, "https://evil.example/oauth/token": false, "https://acme.shops.example.evil.example/oauth/token": false,
		"https://u@acme.shops.example/oauth/token": false, "https://xn--a.shops.example/oauth/token": false, "https://app.shops.example/acme%2f/renew": false, "https://app.shops.example/../renew": false,
		"https://acme.shops.example/oauth/authorize": false, "https://{shop}.shops.example/oauth/token": false, "https://ACME.shops.example/oauth/token": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			u = &url.URL{Scheme: "https", Host: "{shop}.shops.example", Path: "/oauth/token"}
		}
		if tk.MayAsk(u) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	for host, want := range map[string]bool{"acme.shops.example": true, "Acme.Shops.Example": true, "a.b.shops.example": true, "shops.example": false, "evil.example": false} {
		if tk.VariableHost(host) != want {
			t.Errorf("%s is guarded: %v", host, !want)
		}
	}
}

// Where the API is at one address for all, the token endpoint is guarded all the same.
func TestAHostOfTheAuthorizationServerAloneIsGuarded(t *testing.T) {
	d := shops()
	d.BaseURL, d.Hosts, d.Identity = "https://api.shops.example", nil, nil
	if tk := made(t, d); !tk.VariableHost("acme.shops.example") || !tk.HasVariableHost() {
		t.Error("it is not")
	}
}

func TestAPatternIsHeldToAllOfAValue(t *testing.T) {
	tk := made(t, asking(func(v *toolkit.VariableDefinition) {
		v.Pattern, v.Example = `^[a-z][a-z0-9]{2,9}(\.eu|-test)?$`, "acme.eu.shops.example"
	}))
	for text, want := range map[string]string{
		"Acme": "acme", "acme.eu": "acme.eu", "https://acme.eu.shops.example/admin": "acme.eu", "acme-test": "acme-test",
		"1acme": "", "ac": "", "acme.us": "", "acme.": "", "acme.eu.": "", "xacme-prod": "", "acme.eu.evil": "", "acme\n": "acme",
	} {
		if value, ok := tk.Hear("shop", text); ok != (want != "") || ok && value != want {
			t.Errorf("%q is heard as %q (%v), want %q", text, value, ok, want)
		}
	}
	// What a pattern admits is a host's name all the same.
	tk = made(t, asking(func(v *toolkit.VariableDefinition) { v.Pattern = `^[a-zA-Z0-9._-]*$` }))
	for _, value := range append(hostile, "acme..eu", "acme_eu", "a.xn--b", "a.-b", "a-.b", strings.Repeat("a.", 127)+"a") {
		if value == "a.b" || value == "evil.example" || value == "127.0.0.1" {
			continue // labels, as the pattern has it
		}
		if at, err := tk.At(map[string]string{"shop": value}); err == nil {
			t.Errorf("%q leads to %s", value, at.OAuth.TokenURL)
		}
	}
}

func TestPatternsThatAdmitTooMuchAreRefused(t *testing.T) {
	for pattern, want := range map[string]string{
		`[a-z]+`: "begin with ^", `^[a-z]+`: "begin with ^", `[a-z]+$`: "begin with ^", `^a|b$`: "begin with ^", `^a$|^b$`: "begin with ^", `(?m)^[a-z]+$`: "begin with ^", `^`: "begin with ^", `^|$`: "begin with ^", `(^[a-z]+$)`: "begin with ^", `^*[a-z]$*`: "begin with ^",
		`^.+$`: "every character", `^(?s).+$`: "every character", `^[^/]+$`: "not a to z", `^[^a]$`: "not a to z", `^\S+$`: "not a to z", `^\D$`: "not a to z", `^\w+ ?$`: "admits ' '", `^\s$`: "admits '\\t'",
		`^[a-z/]+$`: "admits '/'", `^[!-~]+$`: "admits '!'", `^[a-z:]+$`: "admits ':'", `^[a-z@]+$`: "admits '@'", `^[a-z?]$`: "admits '?'", `^a?#$`: "admits '#'", `^[a-z\\]+$`: "admits '\\\\'",
		`^[a-z%]+$`: "admits '%'", `^(?i)k$`: "not a to z", `^(?i)[a-z]+$`: "not a to z", `^[а-я]+$`: "not a to z", `^[+-9]$`: "admits '+'", `^(a|b\n)$`: "admits '\\n'", `^[a-`: "no regular expression", `^\pL+$`: "not a to z",
		`^a(b(c(/)?)?)?$`: "admits '/'", `^(?:a{1,3}|[[:punct:]])$`: "admits '!'",
		`^[^\x00-\x{10FFFF}]$`: "admits nothing",
	} {
		_, err := asking(func(v *toolkit.VariableDefinition) { v.Pattern = pattern }).Toolkit()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", pattern, err, want)
		}
	}
	for _, pattern := range []string{`^[a-z0-9][a-z0-9-]*$`, `^(your-)?[a-z]+$`, `^[a-z]+\.[a-z-]+$`, `^[\w-]+$`, `^(?:[a-z-]+)$`} {
		if _, err := asking(func(v *toolkit.VariableDefinition) { v.Pattern, v.Example = pattern, "" }).Toolkit(); err != nil && !strings.Contains(err.Error(), "give with example") {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

func TestQuestionsThatAreRefused(t *testing.T) {
	variable := func(change func(*toolkit.VariableDefinition)) func(*toolkit.Definition) {
		return func(d *toolkit.Definition) { d.Variables = asking(change).Variables }
	}
	for _, c := range []struct {
		want   string
		change func(*toolkit.Definition)
	}{
		{"what the page calls it", variable(func(v *toolkit.VariableDefinition) { v.Ask = "" })},
		{"what the page calls it", variable(func(v *toolkit.VariableDefinition) { v.Ask = strings.Repeat("a", 81) })},
		{"what the page calls it", variable(func(v *toolkit.VariableDefinition) { v.Ask = "Shop\n" })},
		{"printable texts", variable(func(v *toolkit.VariableDefinition) { v.Help = "\x1b[31m" })},
		{"help_url", variable(func(v *toolkit.VariableDefinition) { v.HelpURL = "javascript:alert(1)" })},
		{"users never say a whole host", variable(func(v *toolkit.VariableDefinition) { v.Hosts = []string{"*.shops.example"} })},
		{"no field and no lookup", variable(func(v *toolkit.VariableDefinition) { v.Field = "shop" })},
		{"say one of host, label and segment", variable(func(v *toolkit.VariableDefinition) { v.Label, v.Segment = true, toolkit.Digits })},
		{`"your-shop" is not what users may enter`, func(d *toolkit.Definition) {
			*d = asking(func(v *toolkit.VariableDefinition) { v.Segment = toolkit.Digits })
			d.BaseURL, d.OAuth.AuthorizeURL, d.OAuth.TokenURL, d.OAuth.RevokeURL = "https://a.example/{shop}", "https://a.example/{shop}/a", "https://a.example/{shop}/t", ""
		}},
		{"is not what users may enter", variable(func(v *toolkit.VariableDefinition) { v.Example = "https://elsewhere.example" })},
		{"are for what users are asked", func(d *toolkit.Definition) {
			d.Variables["more"] = toolkit.VariableDefinition{From: toolkit.FromReply, Field: "x", Label: true, Pattern: "^a$"}
		}},
		{"behind the variable, a name with at least two labels", func(d *toolkit.Definition) { d.OAuth.TokenURL = "https://{shop}.example/t" }},
		{"below co.uk everybody can have a name", func(d *toolkit.Definition) { d.OAuth.TokenURL = "https://{shop}.co.uk/t" }},
		{"below co.uk everybody can have a name", func(d *toolkit.Definition) { d.BaseURL = "https://{shop}.co.uk/t" }},
		{"a label of the host and never all of it", func(d *toolkit.Definition) { d.OAuth.TokenURL = "https://{shop}/t" }},
		{"begins with https://", func(d *toolkit.Definition) { d.OAuth.TokenURL = "http://{shop}.shops.example/t" }},
		{"stands before its first dot", func(d *toolkit.Definition) { d.OAuth.AuthorizeURL = "https://login.{shop}.shops.example/" }},
		{"at least two labels and no port", func(d *toolkit.Definition) { d.OAuth.TokenURL = "https://{shop}.shops.example:8443/t" }},
		{"at least two labels and no port", func(d *toolkit.Definition) { d.OAuth.TokenURL = "https://{shop}x.shops.example/t" }},
		{"a whole segment", func(d *toolkit.Definition) { d.OAuth.RefreshURL = "https://app.shops.example/x{shop}" }},
		{"does not stand in the query", func(d *toolkit.Definition) { d.OAuth.AuthorizeURL = "https://app.shops.example/a?shop={shop}" }},
		{`there is no variable "tenant"`, func(d *toolkit.Definition) { d.OAuth.RevokeURL = "https://{tenant}.shops.example/" }},
		{`there is no variable "tenant"`, func(d *toolkit.Definition) { d.OAuth.Issuer = "https://{tenant}.shops.example/" }},
		{"issuer names one server", func(d *toolkit.Definition) { d.OAuth.Issuer = "https://shops.example" }},
		{"only what users are asked", func(d *toolkit.Definition) {
			d.Variables["region"] = toolkit.VariableDefinition{From: toolkit.FromReply, Field: "region", Label: true}
			d.OAuth.TokenURL = "https://{region}.shops.example/t"
		}},
		{"callback_claim shop", func(d *toolkit.Definition) { d.OAuth.CallbackClaims["shop"] = "{region}.shops.example" }},
		{"callback_claim shop", func(d *toolkit.Definition) { d.OAuth.CallbackClaims["shop"] = "" }},
		{"a parameter of the provider's own", func(d *toolkit.Definition) { d.OAuth.CallbackClaims["state"] = "x" }},
		{"a parameter of the provider's own", func(d *toolkit.Definition) { d.OAuth.CallbackHMAC = "code" }},
		{"not the one of callback_hmac", func(d *toolkit.Definition) { d.OAuth.CallbackClaims["hmac"] = "x" }},
		{"auth_style none", func(d *toolkit.Definition) { d.OAuth.AuthStyle = toolkit.StyleNone }},
		{"those from asked also for keys", func(d *toolkit.Definition) { d.Auth, d.Identity = toolkit.AuthDefinition{Kind: toolkit.APIKey}, nil }},
		{"stands in no address", func(d *toolkit.Definition) {
			d.BaseURL, d.Hosts, d.Identity, d.OAuth = "https://a.example", nil, nil, toolkit.OAuthDefinition{AuthorizeURL: "https://a.example/a", TokenURL: "https://a.example/t"}
		}},
	} {
		d := shops()
		c.change(&d)
		if _, err := d.Toolkit(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestAnExampleIsMadeOfTheAddress(t *testing.T) {
	tk := made(t, shops())
	if q := tk.Variables["shop"].Ask; q.Example != "your-shop.shops.example" || q.Label != "Your shop's name" {
		t.Errorf("%+v", q)
	}
	if value, ok := tk.Hear("shop", tk.Variables["shop"].Ask.Example); !ok || value != "your-shop" {
		t.Errorf("who enters it gets %q", value)
	}
}

func TestAKeyOfAUsersOwnHasItsAddressToo(t *testing.T) {
	d := shops()
	d.Auth, d.OAuth = toolkit.AuthDefinition{Kind: toolkit.APIKey, PerUser: true}, toolkit.OAuthDefinition{}
	own, err := made(t, d).For(map[string]string{"shop": "acme"})
	if err != nil || own.BaseURL.Host != "acme.shops.example" || own.OAuth != nil {
		t.Errorf("%v (%v)", own, err)
	}
}

func FuzzWhatUsersSay(f *testing.F) {
	for _, seed := range append(hostile, "https://Acme.Shops.example/admin", "acme.eu.shops.example", "https://app.shops.example/store/acme/files", "https://u:p@acme.shops.example:443/x?y#z") {
		f.Add(seed)
	}
	plain := made(f, shops())
	dotted := made(f, asking(func(v *toolkit.VariableDefinition) { v.Pattern = `^[a-zA-Z0-9._-]+$` }))
	f.Fuzz(func(t *testing.T, text string) {
		for _, tk := range []*toolkit.Toolkit{plain, dotted} {
			value, ok := tk.Hear("shop", text)
			if !ok {
				continue
			}
			if again, still := tk.Variables["shop"].Accept(value); !still || again != value {
				t.Fatalf("%q is heard as %q, which becomes %q", text, value, again)
			}
			own, err := tk.For(map[string]string{"shop": value})
			if err != nil {
				t.Fatalf("%q is heard as %q, which is not taken: %v", text, value, err)
			}
			for _, address := range []string{own.OAuth.AuthorizeURL, own.OAuth.TokenURL, own.OAuth.RefreshURL, own.OAuth.RevokeURL, own.BaseURL.String()} {
				u, err := url.Parse(address)
				if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" || !strings.HasSuffix(u.Host, ".shops.example") || strings.Trim(u.Host, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || strings.Contains(u.Host, "..") {
					t.Fatalf("%q leads to %s (%v)", text, address, err)
				}
			}
			for _, address := range []string{own.OAuth.TokenURL, own.OAuth.RefreshURL, own.OAuth.RevokeURL} {
				if u, _ := url.Parse(address); !tk.MayAsk(u) {
					t.Fatalf("%q leads to %s, where nobody may ask", text, address)
				}
			}
		}
	})
}
