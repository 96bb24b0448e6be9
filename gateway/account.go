// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
)

// accountMark stands in a path between a toolkit and one of the user's accounts:
// "/github@work/user". No toolkit's id has one.
const accountMark = "@"

// splitAccount splits a path's first segment. Clients may escape what they put there,
// the mark too. What is not a toolkit and an account comes back whole.
func splitAccount(segment string) (toolkitID, account string, given bool) {
	plain, err := url.PathUnescape(segment)
	if err != nil {
		return segment, "", false
	}
	toolkitID, account, given = strings.Cut(plain, accountMark)
	if !given || toolkitID == "" || !strings.HasPrefix(segment, toolkitID) { // an escaped letter is no letter of an id
		return segment, "", false
	}
	return toolkitID, account, true
}

// account gives the account that the agent names, by X-Account or by the path's segment
// that chose the toolkit; "" where it names none.
func account(h http.Header, segment string) (string, error) {
	_, inPath, inSegment := splitAccount(segment)
	header, inHeader := h["X-Account"] // at most once, see onceEach
	switch {
	case inHeader && !caller.ValidUser(header[0]), inSegment && !caller.ValidUser(inPath):
		// The comma of two headers that a proxy has joined would be a third account.
		return "", problem.New(problem.InvalidAccount, "x-account", "An account is named by its id or its label: 1 to 256 printable ASCII characters, without spaces and commas. Where a label has others, use the id.")
	case inHeader && inSegment && header[0] != inPath:
		return "", problem.New(problem.InvalidAccount, "selectors", "X-Account and the first segment of the path name different accounts.")
	case inHeader:
		return header[0], nil
	}
	return inPath, nil
}

// ambiguous turns several connections, of which none was chosen, into a refusal that
// names them; every other error stays what it is.
func (g *Gateway) ambiguous(x *exchange, err error) error {
	several, ok := errors.AsType[*connection.Ambiguous](err)
	if !ok {
		return err
	}
	p := problem.New(problem.SeveralAccounts, "x-account", "This user has connected several accounts of "+x.toolkit.Name+", and it is not clear which one is meant. Ask the user, and name one of `connections` by its id in the header X-Account.")
	p.Toolkit = &problem.Toolkit{ID: x.toolkit.ID, Name: x.toolkit.Name}
	p.User = x.caller.User
	for _, c := range several.Choices {
		choice := problem.Choice{ID: c.ID, Label: c.Name(), Status: string(c.Status)}
		if !c.Admits(x.caller.Agent, g.Several(x.caller.Tenant)) {
			choice.Label = "" // often an address of the user's, and this agent may not use the account
		}
		p.Choices = append(p.Choices, choice)
	}
	return p
}
