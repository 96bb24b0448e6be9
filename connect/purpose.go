// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// purpose is what a link connects. For the same purpose the same link is given again, so
// it is the same for what is asked in other words or in another order.
type purpose struct {
	Toolkits []string `json:"toolkits"`
	Callback string   `json:"callback_url,omitempty"`
	// Wanted and Scopes are those of parts that have any, by their toolkit.
	Wanted map[string]string `json:"wanted,omitempty"`
	Scopes map[string]string `json:"scopes,omitempty"`
}

func (p *purpose) add(toolkitID, wanted string, scopes []string) {
	p.Toolkits = append(p.Toolkits, toolkitID)
	if wanted != "" {
		if p.Wanted == nil {
			p.Wanted = map[string]string{}
		}
		p.Wanted[toolkitID] = wanted
	}
	if len(scopes) > 0 {
		if p.Scopes == nil {
			p.Scopes = map[string]string{}
		}
		p.Scopes[toolkitID] = joined(scopes)
	}
}

// purposeOf is what an ask comes to, for a user who has what they have.
func (s *Service) purposeOf(ctx context.Context, who caller.Caller, ask Ask) (what purpose, err error) {
	what.Callback = ask.CallbackURL
	for _, id := range ask.Toolkits {
		wanted, err := s.wanted(ctx, who, id, ask.Account)
		if err != nil {
			return what, err
		}
		what.add(id, wanted, ask.Scopes)
	}
	return what, nil
}

// wanted is what a link notes as the account that it is for: "" is the first connection's,
// an id one that is there, and anything else one that is to come.
func (s *Service) wanted(ctx context.Context, who caller.Caller, toolkitID, name string) (string, error) {
	all, err := s.cfg.Vault.Accounts(ctx, connection.Key{Tenant: who.Tenant, User: who.User, Toolkit: toolkitID})
	if err != nil {
		return "", err
	}
	if name == "" && all.Nobody {
		return "", nil // whoever signs in with one that is there renews that, see settle
	}
	account, err := all.Pick(name)
	if _, none := errors.AsType[*connection.Unusable](err); none {
		return name, nil
	}
	return account, err // a further connection's is its id
}

// wantedName is what the agent calls the account that is to be connected; "" where it
// names none, or by an id, which tells people nothing.
func (p *part) wantedName() string {
	if connection.LooksLikeID(p.Wanted) {
		return ""
	}
	return p.Wanted
}

// plain reports whether it is one that the version before knows.
func (p purpose) plain() bool {
	return len(p.Toolkits) == 1 && p.Callback == "" && len(p.Wanted) == 0 && len(p.Scopes) == 0
}

// joined is the same for the same scopes, in whatever order.
func joined(scopes []string) string {
	all := slices.Sorted(slices.Values(scopes))
	return strings.Join(slices.Compact(all), " ")
}

// noteName is one and the same for what is asked in another order.
func noteName(who caller.Caller, what purpose) string {
	name := what.Toolkits[0]
	if !what.plain() {
		what.Toolkits = slices.Sorted(slices.Values(what.Toolkits))
		text, _ := json.Marshal(what)   // strings, which always can be
		name = "=" + hash(string(text)) // and no toolkit is called that
	}
	return vault.Name("link-for", who.Tenant, who.Agent, who.User, name)
}
