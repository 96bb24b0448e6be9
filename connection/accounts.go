// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"fmt"
	"slices"
	"strings"
)

// A user may have several connections to one toolkit, each to another account. The
// first one stands where the only one stood before there could be more: its key has no
// account. A further one has its id there, which never changes.

// Choice is one of a user's connections to a toolkit, as far as it takes to choose it.
type Choice struct {
	Account string // as in its key
	ID      string
	// Label is what the user or the agent calls it, AccountLabel what the provider does.
	Label, AccountLabel string
	Status              Status

	agents, barred []string // see Connection
}

// Name is what to call it in front of people; "" where it has no name.
func (c Choice) Name() string {
	if c.Label != "" {
		return c.Label
	}
	return c.AccountLabel
}

// Choice gives what there is of c to choose it by.
func (c Connection) Choice() Choice {
	return Choice{Account: c.Key.Account, ID: c.ID, Label: c.Label, AccountLabel: c.AccountLabel, Status: c.Status, agents: c.Agents, barred: c.Barred}
}

// Means reports whether somebody who says name may mean c. What looks like an id is one:
// of a connection that was taken away, maybe, and no account may be called like it to get
// the calls that were meant for that one.
func (c Choice) Means(name string) bool {
	if name == "" || LooksLikeID(name) {
		return name != "" && c.ID == name
	}
	return c.ID == name || SameName(c.Label, name) || SameName(c.AccountLabel, name)
}

// SameName compares names of accounts. Case does not count: providers show addresses as
// people wrote them. That is so for ASCII alone: to strings.EqualFold, a Kelvin sign is a
// k, and at a provider the two may be names of two people.
func SameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Accounts are all connections of one user to one toolkit.
type Accounts struct {
	All []Choice
	// Default is the account, as in All, of calls that name none; Nobody where the
	// user has to choose one first.
	Default string
	Nobody  bool
}

// Pick gives the account, as in a key, that name means; name "" means the default. The
// error is an [*Unusable] where there is none, and an [*Ambiguous] where there are
// several. Never is one taken for another.
func (a Accounts) Pick(name string) (account string, err error) {
	if len(a.All) == 0 {
		return "", &Unusable{Status: NotConnected, Reason: NoConnection}
	}
	if name == "" {
		if a.Nobody {
			return "", &Ambiguous{a.All}
		}
		return a.Default, nil
	}
	if i := slices.IndexFunc(a.All, func(c Choice) bool { return c.ID == name }); i >= 0 {
		return a.All[i].Account, nil // no label stands in an id's way
	}
	var meant []Choice
	for _, c := range a.All {
		if c.Means(name) {
			meant = append(meant, c)
		}
	}
	switch len(meant) {
	case 0:
		return "", &Unusable{Status: NotConnected, Reason: NoConnection}
	case 1:
		return meant[0].Account, nil
	}
	return "", &Ambiguous{meant}
}

// Ambiguous says that several connections may be meant, and which. It is for who
// called to choose, and for nobody else to guess.
type Ambiguous struct {
	Choices []Choice
}

// Error implements error.
func (e *Ambiguous) Error() string {
	return fmt.Sprintf("%d connections, and none is chosen", len(e.Choices))
}

const (
	idPrefix = "conn_"
	idRandom = 26 // crypto/rand.Text
)

// LooksLikeID reports whether name has the form of a connection's id.
func LooksLikeID(name string) bool {
	random, ok := strings.CutPrefix(name, idPrefix)
	return ok && len(random) == idRandom && !strings.ContainsFunc(random, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '2' || r > '7')
	})
}

// SameAccount compares two names that a provider, or somebody else, gives to accounts.
// known is false where they cannot be compared: one is an e-mail address, say, and the
// other a login, or one is missing.
func SameAccount(a, b string) (same, known bool) {
	if a == "" || b == "" || strings.Contains(a, "@") != strings.Contains(b, "@") {
		return false, false
	}
	return SameName(a, b), true
}
