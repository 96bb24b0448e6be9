// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/toolkit"
)

func downloading(t testing.TB, base string, patterns ...string) *toolkit.Toolkit {
	t.Helper()
	tk, err := toolkit.Definition{ID: "files", BaseURL: base, RedirectHosts: patterns, Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}}.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

func address(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestRedirectsLeadToTheNamedHostsAlone(t *testing.T) {
	tk := downloading(t, "https://api.example.com", "CodeLoad.example.com", "*.content.example.com", "minio.example.com:9000")
	for _, text := range []string{
		"https://codeload.example.com/x?sig=1", "https://CODELOAD.example.com/x", "https://codeload.example.com:443/x",
		"https://a.content.example.com/", "https://a.b.content.example.com/", "https://my_bucket.content.example.com/", "https://minio.example.com:9000/x",
	} {
		if !tk.MayRedirectTo(address(t, text)) || !tk.RedirectHost(address(t, text).Hostname()) {
			t.Errorf("%s is refused", text)
		}
	}
	for text, why := range map[string]string{
		"https://evil.example/x":                                        "another host",
		"https://content.example.com/x":                                 "the suffix itself",
		"https://evilcontent.example.com/x":                             "no dot before the suffix",
		"https://.content.example.com/x":                                "an empty label",
		"https://a..content.example.com/x":                              "an empty label",
		"https://codeload.example.com.evil.example/x":                   "a longer name",
		"https://codeload.example.com./x":                               "another spelling",
		"https://a.codeload.example.com/x":                              "below an exact name",
		"http://codeload.example.com/x":                                 "in the clear",
		"ftp://codeload.example.com/x":                                  "another scheme",
		"//codeload.example.com/x":                                      "no scheme",
		"https:codeload.example.com":                                    "opaque",
		"https://user@codeload.example.com/x":                           "userinfo",
		"https://codeload.example.com@evil.example/x":                   "userinfo that looks like a host",
		"https://codeload.example.com:8443/x":                           "another port",
		"https://minio.example.com/x":                                   "not the port that is written",
		"https://127.0.0.1/x":                                           "an IP literal",
		"https://[::1]/x":                                               "an IP literal",
		"https://2130706433/x":                                          "an IP literal in decimal",
		"https://0x7f.1/x":                                              "an IP literal in hex",
		"https://evil%2f.content.example.com/x":                         "a slash in a name",
		"https://evil.example%ef%bc%8f.content.example.com/x":           "what becomes a slash",
		"https://codeload.example.com%20/x":                             "a space in a name",
		"https://" + strings.Repeat("a", 64) + ".content.example.com/x": "a label that is too long",
	} {
		u, err := url.Parse(text)
		if err == nil && tk.MayRedirectTo(u) {
			t.Errorf("%s is allowed: %s", text, why)
		}
	}
}

func TestHTTPIsFollowedOnlyWhereTheToolkitIsHTTPItself(t *testing.T) {
	tk := downloading(t, "http://127.0.0.1:8080", "downloads.example.com")
	for _, text := range []string{"http://downloads.example.com/x", "https://downloads.example.com/x"} {
		if !tk.MayRedirectTo(address(t, text)) {
			t.Errorf("%s is refused", text)
		}
	}
}

func TestWithoutPatternsNoRedirectIsFollowed(t *testing.T) {
	tk := downloading(t, "https://api.example.com")
	if u := address(t, "https://api.example.com/x"); tk.MayRedirectTo(u) || tk.RedirectHost(u.Host) {
		t.Error("it is followed")
	}
}

func TestRedirectHostsThatAreRefused(t *testing.T) {
	for _, pattern := range []string{
		"", "*", "*.", "*.com", "**.example.com", "a.*.example.com", "*example.com", "10.0.0.7", "*.0.0.7", "[::1]", "::1", "0x7f000001",
		"https://x.example", "x.example/y", "x.example:", "x.example:0", "x.example:65536", "x.example:0443", "x.example:*", "user@x.example", "x..example", "x.example.", "{env.HOST}", "ü.example",
	} {
		_, err := toolkit.Definition{ID: "files", BaseURL: "https://api.example.com", RedirectHosts: []string{pattern}, Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}}.Toolkit()
		if err == nil || !strings.Contains(err.Error(), "redirect_hosts") {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestWrittenRedirectHostsReplaceTheCatalogues(t *testing.T) {
	github, _ := toolkit.Builtin("github")
	d := github.Over(toolkit.Definition{OAuth: toolkit.OAuthDefinition{ClientID: "x"}})
	if len(d.RedirectHosts) != 2 {
		t.Errorf("the catalogue's are lost: %v", d.RedirectHosts)
	}
	d = github.Over(toolkit.Definition{RedirectHosts: []string{"downloads.corp.example"}})
	if len(d.RedirectHosts) != 1 || d.RedirectHosts[0] != "downloads.corp.example" {
		t.Errorf("got %v", d.RedirectHosts)
	}
	tk, err := github.Over(toolkit.Definition{RedirectHosts: []string{"off"}, OAuth: toolkit.OAuthDefinition{ClientID: "x"}}).Toolkit()
	if err != nil || len(tk.RedirectHosts) != 0 {
		t.Errorf("switched off: %v, %v", tk.RedirectHosts, err)
	}
}

func TestGitHubsDownloadsAreKnown(t *testing.T) {
	d, _ := toolkit.Builtin("github")
	tk, err := d.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"https://codeload.github.com/o/r/legacy.tar.gz/refs/heads/main?token=T":                true,
		"https://release-assets.githubusercontent.com/github-production-release-asset/1?sig=S": true,
		"https://objects.githubusercontent.com/x":                                              true,
		"https://github.com/o/r":                       false,
		"https://githubusercontent.com.evil.example/x": false,
	} {
		if tk.MayRedirectTo(address(t, text)) != want {
			t.Errorf("%s: %v, want %v", text, !want, want)
		}
	}
}

func FuzzMayRedirectTo(f *testing.F) {
	for _, seed := range []string{
		"https://codeload.example.com/x", "https://a.content.example.com:443/", "https://127.0.0.1/", "https://codeload.example.com@evil.example/",
		"https://evil%2f.content.example.com/", "http://codeload.example.com", "//codeload.example.com", "https://0x7f.1/", "https://[::1%25lo]/",
	} {
		f.Add(seed)
	}
	tk := downloading(f, "https://api.example.com", "codeload.example.com", "*.content.example.com")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil || !tk.MayRedirectTo(u) {
			return
		}
		host := strings.ToLower(u.Hostname())
		if u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.Port() != "" && u.Port() != "443" {
			t.Fatalf("%q is allowed", text)
		}
		if host != "codeload.example.com" && !strings.HasSuffix(host, ".content.example.com") || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Fatalf("%q leads to %q", text, host)
		}
		if _, err := netip.ParseAddr(host); err == nil || !tk.RedirectHost(host) {
			t.Fatalf("%q is an address, or is not guarded", text)
		}
	})
}
