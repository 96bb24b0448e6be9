// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// begins has the provider answer with a stream of that type and never end it, once
// meanwhile was called.
func begins(w *gatewaytest.World, kind string, meanwhile func()) {
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		meanwhile()
		rw.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(rw, "data: 1\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
}

// isCut wants the answer to a request to break off, or not to begin.
func isCut(t *testing.T, w *gatewaytest.World, r *http.Request, then func()) {
	t.Helper()
	res, err := w.Client.Do(r)
	if err != nil {
		return
	}
	defer res.Body.Close()
	then()
	if text, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("it came to its end: %q", text)
	}
}

// A provider may answer a long time after the configuration that knew the agent is over.
func TestNothingOpensForAnAgentThatWasDismissedMeanwhile(t *testing.T) {
	others := func(edit func(*gateway.Agent)) *gateway.Gateway {
		a := gateway.Agent{Name: "bot", Tenant: "default", ActsForAny: true}
		edit(&a)
		return gateway.New(gateway.Config{Agents: []gateway.Agent{a, {Name: "clerk", Tenant: "default"}}})
	}
	for name, edit := range map[string]func(*gateway.Agent){
		"it is gone":         func(a *gateway.Agent) { a.Name = "another" },
		"of another tenant":  func(a *gateway.Agent) { a.Tenant = "other" },
		"without that user":  func(a *gateway.Agent) { a.ActsForAny = false },
		"without the right":  func(a *gateway.Agent) { a.Rights = nil; a.Rights = append(a.Rights, "mint") },
		"without that thing": func(a *gateway.Agent) { a.Toolkits = []string{"weather"} },
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			begins(w, "text/event-stream", func() { w.Gateway.EndDismissed(others(edit)) })
			isCut(t, w, w.Request("GET", w.H1+"/acme/events", nil), func() {})
		})
	}
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		w.Gateway.EndDismissed(others(func(*gateway.Agent) {}))
		rw.Header().Set("Content-Type", "text/event-stream")
	})
	if res, body := w.Get("/acme/events"); res.StatusCode != 200 {
		t.Error("an agent that is still there:", res.Status, body)
	}
}

// At another gateway, whose word came before the stream was open. Calls that name no account
// would go elsewhere by now, and this one does not.
func TestNothingOpensOverAnAccountThatIsNotTheDefaultAnyMore(t *testing.T) {
	for name, back := range map[string]func(*gatewaytest.World){
		"and that the agent may not use": func(w *gatewaytest.World) { onlyFor(w, "clerk") },
		"and that is gone":               func(w *gatewaytest.World) { w.Credentials.Drop("ada", "acme") },
	} {
		t.Run(name, func(t *testing.T) {
			w := twoAccounts(t)
			w.Credentials.Add("ada", w.Toolkits["acme"], "conn_club", "ada@club.example", "gho_marker-club-token")
			begins(w, "text/event-stream", func() { back(w) })
			isCut(t, w, w.Request("GET", w.H1+"/acme/events", nil), func() {})
		})
	}
}

func TestWhateverItsTypeIsCalledAStreamEnds(t *testing.T) {
	for _, kind := range []string{"text/event-stream; charset=utf-8; charset=utf-8", "TEXT/Event-Stream;", "text/event-stream ; x", "application/x-ndjson", "application/jsonl", "application/stream+json;q", "application/vnd.amazon.eventstream", "multipart/x-mixed-replace; boundary=x"} {
		t.Run(kind, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			begins(w, kind, func() {})
			isCut(t, w, w.Request("GET", w.H1+"/acme/events", nil), func() {
				w.Gateway.Disconnect(connection.Key{Tenant: "default", User: "ada", Toolkit: "acme"})
			})
		})
	}
}
