// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
)

// calledBy is a world whose provider says that everybody is called what name holds.
func calledBy(t *testing.T, name *string) *world {
	return newWorld(t, behindASite, func(cfg *connect.Config) {
		e := cfg.Toolkits["acme"]
		e.Upstream = upstream(func(*http.Request) (*http.Response, error) {
			return says(http.StatusOK, `{"email":"`+*name+`"}`), nil
		})
		cfg.Toolkits["acme"] = e
	})
}

// lookalikes are names of pairs of accounts that a careless comparison takes for one.
var lookalikes = map[string][2]string{
	"a Kelvin sign":                  {"mike@acme.example", "mi\u212ae@acme.example"},
	"a long s":                       {"alices@acme.example", "alice\u017f@acme.example"},
	"a space of no width":            {"alice@acme.example", "al\u200bice@acme.example"},
	"two that cannot be shown":       {"al\u200bice@acme.example", "al\u200cice@acme.example"},
	"spelled out by hand":            {"al\u200bice@acme.example", "al\ufffd200bice@acme.example"},
	"the same beginning":             {"a@" + strings.Repeat("a", 120) + ".example", "a@" + strings.Repeat("a", 120) + ".evil.example"},
	"cut off at what is spelled out": {"a@" + strings.Repeat("a", 85) + "\u200b" + strings.Repeat("b", 40), "a@" + strings.Repeat("a", 85) + "\u200b" + strings.Repeat("c", 40)},
}

func TestAnAccountThatLooksLikeAnotherIsAnother(t *testing.T) {
	for why, names := range lookalikes {
		t.Run(why, func(t *testing.T) {
			name := names[0]
			w := calledBy(t, &name)
			newBrowserAs(w, alice.User).connect(w.link(alice), "alice")
			before := w.connection()
			name = names[1]
			p := newBrowserAs(w, alice.User).connect(w.link(alice), "bob")
			p.says(t, "another account than the one that is connected here")
			// And as a further one it does not come into the first one's place.
			newBrowserAs(w, alice.User).connect(w.linkTo("other"), "bob")
			if now := w.connection(); now.Version != before.Version || !now.AccessToken.Equal(before.AccessToken) {
				t.Errorf("the first was %+v and is %+v", before, now)
			}
			if other := w.named("other"); other.Key == aliceKey || connection.SameName(other.AccountLabel, before.AccountLabel) {
				t.Errorf("%q and %q", before.AccountLabel, other.AccountLabel)
			}
		})
	}
}

func TestAnAccountThatIsMadeToLookExpectedIsNotKept(t *testing.T) {
	for _, hostile := range []string{
		strings.Repeat("x", 107) + "@acme.example" + ".evil.example", // cut off, it ends as it should
		"mallory@acme.exa\u200bmple",
		"mallory@ac\u00adme.example",
	} {
		w := calledBy(t, &hostile)
		w.cfg.Toolkits["acme"].Toolkit.ExpectAccount = []string{"*@acme.example"}
		p := newBrowserAs(w, alice.User).connect(w.link(alice), "alice")
		p.says(t, "not the one that is expected")
		w.notConnected()
	}
}
