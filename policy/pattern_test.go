// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/toolkit"
)

// asRegexp says what a pattern means in another language, without sharing a line with it.
func asRegexp(pattern string) *regexp.Regexp {
	if pattern == "*" || pattern == "/*" || pattern == "/**" {
		return regexp.MustCompile(`(?s).`)
	}
	text := ""
	segments := strings.Split(pattern[1:], "/")
	for i, s := range segments {
		switch {
		case s == "**":
			text += `(?:/[^/]*)*`
		case strings.HasPrefix(s, "{"):
			text += `/[^/]+`
		case s == "*" && i == len(segments)-1:
			text += `/.*`
		default:
			text += "/" + strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, `[^/]*`)
		}
	}
	return regexp.MustCompile(`(?s)^` + text + `$`)
}

// FuzzPattern compares the matcher with a regular expression.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"/repos/*", "/repos/a/b"}, {"/a/**/b", "/a/x/y/b"}, {"/{id}/x", "/7/x"}, {"/a*b*c", "/aXbYc"}, {"/**/a/**/b/*", "/a/a/b/b/"}, {"/x", "/x/"}, {"/**/x", "/x"}, {"/a/**", "/a"},
	} {
		f.Add(seed[0], seed[1])
	}
	tk := acme(f, func(d *toolkit.Definition) {})
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if strings.ContainsAny(path, "%;?#\\\x00") || strings.Contains(path, "//") || !strings.HasPrefix(path, "/") || strings.ContainsAny(pattern, "%") || len(path) > 200 || len(pattern) > 50 {
			return
		}
		rule, err := policy.ParseRule(true, "*", pattern)
		if err != nil {
			return
		}
		p := only(t, policy.Toolkit{Toolkit: tk, Rules: policy.Rules{Rules: []policy.Rule{rule}}})
		asked := call(tk, "GET", "/")
		asked.Path = path
		got := said(p.Admit(t.Context(), asked))
		if strings.HasPrefix(got, "invalid_path") {
			return // it is not UTF-8
		}
		if want := asRegexp(pattern).MatchString(path); (got == "ok") != want {
			t.Fatalf("%s and %s: %s; the regular expression says %v", pattern, path, got, want)
		}
	})
}

// No pattern makes a path take long: what an agent sends is up to a header's length.
func TestALongPathIsJudgedSoon(t *testing.T) {
	tk := acme(t, nil)
	p := only(t, policy.Toolkit{Toolkit: tk, Rules: rules(t, "deny * /**/a/**/b/**/c", "deny * /*a*a*a*a*b/x")})
	asked := call(tk, "GET", "/"+strings.Repeat("a/", 20_000)+strings.Repeat("a", 20_000))
	if got := said(p.Admit(t.Context(), asked)); got != "ok" {
		t.Error(got)
	}
}

func TestTheCatalogueIsUnderstood(t *testing.T) {
	for _, id := range toolkit.BuiltinIDs() {
		d, _ := toolkit.Builtin(id)
		tk, err := d.Toolkit()
		if err != nil {
			t.Fatal(err)
		}
		if err := (policy.Toolkit{Toolkit: tk}).Check(); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
