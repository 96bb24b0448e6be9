// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/toolgate/toolgate/gateway"
)

// overrides are the names by which servers let a POST be another method. Where rules
// judge methods, such a call would be judged by the wrong one. Written with - here; CGI
// and its heirs take _ for the same.
var overrides = [...]string{"x-http-method-override", "x-method-override", "x-http-method"}

// override finds a method that is not the request's, in the header and the query.
func override(h http.Header, query string) string {
	for name := range h {
		if overrideHeader(name) {
			return name
		}
	}
	if overrideParam(query) {
		return "_method"
	}
	return ""
}

func overrideHeader(name string) bool {
	if len(name) < len("x-http-method") || lower(name[0]) != 'x' {
		return false
	}
	name = strings.ReplaceAll(name, "_", "-")
	for _, known := range overrides {
		if strings.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// overrideParam looks for _method among the parameters of a query or a form. PHP makes
// " .method" and "_method[]" the same, and some servers take ; for &.
func overrideParam(params string) bool {
	for param := range strings.FieldsFuncSeq(params, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(param, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		name, _, _ = strings.Cut(strings.TrimLeft(name, " \x00"), "\x00")
		name = strings.Map(func(c rune) rune {
			if c == '.' || c == ' ' {
				return '_'
			}
			return c
		}, name)
		if bracket := strings.IndexByte(name, '['); bracket > 0 {
			name = name[:bracket]
		} else if bracket == 0 {
			name = "_" + name[1:]
		}
		if strings.EqualFold(name, "_method") || overrideHeader(name) {
			return true
		}
	}
	return false
}

// formLimit is how much of a form is looked through for a method, in bytes.
const formLimit = 1 << 20

var (
	errOverride = errors.New("a form with _method")
	errUnclear  = errors.New("a form that cannot be looked through: packed, broken, or larger than 1 MiB")
)

// overrideInForm looks into bodies that servers read such a parameter from.
func overrideInForm(c *gateway.Call) error {
	values := c.Header["Content-Type"]
	if len(values) == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(values[0])
	form := kind == "application/x-www-form-urlencoded"
	if len(values) == 1 && err == nil && !form && kind != "multipart/form-data" {
		return nil
	}
	if err != nil && !strings.Contains(strings.ToLower(strings.Join(values, ",")), "form") {
		return nil
	}
	head, whole, err := c.Body.Peek(formLimit)
	switch {
	case err != nil:
		return nil // the upload has failed, and sending it says how
	case len(head) == 0:
		return nil
	case !whole || c.Header["Content-Encoding"] != nil:
		return errUnclear
	case form && overrideParam(string(head)):
		return errOverride
	case form:
		return nil
	}
	return overrideInParts(head, params["boundary"])
}

// overrideInParts looks at the heads of a multipart form's parts, where a name can be
// written in several ways.
func overrideInParts(body []byte, boundary string) error {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errUnclear
		}
		for _, values := range part.Header {
			if strings.Contains(strings.ToLower(strings.Join(values, "")), "method") {
				return errOverride
			}
		}
	}
}
