// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What is JSON and may still be read in two ways is refused: an app and a gateway that
// take it for two things would give one user's session to another.
func TestABodyThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ body, says string }{
		"a user twice":                {`{"user":"ada","user":"bob"}`, "twice `user`"},
		"the same user twice":         {`{"user":"ada","user":"ada"}`, "twice `user`"},
		"twice, once escaped":         {`{"user":"ada","\u0075ser":"bob"}`, "twice `user`"},
		"twice, deeper":               {`{"user":"ada","manage_connections":{"enable":false,"enable":true}}`, "twice `enable`"},
		"in capitals":                 {`{"User":"ada"}`, "no field `User`"},
		"in both":                     {`{"user":"ada","USER":"bob"}`, "no field `USER`"},
		"with a long s":               {`{"u\u017fer":"ada"}`, "no field"},
		"with a Kelvin sign":          {`{"user":"ada","tool\u212Aits":["acme"]}`, "no field"},
		"in capitals, deeper":         {`{"user":"ada","manage_connections":{"Enable":false}}`, "no field `Enable`"},
		"no user":                     {`{"user":null}`, "null"},
		"toolkits null":               {`{"user":"ada","toolkits":null}`, "null"},
		"null among the toolkits":     {`{"user":"ada","toolkits":["acme",null]}`, "null"},
		"manage_connections null":     {`{"user":"ada","manage_connections":null}`, "null"},
		"enable null":                 {`{"user":"ada","manage_connections":{"enable":null}}`, "null"},
		"null alone":                  {`null`, "null"},
		"expires_in in words":         {`{"user":"ada","expires_in":"60"}`, "`expires_in` cannot be a JSON string"},
		"expires_in with a fraction":  {`{"user":"ada","expires_in":60.0}`, "`expires_in` cannot be a JSON number"},
		"expires_in beyond all":       {`{"user":"ada","expires_in":99999999999999999999}`, "`expires_in` cannot be a JSON number"},
		"manage_connections in words": {`{"user":"ada","manage_connections":"false"}`, "cannot be a JSON string"},
		"a list":                      {`[{"user":"ada"}]`, "not a JSON object"},
		"a text":                      {`"ada"`, "not a JSON object"},
		"two":                         {`{"user":"ada"} {}`, "behind the JSON object"},
		"broken off":                  {`{"user":"ada"`, "not a JSON object"},
		"a comma too many":            {`{"user":"ada",}`, "not a JSON object"},
		"a comment":                   {`{"user":"ada"/* bob */}`, "not a JSON object"},
		"no name":                     {`{1:"ada"}`, "not a JSON object"},
		"a deep one":                  {strings.Repeat("[", 60_000), "nested"},
		"a deep field":                {`{"user":` + strings.Repeat(`{"a":`, 9_000), "nested"},
		"a long name":                 {`{"` + strings.Repeat("Z", 9_000) + `":1}`, "more than 64 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			body := refused(t, w.ask("POST", "sessions", c.body), http.StatusBadRequest, "bad_request")
			if !strings.Contains(body, c.says) || len(body) > 1000 {
				t.Errorf("it does not say what is wrong (%s): %s", c.says, body)
			}
			if len(w.audit.all) != 0 {
				t.Errorf("%+v", w.audit.all)
			}
		})
	}
	w := newWorld(t)
	for _, body := range []string{`{"user":"ada","user":"bob"}`, `{"User":"ada"}`, `{"user":null}`, `{}`, `{"user":"ada","id":"x"}`} {
		if answer := w.ask("POST", "sessions/revoke", body); answer.Code != http.StatusBadRequest || w.ended != 0 {
			t.Errorf("%s: %d %s", body, answer.Code, answer.Body)
		}
	}
}

func TestUsersAreNamedInPlainLettersAlone(t *testing.T) {
	w := newWorld(t)
	for _, user := range []string{``, `\u0061da bob`, `ada,bob`, `ad\u00e4`, `ada\u0000`, `ada\ud800`, "ada\xff", `ada\u202e`, strings.Repeat("a", 257)} {
		refused(t, w.ask("POST", "sessions", `{"user":"`+user+`"}`), http.StatusBadRequest, "invalid_user")
		refused(t, w.ask("POST", "sessions/revoke", `{"user":"`+user+`"}`), http.StatusBadRequest, "invalid_user")
	}
	if m := w.session(`{"user":"\u0061da"}`); m.User != "ada" {
		t.Errorf("%+v", m)
	}
	refused(t, w.ask("POST", "sessions", `{"user":"mallory"}`), http.StatusForbidden, "user_mismatch")
	refused(t, w.ask("POST", "sessions/revoke", `{"user":"mallory"}`), http.StatusForbidden, "user_mismatch")
}

func TestWhatIsLeftOutHasItsDefault(t *testing.T) {
	w := newWorld(t)
	if m := w.session(` {"user":"ada"} `); !m.Manage || len(m.Toolkits) != 2 {
		t.Errorf("%+v", m)
	}
	if m := w.session(`{"user":"ada","manage_connections":{}}`); !m.Manage {
		t.Errorf("%+v", m)
	}
	if m := w.session(`{"user":"ada","manage_connections":{"enable":false},"toolkits":["acme","acme"]}`); m.Manage || len(m.Toolkits) != 1 || m.BaseURL != "https://tools.example" {
		t.Errorf("%+v", m)
	}
	refused(t, w.ask("POST", "sessions", `{"user":"ada","toolkits":["maps"]}`), http.StatusForbidden, "toolkit_not_allowed")
	refused(t, w.ask("POST", "sessions", `{"user":"ada","toolkits":["ACME"]}`), http.StatusNotFound, "unknown_toolkit")
	refused(t, w.ask("POST", "sessions", `{"user":"ada","toolkits":[`+strings.Repeat(`"acme",`, 64)+`"acme"]}`), http.StatusBadRequest, "bad_request")
}

func TestWhatIsForTheAPIAndWhatIsNot(t *testing.T) {
	w := newWorld(t)
	for address, want := range map[string]bool{
		"https://connect.example/base/v1/sessions":           true,
		"https://tools.example/base/v1/sessions":             false,
		"https://connect.example/v1/sessions":                false,
		"https://connect.example/base/v1/sessionsx":          false,
		"https://connect.example/base/v1/connections/acme":   false,
		"https://connect.example/base/../base/v1/sessions/x": false,
	} {
		if got := w.service.Handles(httptest.NewRequest("POST", address, nil)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	r := httptest.NewRequest("POST", "https://connect.example/base/v1/sessions", nil)
	r.Header.Set("X-Toolkit", "acme")
	if w.service.Handles(r) {
		t.Error("what names a toolkit is the gateway's")
	}
	for _, path := range []string{"sessions", "sessions/", "sessions/revoke"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "OPTIONS"} {
			if answer := w.ask(method, path, ""); answer.Code != http.StatusMethodNotAllowed || answer.Header().Get("Allow") != "POST" {
				t.Errorf("%s %s: %d %v", method, path, answer.Code, answer.Header())
			}
		}
	}
	for _, id := range []string{"x/y", "%2e%2e", strings.Repeat("A", 25) + "%2F", strings.Repeat("A", 27), "tgs_" + strings.Repeat("A", 22) + "%0A"} {
		refused(t, w.ask("DELETE", "sessions/"+id, ""), http.StatusNotFound, "not_found")
	}
	if answer := w.ask("POST", "sessions", `{"user":"ada"}`, "Content-Type", "Application/JSON; charset=utf-8"); answer.Code != http.StatusCreated {
		t.Error(answer.Code, answer.Body)
	}
	refused(t, w.ask("POST", "sessions", `{"user":"ada"}`, "Content-Type", "text/plain"), http.StatusBadRequest, "bad_request")
	refused(t, w.ask("POST", "sessions", `{"user":"ada"}`, "Origin", "null"), http.StatusForbidden, "browser_request")
}
