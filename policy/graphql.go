// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"
)

// graphqlInQuery looks at the documents in an address. There may be none.
func graphqlInQuery(rawQuery string) (found bool, err error) {
	for param := range strings.FieldsFuncSeq(rawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(param, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return false, errUnreadable
		}
		if !strings.EqualFold(name, "query") {
			continue
		}
		found = true
		if err := documentReads(value); err != nil {
			return false, err
		}
	}
	return found, nil
}

var (
	errUnreadable = errors.New("a GraphQL request that cannot be read")
	errNoDocument = errors.New("a GraphQL request without a query in it") // by its hash, perhaps
	errMutation   = errors.New("a GraphQL operation that is no query")
)

// graphqlInJSON looks at a request, or at a list of them. encoding/json would take the
// last of two members of one name, and other spellings of it; servers differ.
func graphqlInJSON(body []byte) error {
	if !utf8.Valid(body) || !json.Valid(body) {
		return errUnreadable
	}
	d := json.NewDecoder(bytes.NewReader(body))
	first, err := d.Token()
	if err != nil {
		return errUnreadable
	}
	switch first {
	case json.Delim('{'):
		err = oneRequest(d)
	case json.Delim('['):
		n := 0
		for ; d.More() && err == nil; n++ {
			if t, _ := d.Token(); t != json.Delim('{') {
				return errUnreadable
			}
			err = oneRequest(d)
		}
		if n == 0 {
			err = errNoDocument
		}
	default:
		return errUnreadable
	}
	return err
}

// oneRequest reads an object whose brace has been read.
func oneRequest(d *json.Decoder) error {
	document := ""
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return errUnreadable
		}
		if text, _ := name.(string); !strings.EqualFold(text, "query") {
			var other json.RawMessage
			if d.Decode(&other) != nil {
				return errUnreadable
			}
			continue
		}
		if document != "" {
			return errUnreadable
		}
		if err := d.Decode(&document); err != nil {
			return errUnreadable
		}
	}
	if _, err := d.Token(); err != nil && err != io.EOF {
		return errUnreadable
	}
	if document == "" {
		return errNoDocument
	}
	return documentReads(document)
}

// documentReads reports whether each operation of a GraphQL document is a query. At its
// top level there are only keywords, names, arguments and blocks in braces; the first
// word of each definition says what it is (GraphQL, October 2021, §2.3).
func documentReads(text string) error {
	depth, fresh, found := 0, true, false // fresh: a definition begins
	for len(text) > 0 {
		token, rest, err := nextToken(text)
		if err != nil {
			return err
		}
		text = rest
		switch {
		case token == "":
		case token == "{" || token == "(" || token == "[":
			found = found || fresh && token == "{" // an operation without a name is a query
			fresh, depth = false, depth+1
		case token == "}" || token == ")" || token == "]":
			if depth--; depth < 0 {
				return errUnreadable
			}
			fresh = depth == 0 && token == "}"
		case fresh && token == "query":
			fresh, found = false, true
		case fresh && token == "fragment":
			fresh = false
		case fresh:
			return errMutation
		}
	}
	if depth != 0 || !found || !fresh {
		return errUnreadable
	}
	return nil
}

// nextToken gives a bracket or a word; "" for what has no meaning here.
func nextToken(text string) (token, rest string, err error) {
	switch c := text[0]; {
	case c == '#':
		end := strings.IndexAny(text, "\r\n")
		if end < 0 {
			end = len(text)
		}
		return "", text[end:], nil
	case strings.HasPrefix(text, `"""`):
		return afterBlock(text[3:])
	case c == '"':
		return afterString(text[1:])
	case strings.IndexByte("{}()[]", c) >= 0:
		return text[:1], text[1:], nil
	case isWord(c):
		n := 1
		for n < len(text) && isWord(text[n]) {
			n++
		}
		return text[:n], text[n:], nil
	}
	return "", text[1:], nil
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func afterString(text string) (token, rest string, err error) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return "", text[i+1:], nil
		case '\n', '\r':
			return "", "", errUnreadable
		}
	}
	return "", "", errUnreadable
}

func afterBlock(text string) (token, rest string, err error) {
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], `\"""`):
			i += 3
		case strings.HasPrefix(text[i:], `"""`):
			return "", text[i+3:], nil
		}
	}
	return "", "", errUnreadable
}
