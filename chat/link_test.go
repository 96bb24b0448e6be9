// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/chat"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
)

type args = map[string]any

func TestAClientOfEitherEraGetsALinkAndIsConnected(t *testing.T) {
	for _, era := range []string{modern, legacy, "2025-06-18"} {
		t.Run(era, func(t *testing.T) {
			w := newWorld(t)
			s := w.client(t, era, "alice", nil)
			if got := s.InitializeResult().ProtocolVersion; got != era {
				t.Fatalf("it speaks %s", got)
			}
			a := use(t, s, "get_authentication_link", args{"toolkits": []string{"acme"}})
			if a.Status != "authentication_needed" || a.ConnectURL != public+"/connect/c_alice" || !strings.Contains(a.Message, a.ConnectURL) || len(a.Unauthenticated) != 1 || a.ExpiresAt == "" {
				t.Errorf("%+v", a)
			}
			w.stands("alice/acme", active(), false)
			if a := use(t, s, "wait_for_connection", args{"toolkit": "acme"}); a.Status != "active" {
				t.Errorf("%+v", a)
			}
			if a := use(t, s, "get_authentication_link", args{"toolkits": []string{"acme"}}); a.Status != "fully_authenticated" || a.ConnectURL != "" || len(a.Unauthenticated) != 0 {
				t.Errorf("%+v", a)
			}
			bob := w.client(t, era, "bob", nil)
			if a := use(t, bob, "get_authentication_link", args{"toolkits": []string{"acme"}}); a.ConnectURL != public+"/connect/c_bob" {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestOneLinkIsForAllThatIsMissing(t *testing.T) {
	w := newWorld(t)
	s := w.client(t, modern, "alice", nil)
	w.stands("alice/acme", active(), false)
	a := use(t, s, "get_authentication_link", nil)
	if a.Status != "authentication_needed" || strings.Join(a.Unauthenticated, " ") != "beta" || len(a.Connections) != 2 || a.Connections[0].ConnectURL != "" || a.Connections[1].ConnectURL != a.ConnectURL {
		t.Errorf("%+v", a)
	}
	w.stands("alice/acme", chat.Standing{Status: connection.Expired, Reason: connection.RefreshRejected}, false)
	a = use(t, s, "get_authentication_link", args{"toolkits": []string{"acme", "beta", "weather", "acme"}})
	if got := w.links[len(w.links)-1]; strings.Join(got.Toolkits, " ") != "acme beta" || !strings.Contains(a.Message, "Acme and Beta") {
		t.Errorf("%+v %+v", got, a)
	}
}

func TestWhereNothingIsToBeConnectedThereIsNoLink(t *testing.T) {
	w := newWorld(t)
	s := w.client(t, modern, "alice", nil)
	if a := use(t, s, "get_authentication_link", args{"toolkits": []string{"weather"}}); a.Status != "no_auth_required" || a.ConnectURL != "" {
		t.Errorf("%+v", a)
	}
	w.stands("alice/acme", chat.Standing{Status: connection.Inactive, Reason: connection.SwitchedOff}, false)
	for _, in := range []args{{"toolkits": []string{"acme"}}, {"toolkits": []string{"acme"}, "reconnect": true}} {
		a := use(t, s, "get_authentication_link", in)
		if a.Status != "authentication_needed" || a.ConnectURL != "" || !strings.Contains(a.Message, "switched that off") || !strings.Contains(a.Message, public+"/connections") {
			t.Errorf("%+v", a)
		}
	}
	if len(w.links) != 0 {
		t.Errorf("links: %+v", w.links)
	}
}

func TestReconnectGivesALinkAlthoughItIsConnected(t *testing.T) {
	w := newWorld(t)
	s := w.client(t, modern, "alice", nil)
	w.stands("alice/acme", active(), false)
	if a := use(t, s, "get_authentication_link", args{"toolkits": []string{"acme"}, "reconnect": true}); a.ConnectURL == "" || a.Status != "authentication_needed" {
		t.Errorf("%+v", a)
	}
}

func TestAnAccountIsOfOneToolkit(t *testing.T) {
	w := newWorld(t)
	s := w.client(t, modern, "alice", nil)
	if a := use(t, s, "get_authentication_link", args{"account": "work"}); !strings.Contains(a.refused, "one toolkit") {
		t.Errorf("%+v", a)
	}
	use(t, s, "get_authentication_link", args{"toolkits": []string{"acme"}, "account": "work"})
	if got := w.links[0]; got.Account != "work" {
		t.Errorf("%+v", got)
	}
}

func TestSeveralAccountsAreNoReasonToConnectAnything(t *testing.T) {
	w := newWorld(t)
	s := w.client(t, modern, "alice", nil)
	p := problem.New(problem.SeveralAccounts, "account", "Several.")
	p.Choices = []problem.Choice{{ID: "conn_A", Label: "home", Status: "active"}, {ID: "conn_B", Label: "work", Status: "expired"}}
	w.err = p
	if a := use(t, s, "get_authentication_link", args{"toolkits": []string{"acme"}}); a.Status != "fully_authenticated" || a.Connections[0].Reason != "multiple_connections" {
		t.Errorf("%+v", a)
	}
	if a := use(t, s, "list_connections", args{"toolkits": []string{"acme"}}); len(a.Connections) != 2 || a.Connections[1].Account != "work" || a.Connections[1].Status != "expired" {
		t.Errorf("%+v", a)
	}
	if a := use(t, s, "wait_for_connection", args{"toolkit": "acme", "account": "o"}); !strings.Contains(a.refused, "conn_A (home); conn_B (work)") {
		t.Errorf("%+v", a)
	}
}

func TestWhatIsRefusedIsSaidToTheModel(t *testing.T) {
	w := newWorld(t)
	w.may = func(id string) bool { return id != "beta" }
	s := w.client(t, modern, "alice", nil)
	for tool, in := range map[string]args{"get_authentication_link": {"toolkits": []string{"nope"}}, "list_connections": {"toolkits": []string{"nope"}}, "wait_for_connection": {"toolkit": "nope"}} {
		if a := use(t, s, tool, in); !strings.Contains(a.refused, "There are: acme, weather.") || !strings.Contains(a.refused, "code: unknown_toolkit") {
			t.Errorf("%s: %+v", tool, a)
		}
	}
	if a := use(t, s, "get_authentication_link", args{"toolkits": []string{"beta"}}); !strings.Contains(a.refused, "toolkit_not_allowed") {
		t.Errorf("%+v", a)
	}
	if a := use(t, s, "list_connections", nil); len(a.Connections) != 1 {
		t.Errorf("%+v", a)
	}
}

func TestNoToolTakesAUser(t *testing.T) {
	w := newWorld(t, func(c *chat.Config) { c.Disconnect, c.Calls = true, &chat.Calls{} })
	s := w.client(t, modern, "alice", nil)
	for tool, in := range map[string]args{
		"get_authentication_link": {"toolkits": []string{"acme"}}, "list_connections": {}, "wait_for_connection": {"toolkit": "acme"},
		"disconnect": {"toolkit": "acme"}, "http_request": {"toolkit": "acme", "method": "GET", "path": "/"},
	} {
		for _, name := range []string{"user", "user_id", "tenant", "agent", "X-User-Id"} {
			in[name] = "bob"
			if a := use(t, s, tool, in); a.refused == "" || w.looks != 0 || len(w.gone) != 0 {
				t.Errorf("%s takes %s: %+v", tool, name, a)
			}
			delete(in, name)
		}
	}
}

func TestAWaitEndsWhenItHearsOfAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.client(t, modern, "alice", nil)
		began := time.Now()
		go func() {
			time.Sleep(7500 * time.Millisecond)
			w.stands("alice/acme", active(), true)
		}()
		a := use(t, s, "wait_for_connection", args{"toolkit": "acme"})
		if took := time.Since(began); a.Status != "active" || took != 7500*time.Millisecond {
			t.Errorf("after %v: %+v", took, a)
		}
		if len(w.watchers) != 0 {
			t.Error("somebody still watches")
		}
		_ = s.Close()
	})
}

func TestAWaitLooksNowAndThenAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.client(t, legacy, "alice", nil)
		for _, c := range []struct {
			in    args
			limit time.Duration
		}{{args{"toolkit": "acme"}, 25 * time.Second}, {args{"toolkit": "acme", "timeout_seconds": 3}, 3 * time.Second}} {
			began, before := time.Now(), w.looked()
			a := use(t, s, "wait_for_connection", c.in)
			if took, looks := time.Since(began), w.looked()-before; took != c.limit || a.Status != "not_connected" || looks > 7 {
				t.Errorf("after %v and %d looks: %+v", took, looks, a)
			}
		}
		// What nobody tells is seen all the same.
		go func() {
			time.Sleep(6 * time.Second)
			w.stands("alice/acme", active(), false)
		}()
		began := time.Now()
		if a := use(t, s, "wait_for_connection", args{"toolkit": "acme"}); a.Status != "active" || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), a)
		}
		for _, seconds := range []int{0, 26, -1} {
			if a := use(t, s, "wait_for_connection", args{"toolkit": "acme", "timeout_seconds": seconds}); a.refused == "" {
				t.Errorf("%d seconds: %+v", seconds, a)
			}
		}
		_ = s.Close()
	})
}
