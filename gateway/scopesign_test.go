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
	"github.com/toolgate/toolgate/toolkit"
)

// asksLikeSlack is a world whose toolkit asks for scopes with 200, and whose user has
// granted these.
func asksLikeSlack(t *testing.T, answer string, header []string, granted ...string) *gatewaytest.World {
	w := gatewaytest.New(t, gatewaytest.Options{Acme: func(tk *toolkit.Toolkit) {
		tk.Auth.ScopeMissing = &toolkit.ScopeSign{Sign: toolkit.Sign{Status: 200, Field: "error", Values: []string{"missing_scope"}}, Needed: "needed", Provided: "provided"}
	}})
	w.Credentials.Change("ada", "acme", func(c *connection.Connection) { c.Scopes = granted })
	w.Provider.Handle(says(answer, answer, header...))
	return w
}

func TestTheToolkitsOwnSignOfAMissingScopeLeadsToALinkForIt(t *testing.T) {
	const answer = `{"ok":false,"error":"missing_scope","needed":"chat:write,files:write","provided":"channels:read,users:read"}`
	listed := strings.Replace(answer, `"chat:write,files:write"`, `["chat:write",7,"files:write"]`, 1)
	for name, c := range map[string]struct {
		answer  string
		header  []string
		granted []string
	}{
		"plain":                       {answer, nil, []string{"channels:read", "users:read"}},
		"packed":                      {packed(answer), []string{"Content-Encoding", "gzip"}, []string{"channels:read", "users:read"}},
		"a list":                      {listed, nil, []string{"channels:read", "users:read"}},
		"an import brought no scopes": {answer, nil, nil},
	} {
		w := asksLikeSlack(t, c.answer, c.header, c.granted...)
		r := w.Request("POST", w.H1+"/acme/chat.postMessage", strings.NewReader("the message"))
		r.Header.Set("Accept-Encoding", "br, gzip")
		res, body := w.Do(r)
		refused(t, w, res, body, verdict{403, "auth_required", "judge", "insufficient_scope"})
		var said struct {
			Connection struct {
				Missing []string `json:"scopes_missing"`
			}
		}
		if err := json.Unmarshal([]byte(body), &said); err != nil || !slices.Equal(said.Connection.Missing, []string{"chat:write", "files:write"}) {
			t.Errorf("%s: missing %v", name, said.Connection.Missing)
		}
		if ask := w.Links.Asked(); len(ask) != 1 || !slices.Equal(ask[0].Scopes, []string{"channels:read", "users:read", "chat:write", "files:write"}) {
			t.Errorf("%s: asked for %+v", name, ask)
		}
		if renewals, worked, rejected := w.Credentials.Counts(); renewals != 0 || worked != 1 || len(rejected) != 0 {
			t.Errorf("%s: renewed %d, worked %d, rejected %v", name, renewals, worked, rejected)
		}
		if got := w.Provider.Seen(); len(got) != 1 || got[0].Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s: the provider was asked %d times", name, len(got))
		}
	}
}

func TestAnAnswerThatOnlyLooksLikeTheSignOfAMissingScopeIsRelayedAsItIs(t *testing.T) {
	for name, answer := range map[string]string{
		"another error":          `{"ok":false,"error":"channel_not_found","needed":"chat:write"}`,
		"what was granted":       `{"ok":false,"error":"missing_scope","needed":"users:read","provided":""}`,
		"what it says was given": `{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"chat:write"}`,
		"it does not say which":  `{"ok":false,"error":"missing_scope"}`,
		"which is no text":       `{"ok":false,"error":"missing_scope","needed":{"a":1}}`,
		"the token itself":       `{"ok":false,"error":"missing_scope","needed":"a\\b"}`,
		"no object":              `["missing_scope"]`,
		"a long one":             `{"ok":false,"error":"missing_scope","needed":"chat:write","pad":"` + strings.Repeat("x", 20<<10) + `"}`,
	} {
		w := asksLikeSlack(t, answer, nil, "users:read")
		if res, body := w.Get("/acme/x"); res.StatusCode != 200 || body != answer || len(w.Links.Asked()) != 0 {
			t.Errorf("%s: %d, %d bytes of %d, asked %v", name, res.StatusCode, len(body), len(answer), w.Links.Asked())
		}
	}
	// Of an answer that takes its time, nothing is held back but JSON.
	w := asksLikeSlack(t, "", nil, "users:read")
	const events = "data: {\"error\":\"missing_scope\",\"needed\":\"chat:write\"}\n\n"
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, events)
	})
	if res, body := w.Get("/acme/x"); res.StatusCode != 200 || body != events {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}
