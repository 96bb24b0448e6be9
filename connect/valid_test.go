// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// empty elements have no end tag (HTML, 13.1.2).
var empty = []string{"meta", "link", "input", "br", "img"}

func TestEveryPageIsValid(t *testing.T) {
	for language, pages := range map[string]map[string]*page{"en": everyPage(t), "de": everyPage(t, inGerman)} {
		for name, p := range pages {
			for _, fault := range faultsOf(p.text) {
				t.Errorf("%s in %s: %s", name, language, fault)
			}
		}
	}
}

// faultsOf reads a page as it is written. A parser as in browsers would mend it silently.
func faultsOf(text string) (faults []string) {
	v := validator{ids: map[string]string{}, labels: map[string]bool{}, count: map[string]int{}}
	if !strings.HasPrefix(text, "<!DOCTYPE html>\n<html lang=") {
		v.fault("it does not begin as a page does")
	}
	for z := html.NewTokenizer(strings.NewReader(text)); ; {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				v.fault("it cannot be read: " + z.Err().Error())
			}
			return v.end()
		case html.StartTagToken, html.SelfClosingTagToken:
			v.start(z.Token(), kind == html.SelfClosingTagToken)
		case html.EndTagToken:
			v.close(z.Token().Data)
		case html.TextToken:
			v.text(string(z.Raw()))
		case html.CommentToken:
			v.fault("there is a comment: " + z.Token().Data)
		}
	}
}

type validator struct {
	faults []string
	open   []string
	ids    map[string]string // element, by id
	fields []string          // ids of those to be filled in
	labels map[string]bool   // ids that a label is for
	count  map[string]int
	title  string
}

func (v *validator) fault(text string) { v.faults = append(v.faults, text) }

func (v *validator) start(tag html.Token, selfClosing bool) {
	v.count[tag.Data]++
	if selfClosing {
		v.fault("<" + tag.Data + "/>")
	}
	parent := ""
	if len(v.open) > 0 {
		parent = v.open[len(v.open)-1]
	}
	if want := parents[tag.Data]; want != nil && !slices.Contains(want, parent) {
		v.fault("a <" + tag.Data + "> in a <" + parent + ">")
	}
	if parent == "p" && !slices.Contains([]string{"a", "span", "strong", "code", "time"}, tag.Data) {
		v.fault("a <" + tag.Data + "> ends the <p> that it is in")
	}
	names := map[string]bool{}
	for _, a := range tag.Attr {
		if names[a.Key] {
			v.fault("<" + tag.Data + "> has two " + a.Key)
		}
		names[a.Key] = true
		switch {
		case a.Key == "id" && v.ids[a.Val] != "":
			v.fault("the id " + a.Val + " is there twice")
		case a.Key == "id" && (a.Val == "" || strings.ContainsAny(a.Val, " \t\n")):
			v.fault("no id can be " + a.Val)
		case a.Key == "id":
			v.ids[a.Val] = tag.Data
		case tag.Data == "label" && a.Key == "for":
			v.labels[a.Val] = true
		case (a.Key == "href" || a.Key == "src" || a.Key == "action" || a.Key == "lang") && a.Val == "":
			v.fault("<" + tag.Data + "> has an empty " + a.Key)
		}
	}
	if tag.Data == "input" {
		v.field(tag)
	}
	if tag.Data == "a" && slices.Contains(v.open, "a") || tag.Data == "form" && slices.Contains(v.open, "form") {
		v.fault("a <" + tag.Data + "> in another one")
	}
	if !slices.Contains(empty, tag.Data) {
		v.open = append(v.open, tag.Data)
	}
}

// parents are where an element may be.
var parents = map[string][]string{
	"li": {"ul", "ol"}, "dt": {"div", "dl"}, "dd": {"div", "dl"}, "title": {"head"}, "h1": {"main"}, "main": {"body"}, "header": {"body"}, "footer": {"body"},
	"button": {"form"}, "label": {"form"}, "input": {"form"}, "head": {"html"}, "body": {"html"}, "meta": {"head"}, "link": {"head"},
}

func (v *validator) field(tag html.Token) {
	kind, id := "", ""
	for _, a := range tag.Attr {
		switch a.Key {
		case "type":
			kind = a.Val
		case "id":
			id = a.Val
		}
	}
	if kind == "" {
		v.fault("a field without a type")
	}
	if kind != "hidden" {
		v.fields = append(v.fields, id)
	}
}

func (v *validator) close(name string) {
	if slices.Contains(empty, name) {
		v.fault("</" + name + ">")
		return
	}
	if len(v.open) == 0 || v.open[len(v.open)-1] != name {
		v.fault("</" + name + "> where " + strings.Join(v.open, " ") + " is open")
		return
	}
	v.open = v.open[:len(v.open)-1]
}

func (v *validator) text(raw string) {
	if strings.TrimSpace(raw) == "" {
		return
	}
	if len(v.open) == 0 {
		v.fault("text outside of everything: " + raw)
		return
	}
	switch in := v.open[len(v.open)-1]; in {
	case "title":
		v.title = strings.TrimSpace(html.UnescapeString(raw))
	case "html", "head", "body", "ul", "dl":
		v.fault("text in <" + in + ">: " + raw)
	}
	if strings.ContainsAny(raw, "<>") {
		v.fault("a bracket that is not escaped: " + raw)
	}
}

func (v *validator) end() []string {
	if len(v.open) > 0 {
		v.fault("still open: " + strings.Join(v.open, " "))
	}
	for _, one := range []string{"html", "head", "body", "title", "main", "h1"} {
		if v.count[one] != 1 {
			v.fault("not one <" + one + ">")
		}
	}
	if v.title == "" {
		v.fault("no title")
	}
	for _, id := range v.fields {
		if !v.labels[id] {
			v.fault("nothing says what the field " + id + " is for")
		}
	}
	for id := range v.labels {
		if v.ids[id] != "input" {
			v.fault("a label for " + id + ", which is no field")
		}
	}
	return v.faults
}

// The test of the test: what is wrong is found.
func TestWhatIsWrongWithAPageIsFound(t *testing.T) {
	good := "<!DOCTYPE html>\n<html lang=\"en\"><head><title>T</title></head><body><main><h1>H</h1><p>x</p><form><label for=\"a\">A</label><input type=\"text\" id=\"a\"></form></main></body></html>\n"
	if faults := faultsOf(good); len(faults) != 0 {
		t.Fatalf("a good page: %q", faults)
	}
	for part, instead := range map[string]string{
		"</p>": "", "</h1>": "</h2>", "<title>T": "<title>", ` for="a"`: "", ` id="a"`: ` id="b"`, "<p>x": "<p id=\"a\">x", ` lang="en"`: "",
		"<h1>H</h1>": "", "<p>x</p>": "<p><ul></ul></p>", ">x<": ">a < b<", "</html>": "</html>x", `type="text"`: "",
	} {
		if len(faultsOf(strings.Replace(good, part, instead, 1))) == 0 {
			t.Errorf("%q instead of %q is not found", instead, part)
		}
	}
}
