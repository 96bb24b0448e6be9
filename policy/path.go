// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// ambiguous names what servers read in different ways in an escaped path; "" where there
// is one reading. A rule would judge one of them, and the provider act on another: "/a;b"
// is "/a" to some, "/a//b" is "/a/b", and "%2561" is "a" to who decodes twice.
func ambiguous(escapedPath string) string {
	for i := 0; i < len(escapedPath); i++ {
		switch c := escapedPath[i]; {
		case c == ';':
			return "a semicolon"
		case c == '/' && i+1 < len(escapedPath) && escapedPath[i+1] == '/':
			return "two slashes in a row"
		case c == '%':
			if what := ambiguousEscape(escapedPath[i:]); what != "" {
				return what
			}
		}
	}
	if path, err := url.PathUnescape(escapedPath); err != nil || !utf8.ValidString(path) {
		return "bytes that are not UTF-8" // some decoders read a slash in them
	}
	return ""
}

// ambiguousEscape is for an escape of what needs none, or of what has a meaning in plain.
func ambiguousEscape(s string) string {
	if len(s) < 3 {
		return "half an escape"
	}
	plain, err := url.PathUnescape(s[:3])
	if err != nil {
		return "half an escape"
	}
	switch c := plain[0]; {
	case c == '/' || c == '\\':
		return "an encoded slash"
	case c == '%':
		return "an encoded percent sign"
	case c == ';':
		return "an encoded semicolon"
	case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0:
		return "an encoded letter, digit or dot" // RFC 3986 §6.2.2.2: the same, and yet not to all
	case c < ' ' || c == 0x7f:
		return "an encoded control character"
	}
	return ""
}

// segmentsOf splits a path into buf. A path has a slash first, always.
func segmentsOf(path string, buf []string) []string {
	path = strings.TrimPrefix(path, "/")
	for {
		segment, rest, more := strings.Cut(path, "/")
		buf = append(buf, segment)
		if !more {
			return buf
		}
		path = rest
	}
}

// furthest is the path as the most lenient server reads it: decoded as often as it can be,
// without parameters, without empty segments, and in small letters. It is for paths that
// are refused where no other rule keeps ambiguous ones away.
func furthest(escapedPath string) []string {
	path := escapedPath
	for range 3 {
		path = unescaped(path)
	}
	path = strings.ToLower(strings.ReplaceAll(path, `\`, "/"))
	var segments []string
	for segment := range strings.SplitSeq(path, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", ".":
		case "..":
			segments = segments[:max(0, len(segments)-1)]
		default:
			segments = append(segments, segment)
		}
	}
	return segments
}

// unescaped leaves alone what is no escape, as lenient servers do.
func unescaped(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if c, err := url.PathUnescape(s[i:min(i+3, len(s))]); s[i] == '%' && err == nil {
			out.WriteString(c)
			i += 2
		} else {
			out.WriteByte(s[i])
		}
	}
	return out.String()
}
