// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	accountLimit = 5 * time.Second
	maxLabel     = 120 // characters
)

// account asks the provider which account was connected, for people to see and for
// comparing it with one that is there. Without an answer the connection has no label. err
// is a fault that passes: where it matters whose account it is, nobody knows then, and
// where it does not, that is worth no failure.
func (s *Service) account(ctx context.Context, tk *toolkit.Toolkit, token secret.String) (name string, err error) {
	if tk.Identity == nil || tk.Identity.IDToken {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, accountLimit)
	defer cancel()
	a, err := s.ask(ctx, tk, tk.Identity.Path, "", token)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", errNameless, bare(err))
	case a.fails():
		return "", fmt.Errorf("%w: the provider answers %d", errNameless, a.status)
	case a.status != http.StatusOK:
		return "", nil
	}
	return label(a.text, tk.Identity.Field), nil
}

// errNameless: whose account it is could not be asked just now.
var errNameless = errors.New("the provider could not be asked whose account it is")

// label picks a field of a JSON object, as one short line.
func label(text []byte, field string) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return ""
	}
	return pick(value, field)
}

func pick(value any, field string) string {
	for name := range strings.SplitSeq(field, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = object[name]
	}
	s, _ := value.(string)
	return oneLine(s)
}

// oneLine is for people to read, and for comparing accounts: two names that differ come
// out different. So what cannot be shown is spelled out rather than left out, and the end
// of a name that is too long gives way to a hash of all of it. Else who may choose a name
// at a provider could choose one that comes out as another's, or as one that
// expect_account names.
func oneLine(s string) string {
	var clean strings.Builder
	for _, r := range strings.TrimSpace(s) {
		if unicode.IsPrint(r) && r != unprinted {
			clean.WriteRune(r)
		} else {
			fmt.Fprintf(&clean, "%c%04x", unprinted, r)
		}
	}
	all := []rune(clean.String())
	if len(all) <= maxLabel {
		return string(all)
	}
	end := string(unprinted) + hash(clean.String())[:32]
	return string(all[:maxLabel-utf8.RuneCountInString(end)]) + end
}

// unprinted stands before what cannot be shown. No name that is shown as it is has it.
const unprinted = unicode.ReplacementChar
