// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// toolAnswer is what a tool has answered.
type toolAnswer struct {
	IsError bool
	Content []struct{ Text string }
	Out     struct {
		Status          string
		Message         string
		ConnectURL      string `json:"connect_url"`
		Unauthenticated []string
		HTTPStatus      int `json:"http_status"`
		Body            string
		Headers         map[string]string
		Connections     []struct{ Toolkit, Status, Account, ID string }
	} `json:"structuredContent"`
}

// rpc sends a message as a client of the handshake era does, which declares nothing.
func (w *world) rpc(message string, header ...string) (status int, text string, h http.Header) {
	header = append([]string{"Accept", "application/json, text/event-stream", "X-User-Id", "alice", "Mcp-Protocol-Version", "2025-11-25"}, header...)
	return w.api("POST", "/mcp", message, header...)
}

// tool calls one.
func (w *world) tool(name, arguments string, header ...string) (a toolAnswer) {
	w.t.Helper()
	status, text, _ := w.rpc(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+name+`","arguments":`+arguments+`}}`, header...)
	var message struct {
		Result toolAnswer
		Error  json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &message); err != nil || status != ok || message.Error != nil {
		w.t.Fatalf("%s: %d %s", name, status, text)
	}
	return message.Result
}

// tools are the names of those that there are.
func (w *world) tools(header ...string) string {
	w.t.Helper()
	status, text, _ := w.rpc(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, header...)
	var message struct {
		Result struct{ Tools []struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(text), &message); err != nil || status != ok {
		w.t.Fatalf("%d %s", status, text)
	}
	var names []string
	for _, tool := range message.Result.Tools {
		names = append(names, tool.Name)
	}
	return strings.Join(names, " ")
}

// follow goes the way of alice's browser from a link to the result page.
func (w *world) follow(link string) string {
	w.t.Helper()
	b := &person{t: w.t, cookies: map[string]map[string]string{}}
	page := b.submit(b.get(link), link, "")
	page = b.submit(page, b.at, "login")
	return b.submit(page, b.at, "allow")
}

func TestAChatGoesFromARefusalOverALinkToACall(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", w.minting("call connect mint"), "toolgate_mcp {\n\t\thttp_request on\n\t\tdisconnect on\n\t}"))
	if a := w.tool("list_connections", `{}`); len(a.Out.Connections) != 1 || a.Out.Connections[0].Status != "not_connected" {
		t.Errorf("%+v", a)
	}
	call := `{"toolkit":"acme","method":"GET","path":"/v1/me"}`
	refused := w.tool("http_request", call)
	link := w.tool("get_authentication_link", `{"toolkits":["acme"]}`)
	if refused.IsError || refused.Out.Status != "authentication_needed" || refused.Out.ConnectURL == "" || refused.Out.ConnectURL != link.Out.ConnectURL {
		t.Fatalf("%+v\n%+v", refused, link)
	}
	waiting := make(chan toolAnswer, 1)
	began := time.Now()
	go func() { waiting <- w.tool("wait_for_connection", `{"toolkit":"acme"}`) }()
	if page := w.follow(link.Out.ConnectURL); !strings.Contains(page, "alice@acme.example") {
		t.Fatalf("%s", page)
	}
	if a := <-waiting; a.Out.Status != "active" || time.Since(began) > 20*time.Second {
		t.Errorf("after %v: %+v", time.Since(began), a)
	}
	if a := w.tool("get_authentication_link", `{}`); a.Out.Status != "fully_authenticated" || a.Out.ConnectURL != "" {
		t.Errorf("%+v", a)
	}
	if a := w.tool("http_request", call); a.Out.Status != "called" || a.Out.HTTPStatus != ok || !strings.Contains(a.Out.Body, "alice@acme.example") {
		t.Errorf("%+v", a)
	}
	// The same rules hold: the other agent was not let in, and finds nothing.
	other := []string{"Authorization", "Bearer " + billingKey}
	if a := w.tool("http_request", call, other...); a.Out.Status != "authentication_needed" || !strings.Contains(a.Out.Message, "have not let this agent use it") {
		t.Errorf("%+v", a)
	}
	if a := w.tool("disconnect", `{"toolkit":"acme"}`, other...); !a.IsError {
		t.Errorf("an agent that may not use it has taken it away: %+v", a)
	}
	if a := w.tool("disconnect", `{"toolkit":"acme"}`); a.IsError || a.Out.Status != "not_connected" {
		t.Errorf("%+v", a)
	}
	if a := w.tool("http_request", call); a.Out.Status != "authentication_needed" {
		t.Errorf("%+v", a)
	}
	log, _ := os.ReadFile(filepath.Join(w.dir, "audit.log"))
	if strings.Count(string(log), `"path":"/v1/me"`) != 1 || !strings.Contains(string(log), `"agent":"support-bot","user":"alice","toolkit":"acme","connection"`) {
		t.Errorf("%s", log)
	}
}
