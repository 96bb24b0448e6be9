// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"github.com/toolgate/toolgate/connect"
)

func inGerman(cfg *connect.Config) { cfg.Language = "de" }

func germanTexts(t *testing.T) (all map[string]string) {
	t.Helper()
	text, err := os.ReadFile("texts/de.json")
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var inTemplate = regexp.MustCompile(`\$\.T "([^"]+)"`)

// shownTexts are all English texts that pages show: those of the templates, and of the
// code those that are said, those of messages, and whatever looks like a sentence.
func shownTexts(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{"API key": true, "User name": true, "Password": true} // of package toolkit
	for _, file := range pageFiles(t) {
		for _, found := range inTemplate.FindAllStringSubmatch(readFile(t, file), -1) {
			all[found[1]] = true
		}
	}
	files, _ := filepath.Glob("*.go")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool { return shownIn(n, all) })
	}
	return all
}

// forOthers are functions whose texts are for agents and for logs.
var forOthers = []string{"problem.New", "errors.New", "fmt.Errorf", "http.Error", "panic"}

func shownIn(n ast.Node, all map[string]bool) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		name := nameOf(n.Fun)
		if slices.Contains(forOthers, name) {
			return false
		}
		if strings.HasSuffix(name, "say") {
			for _, arg := range n.Args {
				note(arg, all)
			}
		}
	case *ast.CompositeLit:
		kind := nameOf(n.Type)
		table, isTable := n.Type.(*ast.MapType)
		for _, e := range n.Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok && isTable && (nameOf(table.Key) == "connection.Status" || nameOf(table.Key) == "undoing") {
				note(pair.Value, all)
			}
			if kind == "message" {
				note(e, all)
			}
		}
	case *ast.BasicLit:
		if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && sentence.MatchString(text) {
			all[text] = true
		}
	}
	return true
}

var sentence = regexp.MustCompile(`^[A-Z][a-z]* .*[.?!]$`)

func note(e ast.Expr, all map[string]bool) {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		if text, err := strconv.Unquote(lit.Value); err == nil {
			all[text] = true
		}
	}
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return nameOf(e.X) + "." + e.Sel.Name
	}
	return ""
}

func pageFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("pages/*.html")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	return files
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryTextIsThereInEveryLanguage(t *testing.T) {
	shown, german := shownTexts(t), germanTexts(t)
	if len(shown) < 100 {
		t.Fatalf("found only %d texts", len(shown))
	}
	for text := range shown {
		if german[text] == "" {
			t.Errorf("texts/de.json does not have %q", text)
		}
	}
	for text, own := range german {
		if !shown[text] {
			t.Errorf("nobody shows %q", text)
		}
		if strings.Count(text, "%s") != strings.Count(own, "%s") || strings.Count(text, "%") != strings.Count(own, "%") || strings.Count(own, "*")%2 != 0 {
			t.Errorf("%q is filled in otherwise than %q", own, text)
		}
	}
}

var action = regexp.MustCompile(`(?s){{.*?}}`)

func TestNoPageHasATextOutsideTheTables(t *testing.T) {
	for _, file := range pageFiles(t) {
		root := parseHTML(t, action.ReplaceAllString(readFile(t, file), ""))
		for n := range root.Descendants() {
			if n.Type == html.TextNode && strings.ContainsFunc(n.Data, unicode.IsLetter) {
				t.Errorf("%s: %q", file, strings.TrimSpace(n.Data))
			}
			for _, a := range n.Attr {
				if n.Data == "button" && a.Key == "value" {
					continue // shown is what stands in the button
				}
				if slices.Contains([]string{"alt", "title", "placeholder", "aria-label", "value"}, a.Key) && !slices.Contains([]string{"", "cancel", "signin", "approve", "asked", "only"}, a.Val) {
					t.Errorf("%s: %s=%q", file, a.Key, a.Val)
				}
			}
		}
	}
}

func TestEveryPageIsInTheLanguageThatItSays(t *testing.T) {
	german := germanTexts(t)
	for name, p := range everyPage(t, inGerman) {
		if p.header.Get("Content-Language") != "de" || !strings.Contains(p.text, `<html lang="de">`) {
			t.Errorf("%s is in %q", name, p.header.Get("Content-Language"))
		}
		shown := textOf(parseHTML(t, p.text))
		for english, own := range german {
			if english != own && strings.Count(english, " ") > 1 && !strings.Contains(english, "%") && strings.Contains(shown, strings.ReplaceAll(english, "*", "")) {
				t.Errorf("%s says %q", name, english)
			}
		}
		if strings.Contains(shown, "%!") || strings.Contains(shown, "*") {
			t.Errorf("%s is filled in badly:\n%s", name, shown)
		}
	}
}

func TestTheBrowsersLanguageIsTaken(t *testing.T) {
	w := newWorld(t)
	link := w.link(alice)
	for said, want := range map[string]string{
		"": "en", "de": "de", "DE-at": "de", "de-DE,de;q=0.9,en;q=0.8": "de", "en-US,en;q=0.9,de;q=0.8": "en", "fr, de;q=0.5, en;q=0.4": "de",
		"fr": "en", "*": "en", "de;q=0": "en", "en;q=0.1, de;q=0.2": "de", "de;q=2": "en", "de;q=x": "en", "de;q=NaN": "en", ";;,,;q": "en", "den": "en",
		strings.Repeat("x,", 100) + "de": "en", "de\x00": "en", "en;q=0.5,de;q=0.5": "en",
	} {
		r := arrived(pressing(w, link))
		r.Method, r.Body = http.MethodGet, http.NoBody
		r.Header.Set("Accept-Language", said)
		p := showing(w.serve(r), r)
		heading := map[string]string{"en": "Connect Acme?", "de": "Acme verbinden?"}[want]
		if got := headingOf(t, p); got != heading || p.header.Get("Content-Language") != want {
			t.Errorf("%q: %q in %s", said, got, p.header.Get("Content-Language"))
		}
	}
	w = newWorld(t, inGerman)
	newBrowser(w).get(w.link(alice)).want(t, http.StatusOK, "Acme verbinden?")
}

func TestLanguagesAreThoseWithATable(t *testing.T) {
	files, _ := filepath.Glob("texts/*.json")
	if got := slices.Sorted(slices.Values(connect.Languages())); len(got) != len(files)+1 || !slices.Equal(got, slices.Sorted(maps.Keys(map[string]bool{"de": true, "en": true}))) {
		t.Errorf("%q, and %d tables", got, len(files))
	}
}

func TestStatesAndDaysAreInTheLanguageToo(t *testing.T) {
	w := newWorld(t, behindASite, inGerman)
	b := newBrowserAs(w, alice.User)
	b.connect(w.link(alice), "alice")
	b.get(mine).says(t, "funktioniert", "20.11.2026", "Trennen")
}
