// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/toolkit"
)

// reading is a toolkit's Reading, read: which calls change nothing.
type reading struct {
	methods       []string
	reads, writes []compiled
	graphql       []pattern
}

// parseScope reads toolkit data such as "POST /v1/search".
func parseScope(text string) (compiled, error) {
	methods, path, _ := strings.Cut(text, " ")
	rule, err := ParseRule(true, methods, path)
	if err != nil {
		return compiled{}, fmt.Errorf("%q: %w", text, err)
	}
	p, err := parsePattern(path)
	return compiled{rule, p}, err
}

func parseScopes(texts []string) (all []compiled, err error) {
	for _, text := range texts {
		c, err := parseScope(text)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// CheckReading tells what is wrong with what is said of reading.
func CheckReading(r toolkit.Reading) error {
	_, err := compileReading(r)
	return err
}

func compileReading(r toolkit.Reading) (s reading, err error) {
	s.methods = r.Methods
	for _, m := range r.Methods {
		if !validMethod(m) {
			return s, fmt.Errorf("reads %q: methods are in capitals, such as GET", m)
		}
	}
	if s.reads, err = parseScopes(r.Reads); err != nil {
		return s, fmt.Errorf("reads %w", err)
	}
	if s.writes, err = parseScopes(r.Writes); err != nil {
		return s, fmt.Errorf("writes %w", err)
	}
	for _, path := range r.GraphQL {
		p, err := parsePattern(path)
		if err != nil {
			return s, fmt.Errorf("graphql %q: %w", path, err)
		}
		s.graphql = append(s.graphql, p)
	}
	return s, nil
}

// permits reports whether a call is known to change nothing, and what says so or not.
func (s *reading) permits(c *gateway.Call, segments []string) (bool, string) {
	for i := range s.graphql {
		if s.graphql[i].matches(segments, true) {
			if err := onlyQueries(c); err != nil {
				return false, "read_only: " + err.Error()
			}
			return true, "graphql " + s.graphql[i].text
		}
	}
	for i := range s.writes {
		if w := &s.writes[i]; w.speaksOf(strings.ToUpper(c.Method)) && w.denies(segments) {
			return false, "read_only: writes " + w.scope()
		}
	}
	for i := range s.reads {
		if r := &s.reads[i]; r.speaksOf(c.Method) && r.pattern.matches(segments, false) {
			return true, "reads " + r.scope()
		}
	}
	if slices.Contains(s.methods, c.Method) || c.Method == http.MethodHead && slices.Contains(s.methods, http.MethodGet) {
		return true, "reads " + c.Method
	}
	return false, "read_only"
}

// graphqlLimit is the largest GraphQL request that is looked into, in bytes.
const graphqlLimit = 256 << 10

// onlyQueries looks into a GraphQL request. What cannot be read is not known to read.
func onlyQueries(c *gateway.Call) error {
	inAddress, err := graphqlInQuery(c.Query)
	if err != nil {
		return err
	}
	head, whole, err := c.Body.Peek(graphqlLimit)
	switch {
	case err != nil:
		return nil // the upload has failed, and sending it says how
	case !whole:
		return errors.New("a GraphQL request that is too large to be looked into")
	case len(head) == 0 && inAddress:
		return nil
	case len(head) == 0:
		return errors.New("a GraphQL request without a query")
	case c.Header["Content-Encoding"] != nil:
		return errors.New("a GraphQL request that is packed")
	}
	return graphqlInJSON(head)
}
