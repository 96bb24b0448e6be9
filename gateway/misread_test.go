// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// To net/url there is a host of somebody else's behind the space; to clients that is a
// relative path, which climbs out of the toolkit.
func TestAnAddressBehindOddWhiteSpaceLeadsNowhere(t *testing.T) {
	r := paging(t)
	for _, given := range []string{
		"\u00a0https://evil.test/../../../../slack/take-over",
		"\u0085https://evil.test/../../../../slack/take-over",
		"\u3000mailto:x/../../slack/take-over",
	} {
		if got := r.address(given); got != nowhere {
			t.Errorf("%q is passed on as %q", given, got)
		}
	}
}

func TestAnAddressThatClientsEndAtACommaOrSemicolonLeadsNowhere(t *testing.T) {
	r := paging(t)
	for _, given := range []string{"https://gw.test;.evil.test/", "https://gw.test,.evil.test/", "https://gw.test;x@evil.test/"} {
		if got := r.address(given); got != nowhere {
			t.Errorf("%q is passed on as %q", given, got)
		}
	}
}

// Some clients follow the first of several, some the last, and some join them.
func TestSeveralLocationsLeadNowhere(t *testing.T) {
	for _, name := range []string{"Location", "Content-Location"} {
		h := http.Header{name: {"http://evil.test", "mailto:@gw.test/slack/take-over"}}
		paging(t).header(h)
		if !slices.Equal(h[name], []string{nowhere}) {
			t.Errorf("%s became %q", name, h[name])
		}
	}
}

func TestALinkThatClientsFindWhereThereIsNoneIsNotPassedOn(t *testing.T) {
	const next = `<https://gw.test/github/x>; title="`
	for given, want := range map[string][]string{
		`<https://gw.test/slack/take-over; rel="next"`:                          nil,
		`https://gw.test/slack/take-over; rel="next"`:                           nil,
		`</x>; title="<https://gw.test/slack/take-over; rel=next; "`:            nil,
		`</x>; title=", https://gw.test/slack/take-over; rel=next; "`:           nil,
		`</x>; title=", https:\\gw.test\slack\take-over; rel=next; "`:           nil,
		`</x>; title=", <https://gw.test/slack/take-over>; rel=next; "`:         {next + `, <about:blank>; rel=next; "`},
		`</x>; title="<https://gw.test/slack/take-over>; rel="next"`:            {next + `<about:blank>; rel="next"`},
		`</x>; title="a <b>"; rel=next`:                                         {next + `a <https://gw.test/github/user/b>"; rel=next`},
		`<https://evil.test/<https://gw.test/slack/take-over>; rel="next"`:      {`<about:blank>; rel="next"`},
		`<https://evil.test/";rel="next">; rel="last", <https://gw.test/slack>`: {`<about:blank>; rel="last", <about:blank>`},
		"<\u00a0https://evil.test/../../../../slack/take-over>; rel=next":       {`<about:blank>; rel=next`},
		`</a,https://gw.test/slack/take-over?>; rel=next`:                       {`<https://gw.test/github/a%2Chttps://gw.test/slack/take-over?>; rel=next`},
		`</a?fields=b,c>; rel=next`:                                             {`<https://gw.test/github/a?fields=b,c>; rel=next`},
		"no brackets":                                                           nil,
	} {
		h := http.Header{"Link": {given}}
		paging(t).header(h)
		if !slices.Equal(h["Link"], want) {
			t.Errorf("%s became\n%q; want\n%q", given, h["Link"], want)
		}
	}
	h := http.Header{"Link": {"no brackets", "</x>; rel=next"}}
	if paging(t).header(h); !slices.Equal(h["Link"], []string{"<https://gw.test/github/x>; rel=next"}) {
		t.Errorf("what is a link became %q", h["Link"])
	}
}

func TestTheGatewaysNumberInAnotherSpellingLeadsNowhere(t *testing.T) {
	for given, here := range map[string]string{
		"http://[::ffff:10.1.2.3]:8080/slack/take-over":       "http://10.1.2.3:8080/github",
		"http://[::ffff:a01:203]:8081/slack/take-over":        "http://10.1.2.3:8081/github",
		"http://10.1.2.3/slack/take-over":                     "http://[::ffff:10.1.2.3]/github",
		"http://[2001:0db8:0:0::1]:8080/slack/take-over":      "http://[2001:db8::1]:8080/github",
		"http://[FD00:0::1]:8080/slack/take-over":             "http://[fd00::1]:8080/github",
		"http://[::ffff:127.0.0.1]:8080/slack/take-over":      "http://localhost:8080/github",
		"http://[0:0:0:0:0:ffff:7f00:1]:8080/slack/take-over": "http://127.0.0.1:8080/github",
	} {
		r := paging(t)
		r.here = here
		if got := r.address(given); got != nowhere {
			t.Errorf("here is %s: %s is passed on as %s", here, given, got)
		}
	}
}

// Who chose the toolkit by X-Toolkit may follow an address without it, and then the path
// chooses.
func TestAPathThatChoosesAnotherToolkitLeadsNowhere(t *testing.T) {
	x := &exchange{
		in: httptest.NewRequest("GET", "http://gw.test/user", nil), toolkit: paging(t).toolkit, own: paging(t).toolkit, target: paging(t).target,
		toolkits: map[string]Endpoint{"github": {}, "slack": {}},
	}
	for given, want := range map[string]string{
		"/slack/take-over": nowhere, "/slack": nowhere, "/sl%61ck/take-over": nowhere, "//api.github.test//slack/take-over": nowhere,
		"/github/x": "http://gw.test/github/x", "/repos": "http://gw.test/repos", "/repos/slack": "http://gw.test/repos/slack",
	} {
		if got := x.rewriter().address(given); got != want {
			t.Errorf("%s became %s; want %s", given, got, want)
		}
	}
	x.mount.Toolkit = "github" // and so does every call to this site
	if got := x.rewriter().address("/slack/x"); got != "http://gw.test/slack/x" {
		t.Errorf("on a site for one toolkit: %s", got)
	}
}
