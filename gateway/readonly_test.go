// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

// readsOnly is a world in which ada allows reading only.
func readsOnly(t *testing.T, reads ...string) *gatewaytest.World {
	w := gatewaytest.New(t, gatewaytest.Options{
		Acme: func(tk *toolkit.Toolkit) { tk.Reading.Methods = reads },
		Edit: func(cfg *gateway.Config) { cfg.ManageURL = "https://connect.example.com/connections" },
	})
	limit(w)
	return w
}

func limit(w *gatewaytest.World) {
	w.Credentials.Change("ada", "acme", func(c *connection.Connection) { c.ReadOnly = true })
}

var notRead = verdict{403, "not_permitted", "authorize", "read_only"}

func TestOverAReadOnlyConnectionNothingIsWritten(t *testing.T) {
	w := readsOnly(t, "GET", "HEAD", "OPTIONS")
	for _, base := range []string{w.H1, w.H2} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get", "MKCOL"} {
			res, body := w.Do(w.Request(method, base+"/acme/notes/1", strings.NewReader("x")))
			got := refused(t, w, res, body, notRead)
			if got.Connection.Status != "active" || got.Connection.Reason != "read_only" || got.Retry.When != "never" || got.ConnectURL != "" || got.User != "ada" {
				t.Errorf("%s: said %s", method, body)
			}
			for _, words := range []string{"reading only", "Acme", method + " is not", "GET, HEAD, OPTIONS", "Do not look for another way", "https://connect.example.com/connections"} {
				if !strings.Contains(got.Detail, words) {
					t.Errorf("%s: %q is not in %q", method, words, got.Detail)
				}
			}
		}
	}
	nothingLeft(t, w)
	if n := w.Credentials.Given(); n != 0 {
		t.Errorf("%d tokens were got for it", n)
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		if res, body := w.Do(w.Request(method, w.H1+"/acme/~files/1?method=DELETE&x=_method", nil)); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", method, res.StatusCode, body)
		}
	}
}

func TestACallThatMeansAnotherMethodIsNotARead(t *testing.T) {
	w := readsOnly(t, "GET")
	for _, query := range []string{"_method=DELETE", "a=1&_method=put", "a;_method", "%5Fmethod=DELETE", "_METHOD=x", "_method[]=x", ".method=x", "+method=x", "X-HTTP-Method-Override=PUT", "-method"} {
		res, body := w.Get("/acme/notes/1?" + query)
		refused(t, w, res, body, notRead)
	}
	for _, name := range []string{"X-HTTP-Method-Override", "x-http-method", "X-Method-Override", "X_HTTP_METHOD_OVERRIDE", "X-Http_Method-Override"} {
		r := w.Request("GET", w.H1+"/acme/notes/1", nil)
		r.Header[name] = []string{"DELETE"}
		res, body := w.Do(r)
		refused(t, w, res, body, notRead)
	}
	nothingLeft(t, w)
}

func TestAWebSocketIsNotARead(t *testing.T) {
	w := readsOnly(t, "GET")
	agent := w.Dial()
	_, _ = io.WriteString(agent, upgrade)
	res, body := gatewaytest.ReadAnswer(t, bufio.NewReader(agent))
	refused(t, w, res, body, notRead)
	nothingLeft(t, w)
	// What many HTTP clients offer with each call goes no further than here.
	r := w.Request("GET", w.H1+"/acme/notes/1", nil)
	r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{"h2c"}
	if res, body := w.Do(r); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// The toolkit's data may change under a connection, and what its user said stands.
func TestWhereNobodyCanTellReadsNothingIsOne(t *testing.T) {
	w := readsOnly(t)
	res, body := w.Get("/acme/notes/1")
	if got := refused(t, w, res, body, notRead); strings.Contains(got.Detail, "goes on working") {
		t.Error(got.Detail)
	}
	nothingLeft(t, w)
}

// Whose connection it is not, learns nothing of it, and who may do both is not held up.
func TestReadingOnlyIsOfOneConnection(t *testing.T) {
	w := readsOnly(t, "GET")
	onlyFor(w, "clerk")
	res, body := w.Do(w.Request("POST", w.H1+"/acme/notes", strings.NewReader("x")))
	refused(t, w, res, body, verdict{403, "auth_required", "authorize", "agent_not_approved"})
	onlyFor(w, "bot")
	w.Credentials.Add("ada", w.Toolkits["acme"], "conn_home", "ada@home.example", "gho_marker-home-token")
	r := w.Request("POST", w.H1+"/acme/notes", strings.NewReader("x"))
	r.Header.Set("X-Account", "conn_home")
	if res, body := w.Do(r); res.StatusCode != 200 {
		t.Errorf("over the other account: %d %s", res.StatusCode, body)
	}
	if res, body := w.Do(w.Request("POST", w.H1+"/weather/notes", strings.NewReader("x"))); res.StatusCode != 200 {
		t.Errorf("the operator's: %d %s", res.StatusCode, body)
	}
}

// What is renewed on the way may be another record by then.
func TestACallIsNotSentAgainOverAConnectionThatCameToBeReadOnly(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{Acme: func(tk *toolkit.Toolkit) { tk.Reading.Methods = []string{"GET"} }})
	calls := 0
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		calls++
		limit(w)
		rw.WriteHeader(http.StatusUnauthorized)
	})
	res, body := w.Do(w.Request("POST", w.H1+"/acme/notes", strings.NewReader("x")))
	refused(t, w, res, body, verdict{403, "not_permitted", "send", "read_only"})
	if calls != 1 {
		t.Errorf("the provider was called %d times", calls)
	}
}

func TestAWebSocketDoesNotOpenOverAConnectionThatCameToBeReadOnly(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{Acme: func(tk *toolkit.Toolkit) { tk.Reading.Methods = []string{"GET"} }})
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		limit(w)
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
	if res, err := http.ReadResponse(bufio.NewReader(agent), nil); err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		t.Error("it opened")
	}
}

// A stream that began as a read is one still, and a renewed token is no reason to end it.
func TestAStreamOfEventsOverAReadOnlyConnectionGoesOn(t *testing.T) {
	w := readsOnly(t, "GET")
	more := make(chan struct{})
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: 1\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-more
		_, _ = io.WriteString(rw, "data: 2\n\n")
	})
	res, err := w.Client.Do(w.Request("GET", w.H1+"/acme/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	from := bufio.NewReader(res.Body)
	gatewaytest.Hears(t, from, "data: 1\n\n")
	w.Gateway.Recheck(connection.Connection{Key: connection.Key{Tenant: "default", User: "ada", Toolkit: "acme"}, ID: "con_ada", Version: 9, Status: connection.Active, ReadOnly: true})
	close(more)
	gatewaytest.Hears(t, from, "data: 2\n\n")
}

// searching knows that one path reads, and nothing else.
type searching struct{}

func (searching) Admit(context.Context, *gateway.Call) error                  { return nil }
func (searching) Enter(context.Context, *gateway.Call) (gateway.Visit, error) { return nil, nil }
func (searching) Reads(c *gateway.Call) bool                                  { return c.Method == "POST" && c.Path == "/search" }

// Methods alone do not tell, where somebody knows more.
func TestThePolicyKnowsWhatReads(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{
		Acme: func(tk *toolkit.Toolkit) { tk.Reading.Methods = []string{"GET"} },
		Edit: func(cfg *gateway.Config) { cfg.Policy = searching{} },
	})
	limit(w)
	res, body := w.Get("/acme/notes/1")
	refused(t, w, res, body, notRead)
	if res, body := w.Do(w.Request("POST", w.H1+"/acme/search", strings.NewReader("x"))); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}
