// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkIdentity refuses an ID token that nobody would send, and one that should do what
// only a call can.
func (t *Toolkit) checkIdentity() error {
	switch id := t.Identity; {
	case id == nil || !id.IDToken:
		return nil
	case id.Path != "":
		return errors.New("identity is a path or id_token, not both")
	case t.OAuth == nil:
		return errors.New("identity id_token is for oauth2: no other way of signing in brings one")
	case !slices.Contains(t.OAuth.Scopes, "openid"):
		return errors.New("identity id_token needs the scope openid, without which the provider sends none")
	case len(t.Claimed()) > 0:
		return errors.New("identity has to be a call here: it proves what a callback says")
	}
	return nil
}

// checkExpected refuses patterns that would let any account in, or none.
func (d Definition) checkExpected() error {
	if len(d.ExpectAccount) > 0 && d.Identity == nil {
		return errors.New("expect_account needs identity, which names the account")
	}
	for _, pattern := range d.ExpectAccount {
		rest := strings.TrimPrefix(pattern, "*")
		if rest == "" || strings.ContainsAny(strings.ReplaceAll(rest, "{user}", ""), "*{}") {
			return fmt.Errorf("expect_account %q: an account, {user} or both, with a * at most at the start, please, such as *@example.com", pattern)
		}
	}
	return nil
}

// Expects reports whether an account, by the name that the provider gives it, may be
// connected for the user. Case does not count: providers show addresses as people wrote
// them.
func (t *Toolkit) Expects(account, user string) bool {
	if len(t.ExpectAccount) == 0 {
		return true
	}
	account = lower(account)
	for _, pattern := range t.ExpectAccount {
		rest, wild := strings.CutPrefix(pattern, "*") // before the user's id is put in
		rest = lower(strings.ReplaceAll(rest, "{user}", user))
		if account != "" && (!wild && account == rest || wild && len(account) > len(rest) && strings.HasSuffix(account, rest)) {
			return true
		}
	}
	return false
}
