// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"embed"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The English sentence is the key of a text, and stands where it is shown. The other
// languages have a table each, from the English sentence to theirs. A text may hold %s,
// for what is filled in, and *stars* around what is important.
//
//go:embed texts/*.json
var textFiles embed.FS

// texts are read once; nobody writes to them.
var texts = map[string]map[string]string{"en": {}, "de": readTexts("de")}

// Languages are those that pages can be shown in, English first.
func Languages() []string { return []string{"en", "de"} }

func readTexts(language string) map[string]string {
	text, err := textFiles.ReadFile("texts/" + language + ".json")
	all := map[string]string{}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		panic("the texts in " + language + ": " + err.Error()) // they are part of the program
	}
	return all
}

// say gives a text in a language, plain.
func say(language, text string, fill ...any) string {
	if own, known := texts[language][text]; known {
		text = own
	}
	if len(fill) == 0 {
		return text
	}
	return fmt.Sprintf(text, fill...)
}

func (s *Service) say(v visit, text string, fill ...any) string {
	return say(s.language(v.r), text, fill...)
}

var important = regexp.MustCompile(`\*([^*]+)\*`)

// T gives a text of ours for a page. The marks of what is important are ours too: what is
// filled in comes after them, and is only ever text.
func (d view) T(text string, fill ...any) template.HTML {
	form := important.ReplaceAllString(html.EscapeString(say(d.Lang, text)), "<strong>$1</strong>")
	if len(fill) == 0 {
		return template.HTML(form)
	}
	for i, what := range fill {
		fill[i] = html.EscapeString(fmt.Sprint(what))
	}
	return template.HTML(fmt.Sprintf(form, fill...))
}

// Word gives a text that may be ours, such as a notice, or else the operator's, such as
// what a field is called.
func (d view) Word(text string) string { return say(d.Lang, text) }

// Date gives a day as it is written in the language.
func (d view) Date(at time.Time) string { return at.UTC().Format(say(d.Lang, "2 January 2006")) }

// Minute gives a time as it is written in the language.
func (d view) Minute(at time.Time) string {
	return at.UTC().Format(say(d.Lang, "2 January 2006, 15:04 UTC"))
}

// Asker and Program name the agent. Where none is configured every caller has one name,
// which means nothing to the reader.
func (d view) Asker() string {
	switch d.Agent {
	case "local":
		return say(d.Lang, "A program on this computer")
	case "": // the person has asked for it themselves
		return say(d.Lang, "An assistant")
	}
	return d.Agent
}

// Program is the agent in the middle of a sentence.
func (d view) Program() string {
	switch d.Agent {
	case "local":
		return say(d.Lang, "the program")
	case "":
		return say(d.Lang, "an assistant")
	}
	return d.Agent
}

// maxRanges bounds what is read of a header that anybody may send.
const maxRanges = 30

// language is the one of ours that the browser likes best (RFC 9110 §12.5.4), else the
// operator's.
func (s *Service) language(r *http.Request) string {
	best, weight := s.cfg.Language, 0.0
	for i, one := range strings.Split(strings.Join(r.Header["Accept-Language"], ","), ",") {
		tag, parameters, _ := strings.Cut(strings.TrimSpace(one), ";")
		tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		q := 1.0
		if text, given := strings.CutPrefix(strings.TrimSpace(parameters), "q="); given {
			var err error
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		if i >= maxRanges {
			break
		}
		if q > weight && slices.Contains(Languages(), tag) {
			best, weight = tag, q
		}
	}
	return best
}
