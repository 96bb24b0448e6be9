// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"errors"
	"fmt"
	"strings"
)

// checkExpected refuses patterns that would let any account in, or none.
func (d Definition) checkExpected() error {
	if len(d.ExpectAccount) > 0 && d.Identity == nil {
		return errors.New("expect_account needs identity, the call that names the account")
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
	account = strings.ToLower(account)
	for _, pattern := range t.ExpectAccount {
		rest, wild := strings.CutPrefix(pattern, "*") // before the user's id is put in
		rest = strings.ToLower(strings.ReplaceAll(rest, "{user}", user))
		if account != "" && (!wild && account == rest || wild && len(account) > len(rest) && strings.HasSuffix(account, rest)) {
			return true
		}
	}
	return false
}
