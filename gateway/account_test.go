// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

const homeToken = "gho_marker-home-token"

// twoAccounts is a world where ada has a second account of acme's.
func twoAccounts(t *testing.T) *gatewaytest.World {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Credentials.Add("ada", w.Toolkits["acme"], "conn_home", "ada@home.example", homeToken)
	return w
}

// paidWith is the token that came to the provider, and the path.
func paidWith(w *gatewaytest.World) (token, path *string) {
	token, path = new(string), new(string)
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		*token, *path = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.RequestURI
		for name := range r.Header {
			if strings.Contains(name, "Account") {
				*token = "with " + name
			}
		}
		_, _ = io.WriteString(rw, "{}")
	})
	return token, path
}

func TestTheAgentChoosesAmongAccounts(t *testing.T) {
	w := twoAccounts(t)
	token, path := paidWith(w)
	for name, c := range map[string]struct{ account, toolkit, address, want, path string }{
		"none":                     {"", "", "/acme/user", gatewaytest.UserToken, "/api/user"},
		"by id":                    {"conn_home", "", "/acme/user", homeToken, "/api/user"},
		"by label":                 {"Ada@home.example", "", "/acme/user", homeToken, "/api/user"},
		"the first by id":          {"con_ada", "", "/acme/user", gatewaytest.UserToken, "/api/user"},
		"in the path":              {"", "", "/acme@conn_home/user", homeToken, "/api/user"},
		"in the path, by label":    {"", "", "/acme@ada@home.example/user", homeToken, "/api/user"},
		"in the path, escaped":     {"", "", "/acme%40ada%40home.example/user", homeToken, "/api/user"},
		"in both":                  {"conn_home", "", "/acme@conn_home/user", homeToken, "/api/user"},
		"beside X-Toolkit":         {"conn_home", "acme", "/user", homeToken, "/api/user"},
		"a path that is the API's": {"", "acme", "/@ada/user", gatewaytest.UserToken, "/api/@ada/user"},
		"with an alias":            {"", "", "/acme@conn_home/~files/a", homeToken, "/files/a"},
	} {
		r := w.Request("GET", w.H1+c.address, nil)
		if c.account != "" {
			r.Header.Set("X-Account", c.account)
		}
		if c.toolkit != "" {
			r.Header.Set("X-Toolkit", c.toolkit)
		}
		if res, body := w.Do(r); res.StatusCode != 200 || *token != c.want || *path != c.path {
			t.Errorf("%s: %d, paid with %s for %s, want %s for %s\n%s", name, res.StatusCode, *token, *path, c.want, c.path, body)
		}
		*token, *path = "", ""
	}
}

func TestAnUnknownAccountGetsALinkForItAndNobodysToken(t *testing.T) {
	w := twoAccounts(t)
	r := w.Request("GET", w.H1+"/acme/user", nil)
	r.Header.Set("X-Account", "bob@home.example")
	res, body := w.Do(r)
	got := refused(t, w, res, body, verdict{403, "auth_required", "authorize", "no_connection"})
	nothingLeft(t, w)
	if got.ConnectURL != "https://connect.example.com/connect/lnk_ada_acme_bob@home.example" {
		t.Errorf("the link is %s", got.ConnectURL)
	}
	if !strings.Contains(got.Detail, `"bob@home.example"`) || got.Toolkit.Name != "Acme" || !strings.Contains(body, `"account":"bob@home.example"`) {
		t.Errorf("said %s", body)
	}
}

func TestWithSeveralAndNoDefaultTheAgentIsShownTheChoice(t *testing.T) {
	w := twoAccounts(t)
	w.Credentials.Add("ada", w.Toolkits["acme"], "conn_club", "ada@club.example", "gho_marker-club-token")
	w.Credentials.Drop("ada", "acme")
	res, body := w.Get("/acme/user")
	got := refused(t, w, res, body, verdict{409, "multiple_connections", "authorize", "x-account"})
	nothingLeft(t, w)
	var list struct {
		Connections []map[string]string
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Connections) != 2 {
		t.Fatalf("%v in %s", err, body)
	}
	if c := list.Connections[1]; c["id"] != "conn_home" || c["label"] != "ada@home.example" || c["status"] != "active" || len(c) != 3 {
		t.Errorf("listed %v", c)
	}
	if got.Toolkit == nil || got.Toolkit.ID != "acme" || got.User != "ada" || got.ConnectURL != "" || got.Retry.When != "never" {
		t.Errorf("said %s", body)
	}
	if res.Header.Get("X-Should-Retry") != "false" {
		t.Error("SDKs send a 409 again by themselves")
	}
	noSecret(t, "the refusal", body)
}

func TestAddressesInAnswersKeepTheAccount(t *testing.T) {
	w := twoAccounts(t)
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", w.Provider.URL+"/api/next?page=2")
		rw.WriteHeader(201)
	})
	res, _ := w.Get("/acme@ada@home.example/user")
	if got := res.Header.Get("Location"); got != w.H1+"/acme@ada@home.example/next?page=2" {
		t.Errorf("Location: %s", got)
	}
}

func TestWhatTheUserHasSwitchedOffHasNoLinkToConnect(t *testing.T) {
	for manage, words := range map[string]string{"": "switched it off", "https://connect.example.com/connections": "at https://connect.example.com/connections"} {
		w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.ManageURL = manage }})
		w.Credentials.Fail(&connection.Unusable{Status: connection.Inactive, Reason: connection.SwitchedOff}, nil)
		res, body := w.Get("/acme/user")
		got := refused(t, w, res, body, verdict{403, "connection_inactive", "authorize", "connection_inactive"})
		nothingLeft(t, w)
		if got.ConnectURL != "" || got.Retry.When != "never" || got.Connection.Status != "inactive" || got.Connection.Reason != "connection_inactive" || got.User != "ada" || got.Toolkit.ID != "acme" || !strings.Contains(got.Detail, words) {
			t.Errorf("said %s", body)
		}
	}
}

// A client that does not repeat X-Toolkit goes where the path says.
func TestAProviderLeadsNoClientToAnotherAccount(t *testing.T) {
	w := twoAccounts(t)
	for _, address := range []string{"/api/acme@conn_home/user", "/api/acme%40conn_home/user", "/api//acme@conn_home/user"} {
		w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Location", w.Provider.URL+address)
			rw.WriteHeader(201)
		})
		r := w.Request("GET", w.H1+"/user", nil)
		r.Header.Set("X-Toolkit", "acme")
		if res, _ := w.Do(r); res.Header.Get("Location") != "about:blank" {
			t.Errorf("%s became %s", address, res.Header.Get("Location"))
		}
	}
}

func TestEachAccountGoesToItsOwnAddress(t *testing.T) {
	w := instances(t)
	w.Credentials.Add("ada", w.Toolkits["acme"], "conn_home", "ada@home.example", homeToken)
	w.Credentials.ChangeAccount("ada", "acme", "conn_home", func(c *connection.Connection) {
		c.Variables = map[string]string{"instance": "na3.acme.example", "team": "3"}
	})
	var seen string
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		seen = r.Host + r.RequestURI + " " + r.Header.Get("Authorization")
		rw.Header().Set("Location", "https://"+r.Host+"/api/3/next")
		rw.WriteHeader(201)
	})
	for path, want := range map[string]string{
		"/acme/user":           "na1.acme.example/api/1/user Bearer " + gatewaytest.UserToken,
		"/acme@conn_home/user": "na3.acme.example/api/3/user Bearer " + homeToken,
	} {
		res, body := get(w, "ada", path)
		if seen != want || res.StatusCode != 201 {
			t.Errorf("%s: %d %s, the provider saw %s", path, res.StatusCode, body, seen)
		}
		if got := res.Header.Get("Location"); strings.Contains(path, "@") && got != w.H1+"/acme@conn_home/next" {
			t.Errorf("%s: Location: %s", path, got)
		}
	}
}

// The link has to be for the account that the call was for, also where the agent named none.
func TestALinkIsForTheAccountWhoseGrantHasMoved(t *testing.T) {
	w := twoAccounts(t)
	w.Credentials.Change("ada", "acme", func(c *connection.Connection) {
		c.Key.Account, c.Granted.Hosts = "conn_default", nil // as the token cache gives it
	})
	res, body := w.Get("/acme/user")
	refused(t, w, res, body, verdict{403, "auth_required", "authorize", "provider_config"})
	if asked := w.Links.Asked(); len(asked) != 1 || asked[0].Account != "conn_default" {
		t.Errorf("asked for %+v", asked)
	}
}

func TestAWebSocketEndsWithItsOwnAccountAndNoOther(t *testing.T) {
	w := twoAccounts(t)
	provider := switching(w, "websocket")
	agent := w.Dial()
	_, _ = io.WriteString(agent, strings.Replace(upgrade, "/acme/socket", "/acme@ada@home.example/socket", 1))
	from := bufio.NewReader(agent)
	res, err := http.ReadResponse(from, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	side := <-provider
	gatewaytest.Hears(t, from, "hello")
	key := connection.Key{Tenant: "default", User: "ada", Toolkit: "acme"}
	w.Gateway.Disconnect(key)
	_, _ = io.WriteString(side, "still here")
	gatewaytest.Hears(t, from, "still here")
	key.Account = "conn_home"
	w.Gateway.Disconnect(key)
	if _, err := from.ReadByte(); err == nil {
		t.Error("the agent is still connected")
	}
}

// The path stays whole behind X-Toolkit: the call would be paid for with the default
// account's token, and the provider would see the name of the other one.
func TestAnAccountInThePathBesideXToolkitIsRefused(t *testing.T) {
	w := twoAccounts(t)
	for _, c := range []struct{ toolkit, account, path string }{
		{"acme", "", "/acme@conn_home/user"},
		{"acme", "", "/acme%40conn_home/user"},
		{"acme", "", "/acme@/user"},
		{"acme", "", "/acme@conn_home"},
		{"acme", "conn_home", "/acme@conn_home/user"},
		{"acme", "", "/weather@conn_home/user"},
	} {
		r := w.Request("GET", w.H1+c.path, nil)
		r.Header.Set("X-Toolkit", c.toolkit)
		if c.account != "" {
			r.Header.Set("X-Account", c.account)
		}
		res, body := w.Do(r)
		refused(t, w, res, body, verdict{400, "ambiguous_toolkit", "resolve", "selectors"})
	}
	nothingLeft(t, w)
}
