// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/chat"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/toolkit"
)

const listTools = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

func TestTheEdgesOfTheProtocol(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		body   string
		header []string
		status int
		says   string
	}{
		"a page elsewhere":              {listTools, []string{"Origin", "https://evil.example"}, 403, "browser_request"},
		"a page of no origin":           {listTools, []string{"Origin", "null"}, 403, "browser_request"},
		"a page of ours over http":      {listTools, []string{"Origin", "http://connect.example.com"}, 403, "browser_request"},
		"a page of ours":                {listTools, []string{"Origin", "https://connect.example.com"}, 200, "list_connections"},
		"no key":                        {listTools, []string{"X-Toolgate-Key", ""}, 401, "unknown_agent"},
		"an account in the header":      {listTools, []string{"X-Account", "work"}, 400, "invalid_account"},
		"no Accept":                     {listTools, []string{"Accept", ""}, 400, "Accept"},
		"Accept of JSON alone":          {listTools, []string{"Accept", "application/json"}, 400, "Accept"},
		"a form":                        {listTools, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "Content-Type"},
		"a version of tomorrow, alone":  {listTools, []string{"Mcp-Protocol-Version", "2031-01-01"}, 400, "protocolVersion"},
		"a version of yesterday":        {listTools, []string{"Mcp-Protocol-Version", "2020-01-01"}, 400, "Unsupported protocol version"},
		"no version":                    {listTools, []string{"Mcp-Protocol-Version", ""}, 200, "list_connections"},
		"a session of another server's": {listTools, []string{"Mcp-Session-Id", "x"}, 200, "list_connections"},
		"an unknown tool":               {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}`, nil, 200, `"code":-32602`},
		"one that is switched off":      {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"disconnect","arguments":{"toolkit":"acme"}}}`, nil, 200, `"code":-32602`},
		"an unknown method":             {`{"jsonrpc":"2.0","id":1,"method":"nope"}`, nil, 400, ""},
		"no JSON":                       {`{`, nil, 400, ""},
		"nothing":                       {``, nil, 400, ""},
		"a huge one":                    {`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"` + strings.Repeat("a", 1<<17) + `"}}`, nil, 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			res := w.post(c.body, c.header...)
			if text := bodyOf(res); res.StatusCode != c.status || !strings.Contains(text, c.says) || strings.Contains(text, "-32042") || res.Header.Get("X-Toolgate-Request-Id") == "" {
				t.Errorf("%d %s", res.StatusCode, text)
			}
		})
	}
	for _, method := range []string{"GET", "DELETE", "OPTIONS", "PUT"} {
		rec := httptest.NewRecorder()
		w.service.ServeHTTP(rec, httptest.NewRequest(method, endpoint, nil))
		if rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d", method, rec.Code)
		}
	}
}

func TestInTheNewestRevision(t *testing.T) {
	w := newWorld(t)
	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	for method, says := range map[string]string{
		"tools/list": `"cacheScope":"private"`, "server/discover": `"cacheScope":"private"`,
		"subscriptions/listen": `"code":-32601`, "prompts/list": `"code":-32601`, "resources/list": `"code":-32601`,
	} {
		params := meta
		if method == "subscriptions/listen" {
			params = `"notifications":{"toolsListChanged":true},` + meta
		}
		res := w.post(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+`}}`, "Mcp-Protocol-Version", modern, "Mcp-Method", method)
		if text := bodyOf(res); !strings.Contains(text, says) || strings.Contains(text, `"public"`) || strings.Contains(text, `"logging"`) || strings.Contains(text, `"listChanged":true`) {
			t.Errorf("%s: %d %s", method, res.StatusCode, text)
		}
	}
	// What the header says is what the body says.
	res := w.post(message("list_connections", `{}`, `{}`, ""), "Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "disconnect")
	if text := bodyOf(res); res.StatusCode != 400 || !strings.Contains(text, "-32020") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}

func TestWhatIsNotTheEndpointsIsPassedOn(t *testing.T) {
	w := newWorld(t)
	for address, want := range map[string]bool{
		endpoint: true, "https://CONNECT.example.com/mcp": true, "https://connect.example.com:443/mcp": true,
		"https://connect.example.com:8443/mcp": false, "https://connect.example.com./mcp": false, "https://other.example/mcp": false,
		public + "/mcp/": false, public + "/mcp/x": false, public + "/": false, public + "/MCP": false,
	} {
		if got := w.service.Handles(httptest.NewRequest("POST", address, nil)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	r := httptest.NewRequest("POST", endpoint, nil)
	r.Header.Set("X-Toolkit", "acme")
	if w.service.Handles(r) {
		t.Error("a call of a toolkit was taken")
	}
	below := newWorld(t, func(c *chat.Config) {
		c.PublicURL, c.Path = c.PublicURL.ResolveReference(&url.URL{Path: "/tools/"}), "/ai/mcp"
	})
	if !below.service.Handles(httptest.NewRequest("POST", public+"/tools/ai/mcp", nil)) || below.service.Handles(httptest.NewRequest("POST", endpoint, nil)) {
		t.Error("not below public_url")
	}
}

func TestACallerSeesTheToolsThatItCouldUse(t *testing.T) {
	all := func(c *chat.Config) { c.Disconnect, c.Calls = true, &chat.Calls{} }
	for name, c := range map[string]struct {
		change  func(*chat.Config)
		rights  []caller.Right
		session *caller.Session
		want    string
	}{
		"by default":                 {nil, []caller.Right{caller.Call, caller.Connect}, nil, "get_authentication_link list_connections wait_for_connection"},
		"all":                        {all, []caller.Right{caller.Call, caller.Connect}, nil, "disconnect get_authentication_link http_request list_connections wait_for_connection"},
		"an agent that only calls":   {all, []caller.Right{caller.Call}, nil, "http_request"},
		"one that only connects":     {all, []caller.Right{caller.Connect}, nil, "disconnect get_authentication_link list_connections wait_for_connection"},
		"a session without links":    {all, []caller.Right{caller.Call, caller.Connect}, &caller.Session{NoLinks: true}, "http_request list_connections wait_for_connection"},
		"a session for no user's":    {all, []caller.Right{caller.Call, caller.Connect}, &caller.Session{Toolkits: []string{"weather"}}, "http_request"},
		"a session for what is gone": {all, []caller.Right{caller.Call, caller.Connect}, &caller.Session{Toolkits: []string{"gone"}}, ""},
		"with a prefix":              {func(c *chat.Config) { c.ToolPrefix = "tg_" }, []caller.Right{caller.Connect}, nil, "tg_get_authentication_link tg_list_connections tg_wait_for_connection"},
		"where nobody connects":      {func(c *chat.Config) { delete(c.Toolkits, "acme"); delete(c.Toolkits, "beta") }, []caller.Right{caller.Connect}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.change != nil {
				w = newWorld(t, c.change)
			}
			w.rights, w.session = c.rights, c.session
			if got := toolNames(t, w.client(t, modern, "alice", nil)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	w := newWorld(t)
	w.rights = []caller.Right{caller.Mint}
	if res := w.post(listTools); res.StatusCode != 403 || !strings.Contains(bodyOf(res), `"rule":"rights"`) {
		t.Error("an agent that only mints has got in")
	}
}

func TestAPrefixIsInWhatModelsAreTold(t *testing.T) {
	w := newWorld(t, func(c *chat.Config) { c.ToolPrefix = "tg_" })
	s := w.client(t, modern, "alice", nil)
	if text := s.InitializeResult().Instructions; !strings.Contains(text, "tg_get_authentication_link") || !strings.Contains(text, "tg_wait_for_connection") {
		t.Error(text)
	}
	if a := use(t, s, "tg_get_authentication_link", nil); !strings.Contains(a.Message, "tg_wait_for_connection") {
		t.Errorf("%+v", a)
	}
	list, _ := s.ListTools(t.Context(), nil)
	for _, tool := range list.Tools {
		if strings.Contains(tool.Description, "{prefix}") || tool.Annotations.DestructiveHint == nil || tool.Annotations.OpenWorldHint == nil {
			t.Errorf("%+v", tool)
		}
	}
}

func TestDisconnectingNeedsToBeSwitchedOn(t *testing.T) {
	w := newWorld(t, func(c *chat.Config) { c.Disconnect = true })
	s := w.client(t, legacy, "alice", nil)
	if a := use(t, s, "disconnect", args{"toolkit": "acme", "account": "work"}); a.Status != "not_connected" || a.Message == "" {
		t.Errorf("%+v", a)
	}
	if strings.Join(w.gone, " ") != "alice/acme/work" {
		t.Errorf("%v", w.gone)
	}
}

// The schemas name the statuses, and those are told as they are.
func TestEveryStatusIsInTheSchema(t *testing.T) {
	w := newWorld(t)
	s := w.client(t, modern, "alice", nil)
	for _, status := range []connection.Status{connection.NotConnected, connection.Added, connection.Pending, connection.Active, connection.Expired, connection.Insufficient, connection.Inactive, connection.Revoked, connection.Error} {
		w.stands("alice/acme", chat.Standing{Status: status}, false)
		if a := use(t, s, "list_connections", args{"toolkits": []string{"acme"}}); a.Connections[0].Status != string(status) {
			t.Errorf("%+v", a)
		}
	}
}

func TestAWaitEndsWhenTheClientHangsUp(t *testing.T) {
	for _, era := range []string{modern, legacy} {
		t.Run(era, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				ctx, hangUp := context.WithCancel(t.Context())
				body := message("wait_for_connection", `{"toolkit":"acme"}`, `{}`, "")
				header := map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "X-Toolgate-Key": "bot", "X-User-Id": "alice", "Mcp-Protocol-Version": era, "Mcp-Method": "tools/call", "Mcp-Name": "wait_for_connection"}
				if era == legacy {
					body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait_for_connection","arguments":{"toolkit":"acme"}}}`
				}
				r := httptest.NewRequest("POST", endpoint, strings.NewReader(body)).WithContext(ctx)
				for name, value := range header {
					r.Header.Set(name, value)
				}
				began := time.Now()
				go func() {
					time.Sleep(2 * time.Second)
					hangUp()
				}()
				w.service.ServeHTTP(httptest.NewRecorder(), r)
				// It has ended when the handler has, and the store may be closed.
				if took := time.Since(began); took != 2*time.Second || len(w.watchers) != 0 || len(w.events) != 1 || w.events[0].Result != "gone" {
					t.Errorf("after %v: %+v", took, w.events)
				}
			})
		})
	}
}

func TestManyCallsInOneRequestAreBounded(t *testing.T) {
	w := newWorld(t)
	one := `{"jsonrpc":"2.0","id":ID,"method":"tools/call","params":{"name":"list_connections","arguments":{"toolkits":["acme"]}}}`
	var all []string
	for i := range 40 {
		all = append(all, strings.Replace(one, "ID", string(rune('0'+i/10))+string(rune('0'+i%10)), 1))
	}
	batch := "[" + strings.ReplaceAll(strings.Join(all, ","), `"id":0`, `"id":`) + "]"
	text := bodyOf(w.post(batch, "Mcp-Protocol-Version", "2025-03-26"))
	if n := strings.Count(text, `"isError":true`); n != 40-16 || w.looks != 16 {
		t.Errorf("%d refused, %d looks: %s", n, w.looks, text)
	}
	if res := w.post(batch); res.StatusCode != 400 {
		t.Error("a batch in a revision without them")
	}
}

func TestADefectEndsOneToolAndNotTheProcess(t *testing.T) {
	w := newWorld(t, func(c *chat.Config) {
		c.Toolkits["panic"] = &toolkit.Toolkit{ID: "panic", Auth: toolkit.Auth{PerUser: true}}
	})
	s := w.client(t, legacy, "alice", nil)
	a := use(t, s, "wait_for_connection", args{"toolkit": "panic"})
	if !strings.Contains(a.refused, "code: internal") || strings.Contains(a.refused, "defect\n") {
		t.Errorf("%+v", a)
	}
	if e := w.events[len(w.events)-1]; e.Err == nil || !strings.Contains(e.Err.Error(), "a defect") || e.Tool != "wait_for_connection" {
		t.Errorf("%+v", e)
	}
}
