// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
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
	return rewriter{toolkit: tk, target: parse("https://api.github.test/user/repos?page=1"), here: "https://gw.test/github"}
}

func TestAddressesOfTheToolkitBecomeTheGateways(t *testing.T) {
	r := paging(t)
	for given, want := range map[string]string{
		"https://api.github.test/user/repos?page=2":       "https://gw.test/github/user/repos?page=2",
		"http://api.github.test/x":                        "https://gw.test/github/x",
		"//api.github.test/x":                             "https://gw.test/github/x",
		"/user/repos?page=2":                              "https://gw.test/github/user/repos?page=2",
		"orgs":                                            "https://gw.test/github/user/orgs",
		"?page=3":                                         "https://gw.test/github/user/repos?page=3",
		"https://api.github.test/a%2Fb?q=%2f#part":        "https://gw.test/github/a%2Fb?q=%2f#part",
		"https://uploads.github.test/assets":              "https://gw.test/github/~uploads/assets",
		"https://codeload.github.test/x.zip?token=signed": "https://codeload.github.test/x.zip?token=signed",
		"https://api.github.test.evil.test/x":             "https://api.github.test.evil.test/x",
		"https://api.github.test@evil.test/x":             "https://api.github.test@evil.test/x",
		"mailto:a@b.test":                                 "mailto:a@b.test",
		"://":                                             "://",
		"https://api.github.test:8443/x":                  "https://api.github.test:8443/x",
		"https://gw.test/slack/take-over":                 "about:blank",
		"//gw.test/slack/take-over":                       "about:blank",
		"http://GW.test:8080/slack/take-over":             "about:blank",
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
		`<https://other.test/x>; rel=help`:       `<https://other.test/x>; rel=help`,
		`</x>; title="a <b>, \"<c>\""; rel=next`: `<https://gw.test/github/x>; title="a <b>, \"<c>\""; rel=next`,
		`<https://api.github.test/x`:             `<https://api.github.test/x`,
		``:                                       ``,
		`no brackets`:                            `no brackets`,
		`<>; rel=self`:                           `<https://gw.test/github/user/repos?page=1>; rel=self`,
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
		cut    bool
		host   string
		tls    bool
		wanted string
	}{
		"by path":                        {cut: true, host: "gw.test", tls: true, wanted: "https://gw.test/github"},
		"by header":                      {host: "gw.test:8080", wanted: "http://gw.test:8080"},
		"by host":                        {mount: Mount{Hosts: []string{"*.gw.test"}}, host: "github.gw.test", tls: true, wanted: "https://github.gw.test"},
		"on a site of its own":           {mount: Mount{Toolkit: "github"}, host: "gw.test", wanted: "http://gw.test"},
		"by path below a prefix":         {mount: Mount{Prefix: "/tools"}, cut: true, host: "gw.test", wanted: "http://gw.test/tools/github"},
		"behind a proxy that ends TLS":   {mount: Mount{URL: "https://public.test/gw/"}, cut: true, host: "internal:8080", wanted: "https://public.test/gw/github"},
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

func FuzzLinks(f *testing.F) {
	for _, seed := range []string{`<https://api.github.test/x>; rel="next"`, `</x>;t="<",<y>`, `<<>>`, `"<a>`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r := paging(t)
		got := r.links(value)
		if !strings.Contains(value, "<") && got != value {
			t.Fatalf("%q became %q", value, got)
		}
		// Once rewritten, addresses are the gateway's and stay as they are.
		for _, target := range targets(got) {
			if u, err := r.target.Parse(strings.TrimSpace(target)); err == nil {
				if _, ours := r.toolkit.Local(u); ours && !slices.Contains(targets(value), target) {
					t.Fatalf("%q: %q is still the provider's", value, target)
				}
			}
		}
	})
}

func targets(value string) []string {
	var all []string
	for {
		_, rest, found := cutTarget(value)
		if !found {
			return all
		}
		address, after, closed := strings.Cut(rest, ">")
		if !closed {
			return all
		}
		all = append(all, address)
		value = after
	}
}
