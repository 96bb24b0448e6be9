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

func github(t testing.TB, base string) *toolkit.Toolkit {
	t.Helper()
	return &toolkit.Toolkit{ID: "github", BaseURL: parse(t, base), Aliases: map[string]*url.URL{"uploads": parse(t, "https://uploads.example.com/up")}}
}

func parse(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestTheTargetIsAlwaysOnTheToolkitsHost(t *testing.T) {
	for _, c := range []struct{ base, path, query, want string }{
		{"https://api.example.com", "/user", "", "https://api.example.com/user"},
		{"https://api.example.com", "/", "", "https://api.example.com/"},
		{"https://api.example.com", "", "", "https://api.example.com/"},
		{"https://api.example.com/v2", "/user", "a=1&b=%2f", "https://api.example.com/v2/user?a=1&b=%2f"},
		{"https://api.example.com/v2/", "/user/", "", "https://api.example.com/v2/user/"},
		{"https://api.example.com", "/projects/group%2Fname", "", "https://api.example.com/projects/group%2Fname"},
		{"https://api.example.com", "//evil.example/x", "", "https://api.example.com//evil.example/x"},
		{"https://api.example.com", "/@evil.example/x", "", "https://api.example.com/@evil.example/x"},
		{"https://api.example.com", "/x:y@evil.example", "", "https://api.example.com/x:y@evil.example"},
		{"https://api.example.com", "/https://evil.example/", "", "https://api.example.com/https://evil.example/"},
		{"https://api.example.com", "/a%20b/...", "", "https://api.example.com/a%20b/..."},
		{"https://api.example.com", "/%F0%9F%98%80", "", "https://api.example.com/%F0%9F%98%80"},
		{"https://api.example.com", "/x%23y%3Fz", "", "https://api.example.com/x%23y%3Fz"},
		{"https://api.example.com", "/~uploads/file", "n=1", "https://uploads.example.com/up/file?n=1"},
		{"https://api.example.com", "/~uploads", "", "https://uploads.example.com/up/"},
	} {
		got, err := github(t, c.base).Target(c.path, c.query)
		if err != nil || got.String() != c.want {
			t.Errorf("Target(%q) = %v, %v; want %s", c.path, got, err, c.want)
		}
	}
}

func TestPathsThatCanBeReadInTwoWaysAreRefused(t *testing.T) {
	for _, path := range []string{
		"/..", "/../x", "/a/../../x", "/a/..", "/./x", "/a/.", "/%2e%2e/x", "/%2E./x", "/a%2f..%2f..%2fx", "/a/%2e%2e%2fx",
		"/..;/x", "/..;a=b/x", "/a\\..\\x", "/a%5c..%5cx", "/a%00b", "/a%0d%0aHost:%20x", "/a%7f", "/%zz", "/~uploads/../x",
	} {
		if got, err := github(t, "https://api.example.com/v2").Target(path, ""); !errors.Is(err, toolkit.ErrPath) {
			t.Errorf("Target(%q) = %v, %v", path, got, err)
		}
	}
	if _, err := github(t, "https://api.example.com").Target("/~evil/x", ""); !errors.Is(err, toolkit.ErrAlias) {
		t.Errorf("an unknown alias gives %v", err)
	}
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/user", "//evil", "/%2e%2e/x", "/~uploads/x", "/a;b/c", "/@x", "/a%2Fb"} {
		f.Add(seed, "q=1")
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		tk := github(t, "https://api.example.com/v2")
		got, err := tk.Target(path, query)
		if err != nil {
			return
		}
		if got.Scheme != "https" || got.User != nil || got.Host != "api.example.com" && got.Host != "uploads.example.com" {
			t.Fatalf("Target(%q) leaves the toolkit: %v", path, got)
		}
		if !strings.HasPrefix(got.EscapedPath(), "/v2/") && !strings.HasPrefix(got.EscapedPath(), "/up/") {
			t.Fatalf("Target(%q) leaves the base path: %v", path, got.EscapedPath())
		}
		again, err := url.PathUnescape(got.EscapedPath())
		if err != nil || again != got.Path {
			t.Fatalf("Target(%q): path %q, escaped %q", path, got.Path, got.EscapedPath())
		}
		for segment := range strings.SplitSeq(again, "/") {
			if segment == ".." || segment == "." {
				t.Fatalf("Target(%q) has dot segments: %q", path, again)
			}
		}
	})
}
