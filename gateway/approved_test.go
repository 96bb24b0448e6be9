// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/problem"
)

// onlyFor has ada's connection be for these agents.
func onlyFor(w *gatewaytest.World, agents ...string) {
	w.Credentials.Change("ada", "acme", func(c *connection.Connection) {
		c.Agents, c.AccountLabel = append([]string{}, agents...), "ada@acme.example"
	})
}

func TestAnAgentThatItsUserHasNotApprovedGetsALinkAndNothingElse(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	onlyFor(w, "clerk")
	res, body := w.Get("/acme/user")
	got := refused(t, w, res, body, verdict{403, "auth_required", "authorize", "agent_not_approved"})
	nothingLeft(t, w)
	if n := w.Credentials.Given(); n != 0 {
		t.Errorf("%d tokens were got for it", n)
	}
	if got.ConnectURL == "" || got.Connection.Status != "not_connected" || got.Connection.Reason != "agent_not_approved" || got.Retry.When != "connected" || !strings.Contains(got.Detail, "to allow it") {
		t.Errorf("said %s", body)
	}
	if strings.Contains(body, "ada@acme.example") || strings.Contains(body, "clerk") {
		t.Errorf("the refusal tells what is not this agent's business: %s", body)
	}
	onlyFor(w, "clerk", "bot")
	if res, body := w.Get("/acme/user"); res.StatusCode != 200 {
		t.Errorf("once it is approved: %d %s", res.StatusCode, body)
	}
}

func TestWhoMayUseAConnection(t *testing.T) {
	alone := func(cfg *gateway.Config) { cfg.Agents = cfg.Agents[:1] }
	elsewhere := func(cfg *gateway.Config) { cfg.Agents[1].Tenant = "other" }
	local := func(cfg *gateway.Config) { cfg.Agents = nil }
	for name, c := range map[string]struct {
		edit           func(*gateway.Config)
		agents, barred []string
		may            bool
	}{
		"a record from before":                {nil, nil, nil, true},
		"nobody":                              {nil, []string{}, nil, false},
		"it":                                  {nil, []string{"bot"}, nil, true},
		"another one":                         {nil, []string{"clerk"}, nil, false},
		"another by a longer name":            {nil, []string{"bot2", "Bot"}, nil, false},
		"another one, and it is the only one": {alone, []string{"clerk"}, nil, true},
		"another one, and others are of another tenant": {elsewhere, []string{"clerk"}, nil, true},
		"another one, and none is configured":           {local, []string{"clerk"}, nil, true},
		"the user took it back":                         {nil, []string{}, []string{"bot"}, false},
		"taken back from the only one":                  {alone, []string{}, []string{"bot"}, false},
		"taken back from another one":                   {alone, []string{}, []string{"clerk"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{Edit: c.edit})
			w.Credentials.Change("ada", "acme", func(conn *connection.Connection) { conn.Agents, conn.Barred = c.agents, c.barred })
			r := w.Request("GET", w.H1+"/acme/user", nil)
			if name == "another one, and none is configured" {
				r.Header.Del("X-Toolgate-Key")
			}
			if res, body := w.Do(r); (res.StatusCode == 200) != c.may {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
}

// What is renewed on the way may be another record by then.
func TestARightThatIsTakenBackWhileATokenIsRenewedIsNotUsed(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	onlyFor(w, "bot")
	calls := 0
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		calls++
		onlyFor(w)
		rw.WriteHeader(http.StatusUnauthorized)
	})
	res, body := w.Get("/acme/user")
	refused(t, w, res, body, verdict{403, "auth_required", "send", "agent_not_approved"})
	if calls != 1 {
		t.Errorf("the provider was called %d times", calls)
	}
}

func TestTheChoiceOfAccountsNamesNoneThatTheAgentMayNotUse(t *testing.T) {
	w := twoAccounts(t)
	w.Credentials.Add("ada", w.Toolkits["acme"], "conn_club", "ada@club.example", "gho_marker-club-token")
	w.Credentials.ChangeAccount("ada", "acme", "conn_club", func(c *connection.Connection) { c.Agents = []string{"clerk"} })
	w.Credentials.Drop("ada", "acme")
	res, body := w.Get("/acme/user")
	refused(t, w, res, body, verdict{409, "multiple_connections", "authorize", "x-account"})
	var list struct{ Connections []map[string]string }
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Connections) != 2 || list.Connections[0]["id"] != "conn_club" || list.Connections[0]["label"] != "" || list.Connections[1]["label"] != "ada@home.example" {
		t.Errorf("%v in %s", err, body)
	}
}

func TestTheAgentsThatMayActForAUser(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	for _, c := range []struct {
		tenant, user, toolkit string
		want                  []string
	}{
		{"default", "ada", "weather", []string{"bot", "clerk"}},
		{"default", "ada", "acme", []string{"bot"}},
		{"default", "eve", "weather", []string{"bot"}},
		{"other", "ada", "weather", nil},
	} {
		if got := w.Gateway.Entitled(c.tenant, c.user, c.toolkit); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestAWebSocketEndsWithTheRightOfItsOwnAgent(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	provider := switching(w, "websocket")
	agent := w.Dial()
	_, _ = io.WriteString(agent, upgrade)
	from := bufio.NewReader(agent)
	res, err := http.ReadResponse(from, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	side := <-provider
	gatewaytest.Hears(t, from, "hello")
	key := connection.Key{Tenant: "default", User: "ada", Toolkit: "acme"}
	w.Gateway.Withdraw(key, "clerk")
	_, _ = io.WriteString(side, "still here")
	gatewaytest.Hears(t, from, "still here")
	w.Gateway.Withdraw(key, "bot")
	if _, err := from.ReadByte(); err == nil {
		t.Error("the agent is still connected")
	}
}

func TestAStreamOfEventsEndsWithTheRightOfItsAgent(t *testing.T) {
	for name, take := range map[string]func(*gateway.Gateway, connection.Key){
		"the agent's":    func(g *gateway.Gateway, k connection.Key) { g.Withdraw(k, "bot") },
		"the connection": func(g *gateway.Gateway, k connection.Key) { g.Disconnect(k) },
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			gone, more := make(chan struct{}), make(chan struct{})
			w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
				_, _ = io.WriteString(rw, "data: 1\n\n")
				_ = http.NewResponseController(rw).Flush()
				<-more
				_, _ = io.WriteString(rw, "data: 2\n\n")
				_ = http.NewResponseController(rw).Flush()
				<-r.Context().Done()
				close(gone)
			})
			res, err := w.Client.Do(w.Request("GET", w.H1+"/acme/events", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			from := bufio.NewReader(res.Body)
			gatewaytest.Hears(t, from, "data: 1\n\n")
			key := connection.Key{Tenant: "default", User: "ada", Toolkit: "acme"}
			w.Gateway.Withdraw(key, "clerk")
			w.Gateway.Close() // which ends no answer: the server waits for those
			close(more)
			gatewaytest.Hears(t, from, "data: 2\n\n")
			take(w.Gateway, key)
			if _, err := from.ReadByte(); err == nil || err == io.EOF {
				t.Errorf("the agent sees %v, and should see a broken answer", err)
			}
			<-gone
		})
	}
}

// A right that is taken back while the provider is asked: here, of which the gateway is
// told, or at another gateway, whose word comes too early for what is not open yet.
func TestNothingOpensWithARightThatWasTakenBackMeanwhile(t *testing.T) {
	for name, back := range map[string]func(*gatewaytest.World){
		"here": func(w *gatewaytest.World) {
			w.Gateway.Withdraw(connection.Key{Tenant: "default", User: "ada", Toolkit: "acme"}, "bot")
		},
		"elsewhere":               func(w *gatewaytest.World) { onlyFor(w, "clerk") },
		"with all of it":          func(w *gatewaytest.World) { w.Credentials.Drop("ada", "acme") },
		"what is another agent's": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			if back == nil {
				back = func(w *gatewaytest.World) {
					onlyFor(w, "bot")
					w.Gateway.Withdraw(connection.Key{Tenant: "default", User: "ada", Toolkit: "acme"}, "clerk")
				}
			}
			opens := name == "what is another agent's"
			w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
				back(w)
				rw.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(rw, "data: 1\n\n")
			})
			if res, err := w.Client.Do(w.Request("GET", w.H1+"/acme/events", nil)); err == nil {
				text, err := io.ReadAll(res.Body)
				if res.Body.Close(); opens != (err == nil && string(text) == "data: 1\n\n") {
					t.Errorf("a stream: the agent got %q, %v", text, err)
				}
			} else if opens {
				t.Error(err)
			}
			w.Credentials.Connect("ada", w.Toolkits["acme"], gatewaytest.UserToken)
			w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
				back(w)
				conn, _, err := http.NewResponseController(rw).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
				_, _ = io.Copy(io.Discard, conn)
			})
			agent := w.Dial()
			_, _ = io.WriteString(agent, upgrade)
			res, err := http.ReadResponse(bufio.NewReader(agent), nil)
			if opened := err == nil && res.StatusCode == http.StatusSwitchingProtocols; opened != opens {
				t.Errorf("a WebSocket opened: %v, %v", opened, err)
			}
		})
	}
}

// A store that is away just then is no reason to end anything.
func TestWhatOpensGoesOnWhileNobodyCanTell(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		w.Credentials.Fail(problem.New(problem.StorageUnavailable, "store", "away"), nil)
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: 1\n\n")
	})
	if res, body := w.Get("/acme/events"); res.StatusCode != 200 || body != "data: 1\n\n" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// While the process stops, the server still answers what has come.
func TestAStreamThatBeginsWhileTheGatewayStopsIsServed(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		w.Gateway.Close()
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: 1\n\n")
	})
	if res, body := w.Get("/acme/events"); res.StatusCode != 200 || body != "data: 1\n\n" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// What another gateway has changed is looked at again, and what may go on does.
func TestWhatGoesOnOverAConnectionIsLookedAtAgain(t *testing.T) {
	id := "con_ada"
	for name, c := range map[string]struct {
		change func(*connection.Connection)
		ends   bool
	}{
		"renewed":            {func(c *connection.Connection) { c.Version = 9 }, false},
		"expired":            {func(c *connection.Connection) { c.Status = connection.Expired }, false},
		"for it still":       {func(c *connection.Connection) { c.Agents = []string{"bot"} }, false},
		"for another one":    {func(c *connection.Connection) { c.Agents = []string{"clerk"} }, true},
		"taken back":         {func(c *connection.Connection) { c.Barred = []string{"bot"} }, true},
		"switched off":       {func(c *connection.Connection) { c.Status = connection.Inactive }, true},
		"revoked":            {func(c *connection.Connection) { c.Status = connection.Revoked }, true},
		"limited to reading": {func(c *connection.Connection) { c.ReadOnly = true }, true},
		"made anew":          {func(c *connection.Connection) { c.ID = "con_new" }, true},
		"of another account": {func(c *connection.Connection) { c.Key.Account, c.Agents = "conn_home", []string{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			now := connection.Connection{Key: connection.Key{Tenant: "default", User: "ada", Toolkit: "acme"}, ID: id, Status: connection.Active}
			if w.Gateway.Uses(now.Key) {
				t.Error("something goes on before it began")
			}
			provider := switching(w, "websocket")
			agent := w.Dial()
			_, _ = io.WriteString(agent, upgrade)
			from := bufio.NewReader(agent)
			if res, err := http.ReadResponse(from, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%v, %v", res, err)
			}
			side := <-provider
			gatewaytest.Hears(t, from, "hello")
			if !w.Gateway.Uses(now.Key) {
				t.Error("nothing goes on")
			}
			c.change(&now)
			w.Gateway.Recheck(now)
			if !c.ends {
				_, _ = io.WriteString(side, "still here")
				gatewaytest.Hears(t, from, "still here")
			} else if _, err := from.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the agent is still connected")
			}
		})
	}
}
