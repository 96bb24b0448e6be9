// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// wants is a provider that refuses with a challenge.
func wants(w *gatewaytest.World, status int, challenges ...string) {
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header()["Www-Authenticate"] = challenges
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, `{"message":"the provider's own"}`)
	})
}

func withScopes(t *testing.T, scopes ...string) *gatewaytest.World {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Credentials.Change("ada", "acme", func(c *connection.Connection) { c.Scopes = scopes })
	return w
}

func TestALackingScopeLeadsToALinkForIt(t *testing.T) {
	for _, challenge := range []string{
		`Bearer realm="acme", error="insufficient_scope", scope="write admin"`,
		`bearer Scope="read write  admin", Error=insufficient_scope`,
		`Bearer error="insufficient_scope", error_description="say \"please\"", scope="admin write admin"`,
	} {
		w := withScopes(t, "read")
		wants(w, 403, `Basic realm="x"`, challenge)
		res, body := w.Get("/acme/user")
		got := refused(t, w, res, body, verdict{403, "auth_required", "judge", "insufficient_scope"})
		var said struct {
			Connection struct {
				Missing []string `json:"scopes_missing"`
			}
		}
		if err := json.Unmarshal([]byte(body), &said); err != nil || !slices.Equal(said.Connection.Missing, []string{"admin", "write"}) {
			t.Errorf("%s: missing %v", challenge, said.Connection.Missing)
		}
		if got.ConnectURL == "" || got.Connection.Status != "insufficient_scope" || !strings.Contains(got.Detail, "other calls still work") || strings.Contains(body, "provider's own") {
			t.Errorf("said %s", body)
		}
		if ask := w.Links.Asked(); len(ask) != 1 || !slices.Equal(ask[0].Scopes, []string{"read", "admin", "write"}) {
			t.Errorf("asked for %+v: what was granted has to be asked for once more", ask)
		}
		// Nothing is wrong with the token.
		if renewals, worked, rejected := w.Credentials.Counts(); renewals != 0 || worked != 1 || len(rejected) != 0 {
			t.Errorf("renewed %d, worked %d, rejected %v", renewals, worked, rejected)
		}
		if res.Header.Get("WWW-Authenticate") != "" {
			t.Error("the challenge was relayed")
		}
	}
}

func TestALinkThatWouldBeOfNoHelpIsNotGiven(t *testing.T) {
	many := strings.Repeat("x", 3)
	for i := range 30 {
		many += " scope" + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	for name, c := range map[string]struct {
		status    int
		challenge string
	}{
		"it was granted":          {403, `Bearer error="insufficient_scope", scope="read"`},
		"in another spelling":     {403, `Bearer error="insufficient_scope", scope="READ"`},
		"nobody says which":       {403, `Bearer error="insufficient_scope"`},
		"it says none":            {403, `Bearer error="insufficient_scope", scope=""`},
		"another error":           {403, `Bearer error="invalid_request", scope="write"`},
		"a realm of that name":    {403, `Bearer realm="insufficient_scope", scope="write"`},
		"no challenge":            {403, ``},
		"another status":          {404, `Bearer error="insufficient_scope", scope="write"`},
		"more than anybody reads": {403, `Bearer error="insufficient_scope", scope="` + many + `"`},
		"what is no scope":        {403, "Bearer error=\"insufficient_scope\", scope=\"\u00e4 a\\b\""},
		"the token itself":        {403, `Bearer error="insufficient_scope", scope="` + gatewaytest.UserToken + `"`},
	} {
		w := withScopes(t, "read")
		wants(w, c.status, c.challenge)
		res, body := w.Get("/acme/user")
		if res.StatusCode != c.status || !strings.Contains(body, "the provider's own") || len(w.Links.Asked()) != 0 {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	// Where it is not known what was granted, nobody can say what is lacking.
	w := withScopes(t)
	wants(w, 403, `Bearer error="insufficient_scope", scope="write"`)
	if res, body := w.Get("/acme/user"); res.StatusCode != 403 || !strings.Contains(body, "the provider's own") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestTheLinkForAScopeIsForTheAccountOfTheCall(t *testing.T) {
	w := twoAccounts(t)
	for _, account := range []string{"", "conn_home", "ada@home.example"} {
		wants(w, 403, `Bearer error="insufficient_scope", scope="write"`)
		w.Credentials.Change("ada", "acme", func(c *connection.Connection) { c.Scopes = []string{"read"} })
		w.Credentials.ChangeAccount("ada", "acme", "conn_home", func(c *connection.Connection) { c.Scopes = []string{"read"} })
		r := w.Request("GET", w.H1+"/acme/user", nil)
		if account != "" {
			r.Header.Set("X-Account", account)
		}
		w.Do(r)
		asked := w.Links.Asked()
		if last := asked[len(asked)-1]; last.Account != account || len(last.Scopes) != 2 {
			t.Errorf("%q: asked for %+v", account, last)
		}
	}
}
