// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"errors"
	"testing"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
)

// disconnectsFor has an agent take an account of Acme's away.
func (w *world) disconnectsFor(t *testing.T, who caller.Caller, toolkitID, account string) problem.Code {
	t.Helper()
	said, err := w.service.DisconnectFor(t.Context(), "request-1", who, toolkitID, account)
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p.Code
	}
	if err != nil || said == "" {
		t.Fatalf("%q, %v", said, err)
	}
	return ""
}

func TestAnAgentTakesAwayTheAccountThatItNames(t *testing.T) {
	w, _ := twoAccounts(t, withAgents(alice.Agent, otherBot.Agent))
	for account, who := range map[string]caller.Caller{"": otherBot, "bob@acme.example": otherBot, "nobody": alice} {
		if code := w.disconnectsFor(t, who, "acme", account); code != problem.NotFound || len(w.accounts().All) != 2 {
			t.Errorf("%q: %s, %+v", account, code, w.accounts())
		}
	}
	if code := w.disconnectsFor(t, alice, "acme", "bob@acme.example"); code != "" {
		t.Error(code)
	}
	left := w.accounts().All
	if len(left) != 1 || left[0].AccountLabel != "alice@acme.example" || len(w.gone) != 1 || w.gone[0].Account == "" {
		t.Errorf("left: %+v, told of %v", left, w.gone)
	}
	records := w.audit.lines
	if last := records[len(records)-1]; last.Event != "disconnected" || last.Agent != alice.Agent || last.RequestID != "request-1" {
		t.Errorf("%+v", last)
	}
	w.wantReported("disconnected")
}

func TestWhatAnAgentCannotTakeAway(t *testing.T) {
	w, _ := connected(t, func(cfg *connect.Config) {
		cfg.May = func(_ caller.Caller, id string) bool { return id != "other" }
	})
	for toolkitID, want := range map[string]problem.Code{"nope": problem.UnknownToolkit, "other": problem.ToolkitForbidden} {
		if code := w.disconnectsFor(t, alice, toolkitID, ""); code != want {
			t.Errorf("%s: %s", toolkitID, code)
		}
	}
	stranger := alice
	stranger.User = "user-2"
	if code := w.disconnectsFor(t, stranger, "acme", ""); code != problem.NotFound {
		t.Error(code)
	}
	w.store.failing("get", "connection")
	if code := w.disconnectsFor(t, alice, "acme", ""); code != problem.StorageUnavailable {
		t.Error(code)
	}
	w.store.works()
	if c := w.connection(); c.Status != connection.Active || len(w.gone) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestHowAConnectionStandsIsToldAsOverHTTP(t *testing.T) {
	w, _ := twoAccounts(t, withAgents(alice.Agent, otherBot.Agent))
	st, err := w.service.StandingOf(t.Context(), alice, "acme", "")
	if err != nil || st.Status != connection.Active || len(st.Others) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if st, err := w.service.StandingOf(t.Context(), otherBot, "acme", ""); err != nil || st.Status != connection.NotConnected || st.Reason != connection.NotApproved || st.ID != "" || st.Others[0].Label != "" {
		t.Errorf("%+v, %v", st, err)
	}
	if st, err := w.service.StandingOf(t.Context(), alice, "acme", "", "read", "admin"); err != nil || st.Status != connection.Insufficient {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := w.service.StandingOf(t.Context(), alice, "nope", ""); problem.Of(err).Code != problem.UnknownToolkit {
		t.Error(err)
	}
}
