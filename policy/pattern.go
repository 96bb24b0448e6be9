// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"net/url"
	"strings"
)

// A pattern is a path of a rule. Segment by segment:
//
//	users    that text; * in it stands for anything but a slash
//	{name}   one segment, whatever it holds
//	**       no segment, one or many
//	*        one segment or, at the end, all that follow
//
// A lone * is every path. Patterns are compared with decoded paths, of which
// [ambiguous] has made sure that there is one reading only.
type pattern struct {
	text     string
	every    bool
	segments []string // "*" at the end is "**" with one segment at least
	literal  bool     // no wildcard in it
}

const (
	anySegment  = "{}" // one
	anySegments = "**" // none or more
)

func parsePattern(text string) (pattern, error) {
	p := pattern{text: text}
	if text == "*" || text == "/*" || text == "/**" {
		p.every = true
		return p, nil
	}
	path, err := url.PathUnescape(text)
	switch {
	case err != nil || !strings.HasPrefix(text, "/"):
		return p, errors.New("a path begins with a slash, such as /repos/*, or is a lone *")
	case strings.ContainsAny(text, "?#"):
		return p, errors.New("a path has no query: rules look at paths alone")
	case ambiguous(text) != "":
		return p, errors.New("no call's path may have " + ambiguous(text) + " where there are rules, so this would never match")
	case strings.Contains(strings.ReplaceAll(path, "/**", ""), "**"):
		return p, errors.New("** stands alone between slashes")
	}
	p.literal = !strings.ContainsAny(path, "*{")
	p.segments = strings.Split(path[1:], "/")
	for i, s := range p.segments {
		switch {
		case len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' && !strings.ContainsAny(s[1:len(s)-1], "{}*"):
			p.segments[i] = anySegment
		case strings.ContainsAny(s, "{}"):
			return p, errors.New("braces stand around a whole segment, such as /users/{id}")
		case s == anySegments && i > 0 && p.segments[i-1] == anySegments:
			return p, errors.New("one ** after the other")
		}
	}
	if last := len(p.segments) - 1; p.segments[last] == "*" {
		// As in Caddy's own path matcher, it is also an empty rest: /a/* has /a/.
		p.segments[last] = "*"
		p.segments = append(p.segments, anySegments)
	}
	return p, nil
}

// matches compares with a decoded path. fold takes letters of both cases for the same.
func (p *pattern) matches(segments []string, fold bool) bool {
	if p.every {
		return true
	}
	// Where the rest does not match, the latest ** takes one segment more: no
	// pattern takes longer than its length times the path's.
	at, star, from := 0, -1, 0
	for i := 0; i < len(segments); {
		switch {
		case at < len(p.segments) && p.segments[at] == anySegments:
			star, from = at, i
			at++
		case at < len(p.segments) && matchSegment(p.segments[at], segments[i], fold):
			at++
			i++
		case star >= 0:
			from++
			at, i = star+1, from
		default:
			return false
		}
	}
	for at < len(p.segments) && p.segments[at] == anySegments {
		at++
	}
	return at == len(p.segments)
}

func matchSegment(pattern, segment string, fold bool) bool {
	if pattern == anySegment {
		return segment != ""
	}
	at, star, from := 0, -1, 0
	for i := 0; i < len(segment); {
		switch {
		case at < len(pattern) && pattern[at] == '*':
			star, from = at, i
			at++
		case at < len(pattern) && (pattern[at] == segment[i] || fold && lower(pattern[at]) == lower(segment[i])):
			at++
			i++
		case star >= 0:
			from++
			at, i = star+1, from
		default:
			return false
		}
	}
	for at < len(pattern) && pattern[at] == '*' {
		at++
	}
	return at == len(pattern)
}

// lower is for ASCII alone: what else a server takes for the same letter is its own.
func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
