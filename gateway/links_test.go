// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

func paging(t testing.TB) rewriter {
	t.Helper()
	parse := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	tk := &toolkit.Toolkit{ID: "github", BaseURL: parse("https://api.github.test"), Aliases: map[string]*url.URL{"uploads": parse("https://uploads.github.test")}}
	return rewriter{toolkit: tk, target: parse("https://api.github.test/user/repos?page=1"), here: "https://gw.test/github", mount: Mount{Hosts: []string{"*.hosts.test"}}}
}

func TestAddressesOfTheToolkitBecomeTheGateways(t *testing.T) {
	r := paging(t)
	for given, want := range map[string]string{
		"https://api.github.test/user/repos?page=2": "https://gw.test/github/user/repos?page=2",
		"http://api.github.test/x":                  "https://gw.test/github/x",
		"//api.github.test/x":                       "https://gw.test/github/x",
		"/user/repos?page=2":                        "https://gw.test/github/user/repos?page=2",
		"/~uploads/x":                               "https://api.github.test/~uploads/x", // not what is meant here by that
		"orgs":                                      "https://gw.test/github/user/orgs",
		"?page=3":                                   "https://gw.test/github/user/repos?page=3",
		"https://api.github.test/a%2Fb?q=%2f#part":        "https://gw.test/github/a%2Fb?q=%2f#part",
		"https://uploads.github.test/assets":              "https://gw.test/github/~uploads/assets",
		"https://codeload.github.test/x.zip?token=signed": "https://codeload.github.test/x.zip?token=signed",
		"https://api.github.test.evil.test/x":             "https://api.github.test.evil.test/x",
		"https://api.github.test@evil.test/x":             "https://api.github.test@evil.test/x",
		"mailto:a@b.test":                                 "mailto:a@b.test",
		"://":                                             "about:blank",
		"https://api.github.test:8443/x":                  "https://api.github.test:8443/x",
		"https://gw.test/slack/take-over":                 "about:blank",
		"//gw.test/slack/take-over":                       "about:blank",
		"http://GW.test:8080/slack/take-over":             "about:blank",
		// What browsers and their like take for https://gw.test/slack/take-over.
		"https:///gw.test/slack/take-over":               "about:blank",
		"https:gw.test/slack/take-over":                  "about:blank",
		"https:/gw.test/slack/take-over":                 "about:blank",
		`https:\\gw.test\slack\take-over`:                "about:blank",
		`https://gw.test\@api.github.test/`:              "about:blank",
		"///gw.test/slack/take-over":                     "about:blank",
		`/\gw.test/slack/take-over`:                      "about:blank",
		"https://gw%2Etest/slack/take-over":              "about:blank",
		"https://gw\u3002test/slack/take-over":           "about:blank",
		"https://gw.test./slack/take-over":               "about:blank",
		"ht\ttps://gw.test/slack/take-over":              "about:blank",
		"/x%zz/../../slack/take-over":                    "about:blank",
		"https://api.github.test/%2e%2e/slack/take-over": "about:blank",
		"https://api.github.test/.%2E/slack/take-over":   "about:blank",
		"https://slack.hosts.test/take-over":             "about:blank", // another site of the same gateway
		"https://2130706433/slack/take-over":             "about:blank",
		"https://0x7f.1/slack/take-over":                 "about:blank",
		"https://127.0.0.1/elsewhere":                    "https://127.0.0.1/elsewhere",
		"https://[2001:db8::1]/elsewhere":                "https://[2001:db8::1]/elsewhere",
		"https://api.github.test/../../slack/harmless":   "https://gw.test/github/slack/harmless",
	} {
		if got := r.address(given); got != want {
			t.Errorf("%s became %s; want %s", given, got, want)
		}
	}
}

// Left relative, an address of the provider's outside of the toolkit would be one of
// the gateway's, and so may be another toolkit.
func TestRelativeAddressesOutsideOfTheToolkitAreTheProviders(t *testing.T) {
	r := paging(t)
	base := *r.toolkit.BaseURL
	base.Path = "/v2"
	r.toolkit.BaseURL, r.target = &base, base.JoinPath("user")
	for given, want := range map[string]string{
		"/v2/repos":         "https://gw.test/github/repos",
		"repos":             "https://gw.test/github/repos",
		"/slack/take-over":  "https://api.github.test/slack/take-over",
		"../slack?a=b#c":    "https://api.github.test/slack?a=b#c",
		"//other.test/path": "https://other.test/path",
		"/v20":              "https://api.github.test/v20",
	} {
		if got := r.address(given); got != want {
			t.Errorf("%s became %s; want %s", given, got, want)
		}
	}
}

func TestLinkHeadersKeepAllButTheirTargets(t *testing.T) {
	r := paging(t)
	for given, want := range map[string]string{
		`<https://api.github.test/user/repos?page=2>; rel="next", <https://api.github.test/user/repos?page=9>; rel="last"`: `<https://gw.test/github/user/repos?page=2>; rel="next", <https://gw.test/github/user/repos?page=9>; rel="last"`,
		`<https://other.test/x>; rel=help`: `<https://other.test/x>; rel=help`,
		`</x>; title="a, b"; rel=next`:     `<https://gw.test/github/x>; title="a, b"; rel=next`,
		``:                                 ``,
		`<>; rel=self`:                     `<https://gw.test/github/user/repos?page=1>; rel=self`,
		`<https://api.github.test/a>,<https://api.github.test/b>;x=y`: `<https://gw.test/github/a>,<https://gw.test/github/b>;x=y`,
	} {
		if got := r.links(given); got != want {
			t.Errorf("%s became\n%s; want\n%s", given, got, want)
		}
	}
}

func TestTheProvidersHeaderIsNotChanged(t *testing.T) {
	values := []string{"https://api.github.test/x"}
	h := http.Header{"Location": values}
	paging(t).header(h)
	if values[0] != "https://api.github.test/x" || h.Get("Location") != "https://gw.test/github/x" {
		t.Errorf("%v, %v", values, h)
	}
}

// The address that comes back is one by which the same client reaches the toolkit.
func TestAddressesAreGivenInTheWayThatTheToolkitWasNamed(t *testing.T) {
	for name, c := range map[string]struct {
		mount  Mount
		cut    string
		host   string
		tls    bool
		wanted string
	}{
		"by path":                        {cut: "github", host: "gw.test", tls: true, wanted: "https://gw.test/github"},
		"by path, with an account":       {cut: "github%40work", host: "gw.test", tls: true, wanted: "https://gw.test/github%40work"},
		"by header":                      {host: "gw.test:8080", wanted: "http://gw.test:8080"},
		"by host":                        {mount: Mount{Hosts: []string{"*.gw.test"}}, host: "github.gw.test", tls: true, wanted: "https://github.gw.test"},
		"on a site of its own":           {mount: Mount{Toolkit: "github"}, host: "gw.test", wanted: "http://gw.test"},
		"by path below a prefix":         {mount: Mount{Prefix: "/tools"}, cut: "github", host: "gw.test", wanted: "http://gw.test/tools/github"},
		"behind a proxy that ends TLS":   {mount: Mount{URL: "https://public.test/gw/"}, cut: "github", host: "internal:8080", wanted: "https://public.test/gw/github"},
		"behind a proxy, without prefix": {mount: Mount{URL: "https://public.test"}, host: "internal:8080", wanted: "https://public.test"},
	} {
		t.Run(name, func(t *testing.T) {
			in := httptest.NewRequest("GET", "http://"+c.host+"/", nil)
			if c.tls {
				in = httptest.NewRequest("GET", "https://"+c.host+"/", nil)
			}
			x := &exchange{in: in, mount: c.mount, cut: c.cut, toolkit: paging(t).toolkit}
			if got := x.here(); got != c.wanted {
				t.Errorf("got %s, want %s", got, c.wanted)
			}
		})
	}
}

// Whatever a provider sends: a client that finds links as the careless do, and reads
// addresses as browsers do, finds none that leads to another toolkit of the gateway. Where
// a value is passed on, what is not a target stays byte for byte.
func FuzzLinks(f *testing.F) {
	for _, seed := range []string{
		`<https://api.github.test/x>; rel="next"`, `</x>;t="<",<y>`, `<<>>`, `"<a>`, `<//api.github.test/a%2Fb?c=<d>>`,
		`<https://gw.test/openai/v1>, <HTTP://GW.TEST:80/x>`, `< https://api.github.test:443/x >; title="a \"<b>"`, `<https://api.github.test@evil/>`,
		`<https:///gw.test/slack>`, `<https:\\gw.test\slack>`, `<https://gw.test\@api.github.test/>`, `<https://gw%2etest/slack>`, `<https:gw.test/slack>`,
		`<https://api.github.test/%2e%2E/slack>`, `</a%zz/../../slack>`, `<https://gw.test./slack>`, `<http://..>`,
		`<https://gw.test/slack; rel="next"`, `https://gw.test/slack; rel="next"`, `</x>; title=", <https://gw.test/slack>; rel=next; "`,
		`</x>; title=",https://gw.test/slack; "`, `<https://evil.test/<https://gw.test/slack>; rel="next"`, `<https://gw.test;.evil.test/>`, `</a,/slack>`, `<,> ../../slack`, "<\u00a0https://e.test/../../../slack>",
		`<a>e.test/../../../slack; rel="next"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r := paging(t)
		got := r.links(value)
		for _, found := range asCarelessClientsDo(got) {
			if host, path := asBrowsersDo(found); host == "gw.test" && path != "/" && path != "/github" && !strings.HasPrefix(path, "/github/") {
				t.Fatalf("%q became %q, and %q leads to %s of the gateway", value, got, found, path)
			}
		}
		if before, after := inBrackets.ReplaceAllString(value, "<>"), inBrackets.ReplaceAllString(got, "<>"); got != "" && before != after {
			t.Fatalf("%q became %q", value, got)
		}
	})
}

// inBrackets is what we take for a link's address.
var inBrackets = regexp.MustCompile(`<[^>]*>`)

// asCarelessClientsDo finds the links of a Link header as well-known clients do.
func asCarelessClientsDo(value string) (found []string) {
	for _, m := range regexp.MustCompile(`<([^<>]+)>`).FindAllStringSubmatch(value, -1) { // octokit
		found = append(found, m[1])
	}
	for _, m := range regexp.MustCompile(`<([^>]*)>`).FindAllStringSubmatch(value, -1) {
		found = append(found, m[1])
	}
	for _, split := range []string{`, *<`, `,\s*<`, `,`} { // Python's requests, parse-link-header, many by hand
		for _, link := range regexp.MustCompile(split).Split(value, -1) {
			address, _, isLink := strings.Cut(link, ";")
			if found = append(found, strings.Trim(link, "<> '\"")); isLink {
				found = append(found, strings.Trim(address, "<> '\""))
			}
		}
	}
	return found
}

// asBrowsersDo is where an address leads that is found on a page of the gateway's, by
// the rules of url.spec.whatwg.org that matter here.
func asBrowsersDo(text string) (host, path string) {
	text = strings.TrimFunc(text, func(c rune) bool { return c <= ' ' })
	text = strings.NewReplacer("\t", "", "\n", "", "\r", "", "\\", "/").Replace(text)
	text, _, _ = strings.Cut(text, "#")
	text, _, _ = strings.Cut(text, "?")
	scheme, rest, found := strings.Cut(text, ":")
	switch scheme = strings.ToLower(scheme); {
	case found && scheme == "http", found && scheme == "https" && strings.HasPrefix(rest, "//"):
		text = "//" + strings.TrimLeft(rest, "/")
	case found && scheme == "https": // the page's own: relative to it
		text = rest
	case found && !strings.Contains(scheme, "/"):
		return "", ""
	}
	host = "gw.test"
	if strings.HasPrefix(text, "//") {
		host, text, _ = strings.Cut(strings.TrimLeft(text, "/"), "/")
		host = host[strings.LastIndexByte(host, '@')+1:]
		host, _, _ = strings.Cut(host, ":")
		if plain, err := url.PathUnescape(host); err == nil {
			host = plain
		}
		host = strings.TrimSuffix(strings.ToLower(host), ".")
		text = "/" + text
	}
	if !strings.HasPrefix(text, "/") {
		text = "/github/user/" + text
	}
	segments := strings.Split(text, "/")[1:]
	var kept []string
	for _, segment := range segments {
		switch plain := strings.ReplaceAll(strings.ToLower(segment), "%2e", "."); plain {
		case ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	return host, "/" + strings.Join(kept, "/")
}
