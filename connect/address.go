// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Some providers have another address for each account. Where it is, the token endpoint
// says, a call of its own, or the callback. The first two are the provider's word. The last
// has come through a browser, in which anybody can write another company's number into it:
// it counts only where the provider lets the new token call at that very address.

var errClaim = errors.New("a parameter of the callback is missing, is there twice, or cannot be what it should be")

// claimed is what a callback says of the toolkit's variables.
func claimed(tk *toolkit.Toolkit, query url.Values) (map[string]string, error) {
	values := map[string]string{}
	for name, v := range tk.Claimed() {
		said := query[v.Field]
		if len(said) != 1 {
			return nil, fmt.Errorf("%w: %s", errClaim, v.Field)
		}
		value, ok := v.Accept(said[0])
		if !ok {
			return nil, fmt.Errorf("%w: %s", errClaim, v.Field)
		}
		values[name] = value
	}
	return values, nil
}

// locate finds the addresses of a grant. What the grant has of variables is then all that
// the connection keeps. failure is the word for what went wrong, or "".
func (s *Service) locate(ctx context.Context, t *trip, g *oauth.Grant, claims map[string]string) (failure string, err error) {
	lookups := t.toolkit.LookedUp()
	if len(claims)+len(lookups)+len(t.flow.Asked) > 0 {
		all := maps.Clone(claims)
		maps.Copy(all, g.Variables)
		maps.Copy(all, t.flow.Asked) // which nobody else's word moves
		g.Variables = all
	}
	for name, v := range lookups {
		if g.Variables[name], failure, err = s.lookUp(ctx, t.toolkit, v, g.AccessToken); failure != "" {
			return failure, err
		}
	}
	if t.own, err = t.toolkit.For(g.Variables); err != nil {
		return nowhere, err
	}
	if len(claims) == 0 {
		return "", nil
	}
	return s.prove(ctx, t, g.AccessToken)
}

// lookUp asks for a variable's value. What the variable may not be is passed over; of
// what is left, nobody can choose.
func (s *Service) lookUp(ctx context.Context, tk *toolkit.Toolkit, v toolkit.Variable, token secret.String) (value, failure string, err error) {
	short, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	a, err := s.askAt(short, tk, v.Lookup, token)
	switch {
	case err != nil:
		return "", away, bare(err)
	case a.fails():
		return "", away, fmt.Errorf("the lookup is answered with %d", a.status)
	case a.status < 200, a.status > 299, a.refuses(tk.Auth.Refused):
		return "", nowhere, fmt.Errorf("the lookup is answered with %d", a.status)
	}
	for _, said := range eachField(a.text, v.Field) {
		switch found, ok := v.Accept(said); {
		case !ok || found == value:
		case value != "":
			return "", several, errors.New("the lookup names more than one")
		default:
			value = found
		}
	}
	return value, "", nil // maybe none
}

// eachField gives a field of a JSON object, or of each in a list.
func eachField(text []byte, path string) (said []string) {
	elements := []json.RawMessage{text}
	if list := []json.RawMessage(nil); json.Unmarshal(text, &list) == nil {
		elements = list
	}
	for _, element := range elements {
		said = append(said, textAt(element, path))
	}
	return said
}

// textAt is a text or a number in a JSON object, as it is written; "" where there is none.
func textAt(text []byte, path string) string {
	var value any
	from := json.NewDecoder(bytes.NewReader(text))
	from.UseNumber()
	if from.Decode(&value) != nil {
		return ""
	}
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	switch found := value.(type) {
	case string:
		return found
	case json.Number:
		return found.String()
	}
	return ""
}

// prove makes the identity call, in whose address the claims stand. Only an answer that
// names the account is a yes: some APIs say no with 200.
func (s *Service) prove(ctx context.Context, t *trip, token secret.String) (failure string, err error) {
	short, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	a, err := s.ask(short, t.own, t.own.Identity.Path, "", token)
	if err != nil {
		return away, bare(err)
	}
	name := label(a.text, t.own.Identity.Field)
	switch {
	case a.fails():
		return away, fmt.Errorf("the provider answers %d", a.status)
	case a.status < 200, a.status > 299, a.refuses(t.own.Auth.Refused), name == "":
		return unproven, fmt.Errorf("the identity call does not prove what the callback says: the provider answers %d", a.status)
	}
	t.label, t.asked = name, true
	return "", nil
}

// labelOf asks for the account's name, once.
func (s *Service) labelOf(ctx context.Context, t *trip, g oauth.Grant) string {
	switch {
	case t.asked:
	case t.own.Identity != nil && t.own.Identity.IDToken:
		t.label = s.nameIn(t.toolkit, g.IDToken)
	default:
		t.label, t.nameless = s.account(ctx, t.own, g.AccessToken)
	}
	t.asked = true
	return t.label
}
