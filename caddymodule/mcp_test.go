// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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
		Truncated       bool
		Connections     []struct{ Toolkit, Status, Account, ID string }
	} `json:"structuredContent"`
}

// rpc sends a message as a client of the handshake era does, which declares nothing.
func (w *world) rpc(message string, header ...string) (status int, text string, h http.Header) {
	all := []string{"Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", "2025-11-25"}
	if i := slices.Index(header, "X-User-Id"); i < 0 {
		all = append(all, "X-User-Id", "alice")
	} else if header[i+1] == "" {
		header = slices.Delete(slices.Clone(header), i, i+2)
	}
	return w.api("POST", "/mcp", message, append(all, header...)...)
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
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	if last := lines[len(lines)-1]; strings.Count(string(log), `"path":"/v1/me"`) != 1 || !strings.Contains(last, `"event":"disconnected"`) || !strings.Contains(last, `"agent":"support-bot"`) {
		t.Errorf("%s", log)
	}
}

func TestASessionIsEnoughForAChat(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", w.minting("call connect mint"), "toolgate_api\n\t"+allTools))
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token, "X-User-Id", ""} }
	all := w.session(`{"user":"alice"}`)
	noUser := bearer(all.Token)
	if a := w.tool("get_authentication_link", `{}`, noUser...); a.Out.Status != "authentication_needed" {
		t.Errorf("%+v", a)
	}
	if page := w.follow(w.tool("get_authentication_link", `{}`, noUser...).Out.ConnectURL); !strings.Contains(page, "alice@acme.example") {
		t.Fatal(page)
	}
	if a := w.tool("http_request", `{"toolkit":"acme","method":"GET","path":"/v1/me"}`, noUser...); a.Out.HTTPStatus != ok {
		t.Errorf("%+v", a)
	}
	// One for a single toolkit leaves the path whole, here as well.
	one := w.session(`{"user":"alice","toolkits":["acme"],"manage_connections":false}`)
	if a := w.tool("http_request", `{"toolkit":"acme","method":"GET","path":"/v1/me"}`, bearer(one.Token)...); a.Out.HTTPStatus != ok {
		t.Errorf("%+v", a)
	}
	if a := w.tool("http_request", `{"toolkit":"weather","method":"GET","path":"/v1/me"}`, bearer(one.Token)...); !a.IsError || !strings.Contains(a.Content[0].Text, "toolkit_not_allowed") {
		t.Errorf("%+v", a)
	}
	if got := w.tools(bearer(one.Token)...); got != "http_request list_connections wait_for_connection" {
		t.Error(got)
	}
	bobs := w.session(`{"user":"bob","manage_connections":false}`)
	if a := w.tool("http_request", `{"toolkit":"acme","method":"GET","path":"/v1/me"}`, bearer(bobs.Token)...); a.Out.Status != "authentication_needed" || a.Out.ConnectURL != "" || strings.Contains(a.Out.Message, "/connect/") {
		t.Errorf("%+v", a)
	}
	if status, text, _ := w.rpc(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "Authorization", "Bearer "+bobs.Token); status != http.StatusForbidden || !strings.Contains(text, "user_mismatch") {
		t.Errorf("a session of bob's is alice's: %d %s", status, text)
	}
	if status, text, _ := w.api("DELETE", "/v1/sessions/"+all.ID, ""); status != http.StatusNoContent {
		t.Fatal(status, text)
	}
	if status, text, _ := w.rpc(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, noUser...); status != http.StatusUnauthorized || !strings.Contains(text, "session_revoked") {
		t.Errorf("%d %s", status, text)
	}
}

func TestTheEndpointLeavesTheRestOfItsSiteAlone(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", w.minting("call connect"), allTools))
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	if status, text, _ := w.rpc(list, "Origin", "https://evil.example"); status != http.StatusForbidden || !strings.Contains(text, "browser_request") {
		t.Errorf("%d %s", status, text)
	}
	if status, text, h := w.rpc(list, "Authorization", "Bearer nobody"); status != http.StatusUnauthorized || h.Get("WWW-Authenticate") != `Bearer realm="toolgate"` {
		t.Errorf("%d %s %v", status, text, h)
	}
	// A call of a toolkit whose API has that path too, and one on another host, are the gateway's.
	if status, text, _ := w.rpc(list, "X-Toolkit", "weather"); status != http.StatusNotFound || strings.Contains(text, "list_connections") || strings.Contains(text, "unknown_toolkit") {
		t.Errorf("%d %s", status, text)
	}
	r, _ := http.NewRequest("POST", "http://"+w.address+"/mcp", strings.NewReader(list))
	r.Header.Set("Authorization", "Bearer "+supportKey)
	r.Header.Set("X-User-Id", "alice")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "unknown_toolkit") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestWithoutAgentsTheEndpointServesThisMachine(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", allTools))
	none := []string{"Authorization", ""}
	if a := w.tool("http_request", `{"toolkit":"acme","method":"GET","path":"/v1/me"}`, none...); a.Out.Status != "authentication_needed" {
		t.Errorf("%+v", a)
	}
	for name, header := range map[string][2]string{"a page of ours": {"Origin", w.public()}, "somebody far away": {"X-Forwarded-For", "192.0.2.1"}} {
		if status, text, _ := w.rpc(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, append(none, header[:]...)...); status != http.StatusForbidden || !strings.Contains(text, "not_local") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

func TestARequestThroughTheRealGateway(t *testing.T) {
	w := newWorld(t)
	var got *http.Request
	var sent int
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch got = r.Clone(context.WithoutCancel(r.Context())); r.URL.Path {
		case "/extra/long":
			for sent = 0; sent < 64<<20; sent += 32 << 10 {
				if _, err := rw.Write(bytes.Repeat([]byte("€ab"), 32<<10/5)); err != nil {
					return
				}
			}
		case "/extra/upload":
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(rw, "%d bytes of %s", n, r.Header.Get("Content-Type"))
		case "/extra/pages":
			rw.Header().Set("Link", "<"+w.origin+`/extra/pages?page=2>; rel="next"`)
			rw.Header().Set("Set-Cookie", "a=b")
			fmt.Fprint(rw, "[]")
		case "/extra/breaks":
			fmt.Fprint(rw, "half")
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	w.load(w.caddyfile("", w.minting("call connect"), allTools))
	call := func(in string) toolAnswer { return w.tool("http_request", `{"toolkit":"weather",`+in+`}`) }
	if a := call(`"method":"GET","path":"/extra/long"`); !a.Out.Truncated || len(a.Out.Body) > 1<<20 || len(a.Out.Body) < 1<<20-4 || sent >= 32<<20 {
		t.Errorf("%d bytes of %d: %s", len(a.Out.Body), sent, a.Out.Message)
	}
	body := strings.Repeat("x", 1<<20)
	if a := call(`"method":"PUT","path":"/extra/upload","body":"` + body + `"`); a.Out.Body != "1048576 bytes of text/plain; charset=utf-8" {
		t.Errorf("%+v", a)
	}
	a := call(`"method":"GET","path":"/extra/pages","query":{"page":"1"},"headers":{"X-User-Id":"bob","Authorization":"Bearer x"}`)
	if a.Out.Headers["Link"] != `</extra/pages?page=2>; rel="next"` || a.Out.Headers["Set-Cookie"] != "" || got.URL.RawQuery != "page=1" || got.Header["Authorization"] != nil || got.Header["X-User-Id"] != nil || got.Header["X-Toolgate-Key"] != nil {
		t.Errorf("%+v %v", a, got.Header)
	}
	if a := call(`"method":"GET","path":"/extra/breaks"`); !a.Out.Truncated || a.Out.Body != "half" {
		t.Errorf("%+v", a)
	}
	if a := call(`"method":"GET","path":"/../x"`); !a.IsError || !strings.Contains(a.Content[0].Text, "invalid_path") {
		t.Errorf("%+v", a)
	}
}

func TestARefusalDoesNotWaitForTheMessage(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", w.minting("call connect"), allTools))
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: localhost:%s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", w.port())
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusUnauthorized || !res.Close {
		t.Fatalf("%+v, %v", res, err)
	}
}
