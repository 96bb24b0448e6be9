// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connection_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
)

func TestANameMeansOneConnectionOrNone(t *testing.T) {
	all := []connection.Choice{
		{ID: "conn_1", AccountLabel: "alice@work.example", Label: "Work"},
		{Account: "conn_2", ID: "conn_2", AccountLabel: "alice@home.example"},
		{Account: "conn_3", ID: "conn_3", AccountLabel: "old@home.example", Label: "alice@home.example"},
		{Account: "conn_4", ID: "conn_4", Label: "conn_2"}, // named to be taken for another
		{Account: "conn_5", ID: "conn_5"},
	}
	accounts := connection.Accounts{All: all, Default: "conn_2"}
	for name, want := range map[string]string{
		"": "conn_2", "conn_1": "", "work": "", "Alice@WORK.example": "", "conn_2": "conn_2", "conn_3": "conn_3", "conn_5": "conn_5",
		"old@home.example": "conn_3", "alice@home.example": "several", "nobody": "none", "conn": "none", "wor": "none",
	} {
		got, err := accounts.Pick(name)
		if several, ok := errors.AsType[*connection.Ambiguous](err); ok {
			if got = "several"; len(several.Choices) != 2 {
				t.Errorf("%q may mean %v", name, several.Choices)
			}
		} else if none, ok := errors.AsType[*connection.Unusable](err); ok && none.Reason == connection.NoConnection {
			got = "none"
		}
		if got != want {
			t.Errorf("%q means %q (%v), want %q", name, got, err, want)
		}
	}
}

// A provider lets people call themselves what they like.
func TestNoAccountIsNamedAfterAConnectionThatWasTakenAway(t *testing.T) {
	gone := "conn_ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	accounts := connection.Accounts{All: []connection.Choice{{ID: "conn_2", AccountLabel: gone, Label: gone}, {Account: "conn_3", ID: "conn_3", AccountLabel: "mi\u212ae"}}}
	for _, name := range []string{gone, "mike"} {
		if account, err := accounts.Pick(name); err == nil {
			t.Errorf("%s means %q", name, account)
		}
	}
	accounts.All[0].ID = gone
	if _, err := accounts.Pick(gone); err != nil {
		t.Errorf("by its id: %v", err)
	}
}

func TestNobodyGuessesWhereThereIsNoDefault(t *testing.T) {
	two := connection.Accounts{All: []connection.Choice{{Account: "conn_2", ID: "conn_2"}, {Account: "conn_3", ID: "conn_3"}}, Nobody: true}
	_, err := two.Pick("")
	if several, ok := errors.AsType[*connection.Ambiguous](err); !ok || len(several.Choices) != 2 {
		t.Errorf("picked with %v", err)
	}
	if got, err := two.Pick("conn_3"); err != nil || got != "conn_3" {
		t.Errorf("chosen: %q, %v", got, err)
	}
	_, err = connection.Accounts{}.Pick("")
	if none, ok := errors.AsType[*connection.Unusable](err); !ok || none.Status != connection.NotConnected {
		t.Errorf("with nothing: %v", err)
	}
}

func TestOnlyWhatWeMadeLooksLikeAnID(t *testing.T) {
	id := "conn_" + strings.Repeat("AZ27", 6) + "QQ"
	if !connection.LooksLikeID(id) {
		t.Errorf("%s does not", id)
	}
	for _, name := range []string{"", "conn_", "conn_1", id + "A", id[:len(id)-1], strings.ToLower(id), "c" + id, strings.Replace(id, "Q", "/", 1), strings.Replace(id, "Q", "1", 1)} {
		if connection.LooksLikeID(name) {
			t.Errorf("%q does", name)
		}
	}
}

func TestAccountsAreComparedOnlyWhereTheyCanBe(t *testing.T) {
	for _, c := range []struct {
		a, b        string
		same, known bool
	}{
		{"alice@x.example", "Alice@X.example", true, true}, {"alice@x.example", "bob@x.example", false, true}, {"alice", "bob", false, true},
		{"mike", "mi\u212ae", false, true}, {"alice\u017f@x.example", "alices@x.example", false, true}, // letters that others fold to k and s
		{"É", "é", false, true}, {"", "\u212a", false, false},
		{"alice", "alice@x.example", false, false}, {"", "alice", false, false}, {"alice", "", false, false}, {"", "", false, false},
	} {
		if same, known := connection.SameAccount(c.a, c.b); same != c.same || known != c.known {
			t.Errorf("%q and %q: %v, %v", c.a, c.b, same, known)
		}
	}
}
