// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Rules say which calls may be made. The zero value lets everything pass.
type Rules struct {
	// Rules are looked at all: one that denies a call wins over all that allow it,
	// whatever their order.
	Rules []Rule
	// Default is for what no rule speaks of: "allow" or "deny". "": deny where a rule
	// allows something, since that would mean nothing otherwise; else allow.
	Default string
	// ReadOnly refuses what is not known to read.
	ReadOnly bool
}

// Rule allows or denies calls.
type Rule struct {
	Allow   bool
	Methods []string // upper case; none: all. GET stands for HEAD too
	Path    string   // a pattern
}

// ParseRule reads a rule as people write it: "GET,HEAD /repos/*", "* /admin/*", "DELETE *".
func ParseRule(allow bool, methods, path string) (Rule, error) {
	r := Rule{Allow: allow, Path: path}
	if methods != "*" {
		r.Methods = strings.Split(methods, ",")
	}
	for _, m := range r.Methods {
		if !validMethod(m) {
			return r, fmt.Errorf("%q: methods are in capitals, such as GET or GET,POST, or a * for all", methods)
		}
	}
	_, err := parsePattern(path)
	if err != nil {
		err = fmt.Errorf("path %q: %w", path, err)
	}
	return r, err
}

func validMethod(m string) bool {
	return m != "" && !strings.ContainsFunc(m, func(c rune) bool { return (c < 'A' || c > 'Z') && c != '-' })
}

// String is the rule as it is written, for refusals.
func (r Rule) String() string {
	verb := "deny "
	if r.Allow {
		verb = "allow "
	}
	return verb + r.scope()
}

func (r Rule) scope() string {
	if len(r.Methods) == 0 {
		return "* " + r.Path
	}
	return strings.Join(r.Methods, ",") + " " + r.Path
}

// verdict is what rules say of a call.
type verdict struct {
	refused bool
	rule    string // that decided; "" where nothing was said
}

// ruleset is Rules, read.
type ruleset struct {
	there    bool // there are rules at all
	methods  bool // some call is refused for its method
	readOnly bool
	denied   []compiled
	allowed  []compiled
	deny     bool // what nothing speaks of
	fallback string
}

type compiled struct {
	Rule
	pattern pattern
}

func (r Rules) compile() (ruleset, error) {
	s := ruleset{there: len(r.Rules) > 0 || r.Default == "deny" || r.ReadOnly, methods: r.ReadOnly, readOnly: r.ReadOnly}
	for _, rule := range r.Rules {
		p, err := parsePattern(rule.Path)
		if err != nil {
			return s, fmt.Errorf("%s: %w", rule, err)
		}
		c := compiled{rule, p}
		if rule.Allow {
			s.allowed = append(s.allowed, c)
		} else {
			s.denied = append(s.denied, c)
		}
		s.methods = s.methods || len(rule.Methods) > 0
	}
	switch r.Default {
	case "":
		if s.deny = len(s.allowed) > 0; s.deny {
			s.fallback = "no rule allows it"
		}
	case "allow", "deny":
		s.deny, s.fallback = r.Default == "deny", "default "+r.Default
	default:
		return s, errors.New("default is allow or deny")
	}
	return s, nil
}

// judge says whether a call may be made; segments are the decoded path's.
func (s *ruleset) judge(method string, segments []string) verdict {
	for i := range s.denied {
		if c := &s.denied[i]; c.speaksOf(strings.ToUpper(method)) && c.denies(segments) {
			return verdict{true, c.String()}
		}
	}
	for i := range s.allowed {
		if c := &s.allowed[i]; c.speaksOf(method) && c.pattern.matches(segments, false) {
			return verdict{false, c.String()}
		}
	}
	return verdict{s.deny, s.fallback}
}

// denies is wider than what allows: servers that do not tell /Admin from /admin, or
// /admin/ from /admin, would serve what was meant to be denied.
func (c *compiled) denies(segments []string) bool {
	if c.pattern.matches(segments, true) {
		return true
	}
	last := len(segments) - 1
	return last > 0 && segments[last] == "" && c.pattern.matches(segments[:last], true)
}

func (c *compiled) speaksOf(method string) bool {
	return len(c.Methods) == 0 || slices.Contains(c.Methods, method) || method == http.MethodHead && slices.Contains(c.Methods, http.MethodGet)
}

// names reports whether a rule allows just this path, which is how somebody says that
// they mean it.
func (s *ruleset) names(method string, segments []string) bool {
	return slices.ContainsFunc(s.allowed, func(c compiled) bool {
		return c.pattern.literal && c.speaksOf(method) && c.pattern.matches(segments, false)
	})
}
