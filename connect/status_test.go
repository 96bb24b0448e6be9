// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// status asks how alice's connection stands. The answer is a status or a refusal.
func (w *world) status(t *testing.T, method, toolkitID string) (answer statusAnswer, res *http.Response) {
	t.Helper()
	r := httptest.NewRequest(method, public+"/v1/connections/"+toolkitID, nil)
	r.Header.Set("X-User-Id", alice.User)
	writes := w.store.writes
	res = w.serve(r)
	if w.store.writes != writes {
		t.Error("asking has changed the store")
	}
	if method != http.MethodGet && method != http.MethodHead {
		return answer, res
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		t.Errorf("headers: %v", res.Header)
	}
	return answer, res
}

type statusAnswer struct {
	Toolkit       problem.Toolkit
	User          string
	Status        json.RawMessage // a word or, in a refusal, a number
	Reason        string
	ID            string
	Account       string
	Others        []problem.Choice
	Connections   []problem.Choice
	Scopes        []string
	ScopesMissing []string `json:"scopes_missing"`
	Degraded      bool
	ReadOnly      bool      `json:"read_only"`
	Updated       time.Time `json:"updated_at"`

	Code, Detail, Rule, Step string
	RequestID                string `json:"request_id"`
}

func (w *world) wantStatus(t *testing.T, status connection.Status, reason connection.Reason) statusAnswer {
	t.Helper()
	answer, res := w.status(t, http.MethodGet, "acme")
	if res.StatusCode != http.StatusOK || string(answer.Status) != `"`+string(status)+`"` || answer.Reason != string(reason) {
		t.Errorf("got %d %s %q, want %s %q", res.StatusCode, answer.Status, answer.Reason, status, reason)
	}
	return answer
}

func TestTheStatusFollowsTheUser(t *testing.T) {
	w := newWorld(t)
	w.wantStatus(t, connection.NotConnected, connection.NoConnection)
	b, link := newBrowser(w), w.link(alice)
	form := b.get(link)
	w.wantStatus(t, connection.NotConnected, connection.NoConnection)
	atAcme := b.press(form)
	w.wantStatus(t, connection.Pending, connection.ConnectPending)
	b.get(comeBack(t, atAcme.address, "error", "access_denied"))
	w.wantStatus(t, connection.NotConnected, connection.NoConnection)
	b.toProvider(link)
	w.wantStatus(t, connection.Pending, connection.ConnectPending)
	w.clock.pass(10 * time.Minute) // the user went to lunch
	w.wantStatus(t, connection.NotConnected, connection.NoConnection)
	b.connect(link, "alice")
	answer := w.wantStatus(t, connection.Active, "")
	if answer.Account != "alice@acme.example" || answer.User != "user-1" || answer.Toolkit != (problem.Toolkit{ID: "acme", Name: "Acme"}) ||
		strings.Join(answer.Scopes, " ") != "offline_access read" || !answer.Updated.Equal(w.clock.now()) {
		t.Errorf("got %+v", answer)
	}
}

func TestSomebodyAtTheProviderIsPendingEvenWhenTheLinkHasEnded(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	w.clock.pass(14 * time.Minute)
	b.toProvider(link)
	w.clock.pass(9 * time.Minute)
	w.wantStatus(t, connection.Pending, connection.ConnectPending)
}

func TestEachStatusIsShownAsACallWouldMeetIt(t *testing.T) {
	good := connection.Connection{
		Key: aliceKey, Status: connection.Active, AccessToken: secret.New("a"), RefreshToken: secret.New("r"),
		Granted: connection.Grantee{Issuer: acmeURL, ClientID: "toolgate", Hosts: []string{acmeURL}},
	}
	for _, c := range []struct {
		name   string
		change func(c *connection.Connection)
		status connection.Status
		reason connection.Reason
	}{
		{"active", func(*connection.Connection) {}, connection.Active, ""},
		{"expired", func(c *connection.Connection) { c.Status, c.Reason = connection.Expired, connection.RefreshRejected }, connection.Expired, connection.RefreshRejected},
		{"switched off", func(c *connection.Connection) { c.Status, c.Reason = connection.Inactive, connection.SwitchedOff }, connection.Inactive, connection.SwitchedOff},
		{"revoked", func(c *connection.Connection) { c.Status, c.Reason = connection.Revoked, connection.TakenBack }, connection.Revoked, connection.TakenBack},
		{"refused by the provider", func(c *connection.Connection) { c.Status, c.Reason = connection.Error, connection.ProviderRejected }, connection.Error, connection.ProviderRejected},
		{"too little", func(c *connection.Connection) { c.Status = connection.Insufficient }, connection.Insufficient, ""},
		{"stale, but it can be renewed", func(c *connection.Connection) { c.ExpiresAt = time.Unix(1, 0) }, connection.Active, ""},
		{"stale for good", func(c *connection.Connection) { c.ExpiresAt, c.RefreshToken = time.Unix(1, 0), secret.String{} }, connection.Expired, connection.NoRefreshToken},
		{"for another client", func(c *connection.Connection) { c.Granted.ClientID = "old" }, connection.NotConnected, connection.GrantMoved},
		{"for another issuer", func(c *connection.Connection) { c.Granted.Issuer = "https://old.example" }, connection.NotConnected, connection.GrantMoved},
		{"for another host", func(c *connection.Connection) { c.Granted.Hosts = []string{"https://old.example"} }, connection.NotConnected, connection.GrantMoved},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			conn := good
			c.change(&conn)
			if _, err := w.vault.Save(t.Context(), conn); err != nil {
				t.Fatal(err)
			}
			w.wantStatus(t, c.status, c.reason)
			newBrowser(w).toProvider(w.link(alice))
			if c.status != connection.Active {
				w.wantStatus(t, connection.Pending, connection.ConnectPending)
			} else {
				w.wantStatus(t, connection.Active, "") // it works meanwhile
			}
		})
	}
}

func TestAToolkitWithTheOperatorsKeyIsAlwaysActive(t *testing.T) {
	w := newWorld(t)
	tk := acmeToolkit(t, "weather")
	tk.OAuth, tk.Auth = nil, toolkit.Auth{Kind: toolkit.APIKey, Key: secret.New("k")}
	w.cfg.Toolkits["weather"] = connect.Endpoint{Toolkit: tk}
	if answer, _ := w.status(t, http.MethodGet, "weather"); string(answer.Status) != `"active"` {
		t.Errorf("got %+v", answer)
	}
}

func TestTheStatusIsRefusedAsACallWouldBe(t *testing.T) {
	for _, c := range []struct {
		name, toolkit string
		change        func(cfg *connect.Config)
		status        int
		code, step    string
	}{
		{"an agent that is not known", "acme", func(cfg *connect.Config) {
			cfg.Identify = func(*http.Request) (caller.Caller, error) {
				p := problem.New(problem.UnknownAgent, "agent_key", "Who are you?")
				p.Challenge = `Bearer realm="toolgate"`
				return caller.Caller{}, p
			}
		}, 401, "unknown_agent", "identify"},
		{"a toolkit that is not there", "nothing", func(*connect.Config) {}, 404, "unknown_toolkit", "resolve"},
		{"a path below a toolkit", "acme/x", func(*connect.Config) {}, 404, "unknown_toolkit", "resolve"},
		{"no toolkit", "", func(*connect.Config) {}, 404, "unknown_toolkit", "resolve"},
		{"a toolkit that the agent may not use", "acme", func(cfg *connect.Config) {
			cfg.May = func(who caller.Caller, id string) bool { return who.Agent != "support-bot" || id != "acme" }
		}, 403, "toolkit_not_allowed", "resolve"},
		{"a draft", "acme", func(cfg *connect.Config) { cfg.Toolkits["acme"].Toolkit.Missing = []string{"client_id"} }, 503, "toolkit_draft", "resolve"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.change)
			answer, res := w.status(t, http.MethodGet, c.toolkit)
			if res.StatusCode != c.status || answer.Code != c.code || answer.Step != c.step || answer.Detail == "" || answer.RequestID == "" {
				t.Errorf("got %d %+v", res.StatusCode, answer)
			}
			if (res.Header.Get("Www-Authenticate") != "") != (c.status == 401) {
				t.Errorf("headers: %v", res.Header)
			}
		})
	}
}

func TestTheStatusIsOnlyRead(t *testing.T) {
	w := newWorld(t)
	if _, res := w.status(t, http.MethodHead, "acme"); res.StatusCode != http.StatusOK {
		t.Errorf("HEAD: %d", res.StatusCode)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		if _, res := w.status(t, method, "acme"); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d %v", method, res.StatusCode, res.Header)
		}
	}
}

func TestAStoreThatIsAwayIsNoStatus(t *testing.T) {
	for _, kind := range []string{"connection", "link-for", "link"} {
		w := newWorld(t)
		w.link(alice)
		w.store.failing("get", kind)
		answer, res := w.status(t, http.MethodGet, "acme")
		if res.StatusCode != http.StatusServiceUnavailable || answer.Code != "storage_unavailable" || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d %+v", kind, res.StatusCode, answer)
		}
	}
}
