// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

var errClaims = errors.New("the token's claims are no JSON object, or one of them is there twice")

// maxNested bounds how deep claims may be nested.
const maxNested = 32

// ParseClaims reads what a token says. The names of claims differ by case, and none may be
// there twice (RFC 7519 §4, §10.1.1). To encoding/json, "Sub" is as good as "sub" for a
// field, and of two that are alike the last one counts: who may have claims of their own
// put into a token could then be somebody else. Numbers are float64, as there.
func ParseClaims(text []byte) (map[string]any, error) {
	from := json.NewDecoder(bytes.NewReader(text))
	value, err := parseStrictly(from, 0)
	if err == nil {
		_, err = from.Token()
	}
	claims, ok := value.(map[string]any)
	if !errors.Is(err, io.EOF) || !ok {
		return nil, errClaims // JSON's own error would quote the token
	}
	return claims, nil
}

func parseStrictly(from *json.Decoder, depth int) (any, error) {
	token, err := from.Token()
	delim, nested := token.(json.Delim)
	switch {
	case err != nil || depth > maxNested:
		return nil, errClaims
	case !nested:
		return token, nil
	case delim == '[':
		list := []any{}
		for from.More() {
			value, err := parseStrictly(from, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, closed(from)
	}
	object := map[string]any{}
	for from.More() {
		token, err := from.Token()
		name, _ := token.(string)
		if _, twice := object[name]; err != nil || twice {
			return nil, errClaims
		}
		if object[name], err = parseStrictly(from, depth+1); err != nil {
			return nil, err
		}
	}
	return object, closed(from)
}

// closed reads the bracket at the end. io.EOF in its place is no end.
func closed(from *json.Decoder) error {
	if _, err := from.Token(); err != nil {
		return errClaims
	}
	return nil
}

// Audience is whom a token is for: one name, or several.
func Audience(claims map[string]any) (all []string) {
	switch aud := claims["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		for _, a := range aud {
			name, ok := a.(string)
			if !ok {
				return nil
			}
			all = append(all, name)
		}
	}
	return all
}
