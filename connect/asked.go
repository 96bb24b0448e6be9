// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/toolkit"
)

// Some providers are at another address for each of their customers, the page where one
// agrees too: a shop, a subdomain, a site. Only the user knows which. So they are asked
// before they are sent anywhere. What they say goes with the flow and not through the
// browser, so that what comes back belongs to the server that was asked, and then with the
// connection. A connection that is made anew keeps it: another value is another account.

// question is a variable that users say, as a page shows it.
type question struct {
	ID, Name               string // of the field
	Label                  string
	Example, Help, HelpURL string
	Value                  string // what is known, or was entered
	Known                  bool   // it is the connection's, and nobody is asked
	Wrong                  string // what is wrong with what was entered
	Focus                  bool   // it is the first of those
}

// With is the page for a part of itself that asks these.
func (d view) With(asked []question) view {
	d.Asked = asked
	return d
}

// Hints are the ids of what says more of a field.
func (q question) Hints() string {
	ids := []string{q.ID + ".example"}
	if q.Help != "" {
		ids = append(ids, q.ID+".help")
	}
	if q.Wrong != "" {
		ids = append([]string{q.ID + ".wrong"}, ids...)
	}
	return strings.Join(ids, " ")
}

// doesNotFit is told with the field. It names no characters: patterns are the operator's.
const doesNotFit = "That does not fit here. Enter it as in the example, or paste the whole address."

// saidName keeps the fields apart from the form's own.
func saidName(variable string) string { return "said." + variable }

// maxShown is how long an entry may be to be shown again, in bytes.
const maxShown = 300

// told is what is known of a part without asking anybody: what the connection has that it
// makes anew.
func (s *Service) told(ctx context.Context, l *part) (map[string]string, error) {
	tk := s.cfg.Toolkits[l.Toolkit].Toolkit
	asked := tk.Asked()
	if len(asked) == 0 {
		return nil, nil
	}
	p, err := s.place(ctx, l)
	if err != nil || p.before.Version == 0 || p.moved {
		return nil, err
	}
	if _, err := tk.At(p.before.Variables); err != nil {
		return nil, nil // not allowed any more: it is asked for anew
	}
	return only(asked, p.before.Variables), nil
}

func only(variables map[string]toolkit.Variable, values map[string]string) map[string]string {
	some := map[string]string{}
	for name := range variables {
		some[name] = values[name]
	}
	return some
}

// questions are those of a part, with what is known and, for the browser that has tried
// before, with what it has said then.
func (s *Service) questions(v visit, l *part) ([]question, error) {
	if l.heard != nil {
		return l.heard, nil
	}
	told, err := s.told(v.r.Context(), l)
	if err != nil {
		return nil, err
	}
	tk := s.cfg.Toolkits[l.Toolkit].Toolkit
	all := questionsOf(tk)
	for i, name := range namesOf(tk) {
		q := &all[i]
		if q.Value, q.Known = told[name]; !q.Known && s.is(v.r, l.Browser) {
			q.Value = l.Asked[name]
		}
	}
	return all, nil
}

// namesOf are a toolkit's variables that are asked for, in the order of questionsOf.
func namesOf(tk *toolkit.Toolkit) []string { return slices.Sorted(maps.Keys(tk.Asked())) }

func questionsOf(tk *toolkit.Toolkit) (all []question) {
	for _, name := range namesOf(tk) {
		ask := tk.Variables[name].Ask
		all = append(all, question{
			ID: saidName(tk.ID + "." + name), Name: saidName(name), Label: ask.Label, Example: ask.Example, Help: ask.Help, HelpURL: ask.HelpURL,
		})
	}
	return all
}

// saidOf is what is shown of values that a connection has.
func saidOf(tk *toolkit.Toolkit, values map[string]string) []question {
	var some []question
	all := questionsOf(tk)
	for i, name := range namesOf(tk) {
		if all[i].Value, all[i].Known = values[name]; all[i].Known {
			some = append(some, all[i])
		}
	}
	return some
}

// hear reads what was entered. wrong is a notice, or "" where it stands with a field or
// where nothing is wrong; l.heard is set where it is to be entered again.
func (s *Service) hear(ctx context.Context, form url.Values, l *part) (said map[string]string, wrong string, err error) {
	told, err := s.told(ctx, l)
	if err != nil {
		return nil, "", err
	}
	tk := s.cfg.Toolkits[l.Toolkit].Toolkit
	all, fine := questionsOf(tk), true
	if len(all) == 0 {
		return nil, "", nil
	}
	said = map[string]string{}
	for i, name := range namesOf(tk) {
		q, sent := &all[i], form[saidName(name)]
		text := strings.TrimSpace(strings.Join(sent, "\n")) // of several, none is a value
		value, ok := tk.Hear(name, text)
		if q.Value, q.Known = told[name]; q.Known {
			// A page from before there was a connection may still ask.
			if said[name] = q.Value; text != "" && value != q.Value {
				fine, wrong = false, notices[notThisOne]
			}
			continue
		}
		if said[name] = value; ok {
			q.Value = text
			continue
		}
		q.Wrong, q.Focus, fine = doesNotFit, fine, false
		if text == "" {
			q.Wrong = notFilledIn
		}
		if len(text) <= maxShown {
			q.Value = text
		}
	}
	if !fine {
		l.heard = all
	}
	return said, wrong, nil
}

// heardOut is hear for the button of a part. It answers where there is something to
// enter again.
func (s *Service) heardOut(v visit, l *part) (said map[string]string, ok bool) {
	said, wrong, err := s.hear(v.r.Context(), v.r.PostForm, l)
	switch {
	case err != nil:
		s.trouble(v, l, "asked", err)
	case l.heard != nil:
		s.confirmPage(v, http.StatusUnprocessableEntity, l, wrong)
	default:
		return said, true
	}
	return nil, false
}

// placeOf is where users of a part agree, as far as it is known, for their browser; and its
// host for them.
func placeOf(tk *toolkit.Toolkit, asked []question) (place *url.URL, host string) {
	values := map[string]string{}
	for i, name := range namesOf(tk) {
		if asked[i].Known {
			values[name] = asked[i].Value
		}
	}
	if own, err := tk.At(values); err == nil {
		tk = own
	}
	place = tk.OAuth.AuthorizePlace()
	return place, strings.TrimPrefix(place.Host, "*.")
}
