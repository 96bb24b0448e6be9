// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connection_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
)

var statuses = []connection.Status{
	connection.NotConnected, connection.Added, connection.Pending, connection.Active, connection.Expired,
	connection.Insufficient, connection.Inactive, connection.Revoked, connection.Error,
}

// wanted is each status and each happening, by hand: a column for each status of above,
// by its first letter, and "-" where the happening is refused.
var wanted = map[connection.Happening]string{
	//                         n  a  p  A  E  I  O  R  X
	connection.Staged:       "a  -  -  -  -  -  -  -  -",
	connection.Opened:       "p  p  p  -  -  -  -  -  -",
	connection.Abandoned:    "-  -  a  -  -  -  -  -  -",
	connection.Granted:      "A  A  A  A  A  A  A  A  A",
	connection.Renewed:      "-  -  -  A  A  I  O  -  A",
	connection.RefreshEnded: "-  -  -  E  -  E  -  -  -",
	connection.TokenRefused: "-  -  -  X  -  X  -  -  -",
	connection.ScopeLacking: "-  -  -  I  -  I  -  -  -",
	connection.SwitchOff:    "-  -  -  O  -  O  -  -  O",
	connection.SwitchOn:     "-  -  -  -  -  -  A  -  -",
	connection.Withdrawn:    "-  -  -  R  R  R  R  -  R",
}

const letters = "napAEIORX"

func TestEveryStatusAndEveryHappening(t *testing.T) {
	at := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	for h, row := range wanted {
		for i, from := range statuses {
			letter := row[3*i]
			before := connection.Connection{ID: "conn_1", Status: from, Reason: "before"}
			after, err := before.After(h, "why", at)
			if letter == '-' {
				refused, ok := errors.AsType[*connection.TransitionError](err)
				if !ok || refused.From != from || refused.What != h || after.Status != from || after.Reason != "before" || !after.UpdatedAt.IsZero() {
					t.Errorf("%s while %s gives %s %q (%v), and should be refused", h, from, after.Status, after.Reason, err)
				}
				continue
			}
			want := connection.NotConnected
			for j := range letters {
				if letters[j] == letter {
					want = statuses[j]
				}
			}
			if err != nil || after.Status != want || after.Reason != "why" || !after.UpdatedAt.Equal(at) || after.ID != "conn_1" {
				t.Errorf("%s while %s gives %s %q (%v), want %s", h, from, after.Status, after.Reason, err, want)
			}
		}
	}
	if _, allowed := connection.Active.After("made_up"); allowed {
		t.Error("anything may happen")
	}
	if next, _ := connection.Status("").After(connection.Granted); next != connection.Active {
		t.Errorf("a new one is %s after it was granted", next)
	}
	if _, allowed := connection.Status("of a later version").After(connection.SwitchOn); allowed {
		t.Error("a status of a later version is left")
	}
}

// Whatever happens, in whatever order, a user who connects gets a connection that works,
// one that rests begins by nobody's doing but the user's, and none is back where nothing
// was granted.
func TestNoOrderOfHappeningsIsADeadEnd(t *testing.T) {
	random := rand.New(rand.NewPCG(20, 11))
	var happenings []connection.Happening
	for _, h := range []connection.Happening{
		connection.Staged, connection.Opened, connection.Abandoned, connection.Granted, connection.Renewed, connection.RefreshEnded,
		connection.TokenRefused, connection.ScopeLacking, connection.SwitchOff, connection.SwitchOn, connection.Withdrawn,
	} {
		if _, ok := wanted[h]; !ok {
			t.Fatalf("%s is not in the table of this test", h)
		}
		happenings = append(happenings, h)
	}
	for range 2000 {
		status, granted := connection.NotConnected, false
		for range 20 {
			h := happenings[random.IntN(len(happenings))]
			next, allowed := status.After(h)
			if !allowed {
				continue
			}
			granted = granted || h == connection.Granted
			if early := next == connection.NotConnected || next == connection.Added || next == connection.Pending; granted && early {
				t.Fatalf("%s while %s: back to %s", h, status, next)
			}
			if status == connection.Inactive && next == connection.Active && h != connection.SwitchOn && h != connection.Granted {
				t.Fatalf("%s ends a rest", h)
			}
			status = next
		}
		if next, allowed := status.After(connection.Granted); !allowed || next != connection.Active {
			t.Fatalf("who connects while %s gets %s", status, next)
		}
	}
}
