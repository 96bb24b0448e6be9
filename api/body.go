// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/toolgate/toolgate/problem"
)

// maxBody is how long a request may be, in bytes.
const maxBody = 64 << 10

// read takes a JSON object out of the request, to the letter: a setting that is spelled
// wrong would silently be another one's default, such as a session that never was narrowed.
func (v *visit) read(into any) (text []byte, err error) {
	if kind, _, _ := strings.Cut(v.r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return nil, badRequest("content_type", "Send JSON, with Content-Type: application/json.")
	}
	text, err = io.ReadAll(http.MaxBytesReader(v.w, v.r.Body, maxBody))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, badRequest("body", "The body is longer than 64 KiB.")
	}
	if err != nil {
		return nil, badRequest("body", "The body broke off.")
	}
	if err := plain(json.NewDecoder(bytes.NewReader(text)), maxDepth); err != nil {
		return nil, badRequest("body", "The body is not as it should be: "+cause(err)+".")
	}
	if err := strict(text, into); err != nil {
		return nil, badRequest("body", "The body is not as it should be: "+cause(err)+".")
	}
	return text, nil
}

func strict(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errMore
	}
	return nil
}

// maxDepth is how many objects and lists may stand in one another.
const maxDepth = 8

var (
	errMore = errors.New("there is something behind the JSON object")
	errNull = errors.New("there is a null in it; leave out what is to have its default")
	errDeep = errors.New("it is nested too deeply")
)

// fieldError is about a name in a body.
type fieldError struct{ problem, name string }

func (e *fieldError) Error() string {
	if len(e.name) > 64 {
		return e.problem + " (a name of more than 64 bytes)"
	}
	return e.problem + " `" + e.name + "`"
}

// plain refuses what is JSON and yet may be read in another way than it was meant: a name
// that is there twice, of which encoding/json takes the last and others the first; names in
// other letters, since it takes "User" for "user", and so "u\u017fer" with a long s; and
// null, which is the default here, and to an app that had no list of toolkits was none.
func plain(from *json.Decoder, depth int) error {
	token, err := from.Token()
	switch {
	case err != nil:
		return err
	case token == nil:
		return errNull
	case token != json.Delim('{') && token != json.Delim('['):
		return nil
	case depth == 0:
		return errDeep
	}
	names := map[string]bool{}
	for from.More() {
		if token == json.Delim('{') {
			if err := plainName(from, names); err != nil {
				return err
			}
		}
		if err := plain(from, depth-1); err != nil {
			return err
		}
	}
	_, err = from.Token() // its end
	return err
}

func plainName(from *json.Decoder, before map[string]bool) error {
	token, err := from.Token()
	if err != nil {
		return err
	}
	name, _ := token.(string) // in an object, nothing else comes here
	switch {
	case strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' }):
		return &fieldError{"there is no field", name}
	case before[name]:
		return &fieldError{"there is twice", name}
	}
	before[name] = true
	return nil
}

// cause tells what is wrong with a body in words that quote no value of it.
func cause(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		kind, _, _ := strings.Cut(wrong.Value, " ") // a number comes with its digits
		return "`" + wrong.Field + "` cannot be a JSON " + kind
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && len(field) < 64 {
		return "there is no field " + strings.ReplaceAll(field, `"`, "`")
	}
	if named, ok := errors.AsType[*fieldError](err); ok {
		return named.Error()
	}
	if err == errMore || err == errNull || err == errDeep {
		return err.Error()
	}
	return "it is not a JSON object"
}

func badRequest(rule, detail string) *problem.Problem {
	return problem.New(problem.BadRequest, rule, detail)
}
