// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	accountLimit = 5 * time.Second
	maxLabel     = 120 // characters
)

// account asks the provider which account was connected, for people to see. It is
// worth no failure: without an answer the connection has no label.
func (s *Service) account(ctx context.Context, tk *toolkit.Toolkit, token secret.String) string {
	if tk.Identity == nil || tk.Identity.IDToken {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, accountLimit)
	defer cancel()
	a, err := s.ask(ctx, tk, tk.Identity.Path, "", token)
	if err != nil || a.status != http.StatusOK {
		return ""
	}
	return label(a.text, tk.Identity.Field)
}

// label picks a field of a JSON object, as one short line.
func label(text []byte, field string) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return ""
	}
	for name := range strings.SplitSeq(field, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = object[name]
	}
	s, _ := value.(string)
	clean := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)))
	return string(clean[:min(len(clean), maxLabel)])
}
