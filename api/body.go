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

var errMore = errors.New("there is something behind the JSON object")

// cause tells what is wrong with a body in words that quote no value of it.
func cause(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "`" + wrong.Field + "` cannot be a JSON " + wrong.Value
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && len(field) < 64 {
		return "there is no field " + strings.ReplaceAll(field, `"`, "`")
	}
	if err == errMore {
		return err.Error()
	}
	return "it is not a JSON object"
}

func badRequest(rule, detail string) *problem.Problem {
	return problem.New(problem.BadRequest, rule, detail)
}
