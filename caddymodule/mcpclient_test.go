// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// mcpHeader puts an agent's headers on an SDK's requests.
type mcpHeader [][2]string

// RoundTrip implements http.RoundTripper.
func (h mcpHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for _, line := range h {
		r.Header.Set(line[0], line[1])
	}
	r.Close = true
	return http.DefaultTransport.RoundTrip(r)
}

// sdkClient is the SDK's client for alice. open is her user: it gets the address that it is
// asked to open.
func (w *world) sdkClient(t *testing.T, revision string, open func(address string)) *mcp.ClientSession {
	t.Helper()
	options := &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}}
	if open != nil {
		options.Capabilities.Elicitation = &mcp.ElicitationCapabilities{URL: &mcp.URLElicitationCapabilities{}}
		options.ElicitationHandler = func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			open(r.Params.URL)
			return &mcp.ElicitResult{Action: "accept"}, nil
		}
	}
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, options).Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: w.public() + "/mcp", MaxRetries: -1,
		HTTPClient: &http.Client{Transport: mcpHeader{{"Authorization", "Bearer " + supportKey}, {"X-User-Id", "alice"}}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func sdkCall(t *testing.T, s *mcp.ClientSession, tool string, arguments any) map[string]any {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil || res.IsError {
		t.Fatalf("%s: %v %+v", tool, err, res)
	}
	return res.StructuredContent.(map[string]any)
}

// running reports whether a goroutine of this process is in a function.
func running(function string) bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), function)
}

const allTools = "toolgate_mcp {\n\t\thttp_request on\n\t\tdisconnect on\n\t}"

func TestAnSDKClientHasItsUserConnect(t *testing.T) {
	me := map[string]any{"toolkit": "acme", "method": "GET", "path": "/v1/me"}
	for _, revision := range []string{"2026-07-28", "2025-11-25"} {
		t.Run(revision, func(t *testing.T) {
			w := newWorld(t)
			w.load(w.caddyfile("", w.minting("call connect"), allTools))
			opened := 0
			done := make(chan struct{})
			open := func(address string) {
				opened++
				go func() { w.follow(address); close(done) }()
			}
			s := w.sdkClient(t, revision, open)
			got := sdkCall(t, s, "http_request", me)
			if revision == "2025-11-25" {
				// It could have been asked, and a server without sessions does not know.
				if got["status"] != "authentication_needed" || opened != 0 {
					t.Fatalf("%v", got)
				}
				open(got["connect_url"].(string))
				if got := sdkCall(t, s, "wait_for_connection", map[string]any{"toolkit": "acme"}); got["status"] != "active" {
					t.Fatalf("%v", got)
				}
				got = sdkCall(t, s, "http_request", me)
			}
			<-done
			if got["status"] != "called" || !strings.Contains(fmt.Sprint(got["body"]), "alice@acme.example") || opened != 1 {
				t.Errorf("opened %d times: %v", opened, got)
			}
		})
	}
}

func TestToolsAreThoseOfTheRunningConfiguration(t *testing.T) {
	w := newWorld(t)
	agents := w.minting("call connect")
	w.load(w.caddyfile("", agents, allTools))
	if got := w.tools(); got != "disconnect get_authentication_link http_request list_connections wait_for_connection" {
		t.Error(got)
	}
	w.reload(w.caddyfile("", strings.Replace(agents, "rights call connect", "rights call", 1), allTools))
	if got := w.tools(); got != "http_request" {
		t.Error(got)
	}
	w.reload(w.caddyfile("", agents, "toolgate_mcp {\n\t\ttool_prefix tg_\n\t}"))
	if got := w.tools(); got != "tg_get_authentication_link tg_list_connections tg_wait_for_connection" {
		t.Error(got)
	}
	// Nothing is left that users connect.
	w.reload(w.caddyfile("", strings.Replace(agents, "acts_for any", "acts_for any\n\t\t\ttoolkits weather", 1), "toolgate_mcp"))
	if got := w.tools(); got != "" {
		t.Error(got)
	}
}

func TestAWaitHearsOfALinkThatIsUsedUnderALaterConfiguration(t *testing.T) {
	w := newWorld(t)
	agents := w.minting("call connect")
	w.load(w.caddyfile("", agents, "toolgate_mcp"))
	link := w.tool("get_authentication_link", `{}`).Out.ConnectURL
	waiting := make(chan toolAnswer, 1)
	began := time.Now()
	go func() { waiting <- w.tool("wait_for_connection", `{"toolkit":"acme"}`) }()
	eventually(t, "somebody waits", func() bool { return running("chat.(*Service).await") })
	w.load(w.caddyfile("", agents, "toolgate_mcp {\n\t\tdisconnect on\n\t}"))
	w.follow(link)
	if a := <-waiting; a.Out.Status != "active" || time.Since(began) > 4*time.Second {
		t.Errorf("after %v: %+v", time.Since(began), a)
	}
}

func TestAWaitHearsOfAConnectionThatIsMadeAtAnotherGateway(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("SEAL", sealKey)
	w := newWorld(t)
	config := w.caddyfile("", "encryption_key {env.SEAL}\n\t\t"+w.minting("call connect"), "toolgate_mcp")
	w.load(strings.Replace(config, "store file "+w.dir+"/connections.db", "store redis {\n address "+server.Addr+"\n}", 1))
	waiting := make(chan toolAnswer, 1)
	began := time.Now()
	go func() { waiting <- w.tool("wait_for_connection", `{"toolkit":"acme"}`) }()
	eventually(t, "somebody waits", func() bool { return running("chat.(*Service).await") })
	ring, err := seal.ParseRing(sealKey)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := redisstore.New(redisstore.Config{Addresses: []string{server.Addr}})
	defer elsewhere.Close()
	_, err = vault.New(elsewhere, ring).Save(t.Context(), connection.Connection{
		Key: connection.Key{Tenant: "default", User: "alice", Toolkit: "acme"}, ID: "conn_" + strings.Repeat("A", 26), Status: connection.Active,
		AccessToken: secret.New("token"), Granted: connection.Grantee{Issuer: w.origin, ClientID: "toolgate", Hosts: []string{w.origin}}, UpdatedAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := <-waiting; a.Out.Status != "active" || time.Since(began) > 4*time.Second {
		t.Errorf("after %v: %+v", time.Since(began), a)
	}
}
