// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Variable is a part of a toolkit's addresses that differs from connection to connection,
// such as the host of a Salesforce instance or the number of a QuickBooks company. Where
// it stands in braces, in BaseURL, an alias or a path of Identity or Probe, the
// connection's value is put in.
//
// A value decides where a credential goes and comes from outside, so it is one of three
// narrow things: a host that is allowed, one label of a name, or one segment of a path.
// None of them has a character that means something in an address.
type Variable struct {
	From   Source
	Field  string    // of an answer's JSON, dots go deeper; or the callback's parameter
	Lookup *url.URL  // what is asked, for FromLookup
	Ask    *Question // what users are asked, for FromUser

	// One of these three says what a value is.
	Hosts     []HostPattern // a host that one of them matches; none has a port
	Label     bool          // one label of a host's name
	Segment   Characters    // one segment of a path, of these characters
	MaxLength int           // of a segment

	// Pattern is what it has to match besides. Nil: nothing. Dots: it names dots, so that
	// a Label may be several with dots between them.
	Pattern *regexp.Regexp
	Dots    bool
}

// Source is who says what a variable's value is.
type Source string

// The sources.
const (
	// FromReply: the token endpoint, at every exchange and refresh. What it leaves out
	// of a refresh stays.
	FromReply Source = "token_reply"
	// FromCallback: the address that brings the browser back. Whoever sits there can
	// write anything into it, so it is a claim until the provider has proved it.
	FromCallback Source = "callback"
	// FromLookup: a call with the new token to a fixed address, when a user connects. Of
	// a list, the field of each element counts, and all of them have to say the same.
	FromLookup Source = "lookup"
	// FromUser: the user who connects, on our page, before anybody else is asked. It alone
	// can say where the authorization server is.
	FromUser Source = "asked"
)

// Characters are what a path segment may be made of. None of the sets has a dot or a
// percent sign, so that no value is a dot segment in any spelling.
type Characters string

// The sets.
const (
	Digits       Characters = "digits"
	Alphanumeric Characters = "alphanumeric" // A-Z a-z 0-9
	IDCharacters Characters = "id"           // and - and _
)

// VariableDefinition is a Variable as people write it.
type VariableDefinition struct {
	From      Source     `json:"from"`
	Field     string     `json:"field,omitempty"`
	Lookup    string     `json:"lookup,omitempty"` // the address to ask
	Hosts     []string   `json:"hosts,omitempty"`
	Label     bool       `json:"label,omitempty"`
	Segment   Characters `json:"segment,omitempty"`
	MaxLength int        `json:"max_length,omitempty"` // 0: 64
	// Of what users say, a label unless it is a segment:
	Ask     string `json:"ask,omitempty"` // what the page calls it
	Example string `json:"example,omitempty"`
	Help    string `json:"help,omitempty"`
	HelpURL string `json:"help_url,omitempty"`
	Pattern string `json:"pattern,omitempty"`
}

// ErrVariable: a variable has no value, or one that it may not have.
var ErrVariable = errors.New("the address has no value for a variable, or one that is not allowed")

const (
	maxSegment = 256 // characters
	maxHost    = 253 // RFC 1035 §2.3.4
)

// Accept gives the value that text says, in the one way in which it is kept. It is not ok
// for what the variable may not be.
func (v Variable) Accept(text string) (value string, ok bool) {
	switch {
	case len(v.Hosts) > 0:
		return v.host(text)
	case v.Label:
		value = lower(text)
		return value, v.labels(value) && v.matches(value)
	}
	return text, text != "" && len(text) <= v.MaxLength && v.Segment.only(text) && v.matches(text)
}

// labels reports whether text is one label, or several where those are allowed.
func (v Variable) labels(text string) bool {
	if len(text) > maxHost || !v.Dots && strings.Contains(text, ".") {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

func (v Variable) matches(text string) bool { return v.Pattern == nil || v.Pattern.MatchString(text) }

// host also takes the https address of a host alone, as most providers say it.
func (v Variable) host(text string) (host string, ok bool) {
	host, address := strings.CutPrefix(lower(text), "https://")
	if address {
		host = strings.TrimSuffix(host, "/")
	}
	if len(host) > maxHost {
		return "", false
	}
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return "", false
		}
	}
	return host, slices.ContainsFunc(v.Hosts, func(p HostPattern) bool { return matches(string(p), host) })
}

// lower is for ASCII alone: strings.ToLower makes a k of the Kelvin sign.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

// validLabel is stricter than a name of the operator's: letters, digits and hyphens (RFC
// 1123 §2.1), and no punycode, which people read as something else.
func validLabel(label string) bool {
	return validAlias(label) && !strings.Contains(label, "_") && !strings.HasSuffix(label, "-") && !strings.HasPrefix(label, "xn--")
}

// only reports whether text is made of the set.
func (c Characters) only(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		switch {
		case r >= '0' && r <= '9':
			return false
		case c == Digits:
			return true
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
			return false
		}
		return c != IDCharacters || r != '-' && r != '_'
	})
}

// Allows judges a connection's values by what is configured now: one that was good when
// it was stored is not used where it no longer is.
func (t *Toolkit) Allows(values map[string]string) error {
	for name, v := range t.Variables {
		if kept, ok := v.Accept(values[name]); !ok || kept != values[name] {
			return fmt.Errorf("%w: %s", ErrVariable, name)
		}
	}
	return nil
}

// For is the toolkit at the addresses of one connection, whose variables have these
// values. A toolkit without variables is itself.
func (t *Toolkit) For(values map[string]string) (*Toolkit, error) {
	if len(t.Variables) == 0 {
		return t, nil
	}
	if err := t.Allows(values); err != nil {
		return nil, err
	}
	at, err := t.At(values)
	if err != nil {
		return nil, err
	}
	own := *at
	own.Variables, own.BaseURL, own.Aliases = nil, filled(t.BaseURL, values), make(map[string]*url.URL, len(t.Aliases))
	for alias, u := range t.Aliases {
		own.Aliases[alias] = filled(u, values)
	}
	if t.Identity != nil {
		own.Identity = &Identity{Path: filledPath(t.Identity.Path, values), IDToken: t.Identity.IDToken, Field: t.Identity.Field}
	}
	path, query, asks := strings.Cut(t.Probe, "?")
	if own.Probe = filledPath(path, values); asks {
		own.Probe += "?" + query
	}
	return &own, nil
}

// filled puts values into the parts of an address, which is never parsed again.
func filled(u *url.URL, values map[string]string) *url.URL {
	own := *u
	if name, rest, ok := variableHost(u.Host); ok {
		own.Host = values[name] + rest
	}
	own.Path, own.RawPath = filledPath(u.Path, values), filledPath(u.RawPath, values)
	return &own
}

func filledPath(path string, values map[string]string) string {
	if !strings.Contains(path, "{") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if name, rest, ok := variableHost(segment); ok && rest == "" {
			segments[i] = values[name]
		}
	}
	return strings.Join(segments, "/")
}

// variableHost splits "{name}.example.com" behind the brace.
func variableHost(host string) (name, rest string, ok bool) {
	name, rest, ok = strings.Cut(strings.TrimPrefix(host, "{"), "}")
	return name, rest, ok && strings.HasPrefix(host, "{")
}

// VariableHost reports whether host may be the one of some connection. Nobody wrote it:
// what it leads to is to be looked at.
func (t *Toolkit) VariableHost(host string) bool {
	host = lower(host)
	for f := range t.forms() {
		name, suffix, ok := variableHost(f.host)
		switch {
		case !ok:
		case suffix != "":
			if strings.HasSuffix(host, suffix) {
				return true
			}
		case slices.ContainsFunc(t.Variables[name].Hosts, func(p HostPattern) bool { return matches(string(p), host) }):
			return true
		}
	}
	return false
}

// HasVariableHost reports whether connections may have hosts of their own.
func (t *Toolkit) HasVariableHost() bool {
	for f := range t.forms() {
		if _, _, ok := variableHost(f.host); ok {
			return true
		}
	}
	return false
}

func (t *Toolkit) addresses() func(yield func(*url.URL) bool) {
	return func(yield func(*url.URL) bool) {
		if !yield(t.BaseURL) {
			return
		}
		for _, u := range t.Aliases {
			if !yield(u) {
				return
			}
		}
	}
}

// Claimed are the variables whose values a callback claims.
func (t *Toolkit) Claimed() map[string]Variable { return t.said(FromCallback) }

// LookedUp are the variables whose values a call tells.
func (t *Toolkit) LookedUp() map[string]Variable { return t.said(FromLookup) }

func (t *Toolkit) said(by Source) map[string]Variable {
	all := maps.Clone(t.Variables)
	maps.DeleteFunc(all, func(_ string, v Variable) bool { return v.From != by })
	return all
}
