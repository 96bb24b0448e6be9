// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

const upgrade = "GET /acme/socket HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n"

// switching is a provider that changes the protocol and hands its connection on.
func switching(w *gatewaytest.World, protocol string) chan net.Conn {
	conns := make(chan net.Conn, 1)
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade, X-Hop\r\nUpgrade: "+protocol+"\r\nX-Hop: 1\r\nSet-Cookie: a=b\r\nSec-WebSocket-Accept: def\r\n\r\nhello")
		conns <- conn
	})
	return conns
}

// openTunnel gives both ends of a tunnel through the gateway.
func openTunnel(t *testing.T, w *gatewaytest.World) (agent net.Conn, fromAgent *bufio.Reader, provider net.Conn) {
	t.Helper()
	conns := switching(w, "WebSocket")
	agent = w.Dial()
	_, _ = io.WriteString(agent, upgrade+"early")
	fromAgent = bufio.NewReader(agent)
	res, err := http.ReadResponse(fromAgent, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("answered %v, %v", res, err)
	}
	if h := res.Header; h.Get("Upgrade") != "WebSocket" || h.Get("Connection") != "Upgrade" || h.Get("Sec-WebSocket-Accept") != "def" || h["X-Hop"] != nil || h["Set-Cookie"] != nil || h.Get("X-Toolgate-Request-Id") == "" {
		t.Errorf("switched with %v", h)
	}
	provider = <-conns
	t.Cleanup(func() { provider.Close() })
	gatewaytest.Hears(t, provider, "early")
	gatewaytest.Hears(t, fromAgent, "hello")
	return agent, fromAgent, provider
}

func TestAWebSocketTalksBothWays(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	agent, fromAgent, provider := openTunnel(t, w)
	seen := w.Provider.Last(t).Header
	if seen.Get("Upgrade") != "websocket" || seen.Get("Connection") != "Upgrade" || seen.Get("Authorization") != "Bearer "+gatewaytest.UserToken || seen.Get("Sec-WebSocket-Key") != "abc" {
		t.Errorf("asked with %v", seen)
	}
	for range 3 {
		_, _ = io.WriteString(agent, "ping")
		gatewaytest.Hears(t, provider, "ping")
		_, _ = io.WriteString(provider, "pong")
		gatewaytest.Hears(t, fromAgent, "pong")
	}
	agent.Close()
	if _, err := provider.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("when the agent is gone, the provider sees %v", err)
	}
	provider.Close()
	if e := w.Event(); e.Status != 101 || e.Bytes != int64(len("hello")+3*len("pong")) || e.Err != nil {
		t.Errorf("event %+v", e)
	}
}

func TestAProviderMayEndAWebSocket(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	agent, fromAgent, provider := openTunnel(t, w)
	_, _ = io.WriteString(provider, "bye")
	provider.Close()
	gatewaytest.Hears(t, fromAgent, "bye")
	if _, err := fromAgent.ReadByte(); err != io.EOF {
		t.Errorf("the agent sees %v", err)
	}
	agent.Close()
	w.Event()
}

func TestOneSideMayGoOnWhenTheOtherHasSaidAll(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	agent, fromAgent, provider := openTunnel(t, w)
	_, _ = io.WriteString(agent, "that was all")
	_ = agent.(*net.TCPConn).CloseWrite()
	if said, err := io.ReadAll(provider); string(said) != "that was all" || err != nil {
		t.Fatalf("the provider heard %q, %v", said, err)
	}
	_, _ = io.WriteString(provider, "and the answer")
	provider.Close()
	if heard, err := io.ReadAll(fromAgent); string(heard) != "and the answer" || err != nil {
		t.Errorf("the agent heard %q, %v", heard, err)
	}
}

func TestCloseEndsWebSocketsAndBeginsNoMore(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	_, fromAgent, provider := openTunnel(t, w)
	w.Gateway.Close()
	if _, err := fromAgent.ReadByte(); err == nil {
		t.Error("the agent is still connected")
	}
	if _, err := provider.Read(make([]byte, 1)); err == nil {
		t.Error("the provider is still connected")
	}
	w.Event()
	switching(w, "websocket")
	res, body := rawAnswer(t, w, upgrade)
	refused(t, w, res, body, verdict{503, "shutting_down", "judge", "upgrade"})
}

func TestAnotherProtocolThanWasAskedForIsRefused(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	for _, protocol := range []string{"h2c", "other", ""} {
		switching(w, protocol)
		res, body := rawAnswer(t, w, upgrade)
		refused(t, w, res, body, verdict{502, "upstream_unreachable", "judge", "upgrade"})
	}
	// And where none was asked for, net/http itself stumbles.
	switching(w, "websocket")
	res, _ := w.Get("/acme/x")
	if res.StatusCode != 502 {
		t.Errorf("answered %s", res.Status)
	}
}

func TestUpgradesThatAreNotPassedOn(t *testing.T) {
	for name, request := range map[string]string{
		"h2c":                   "GET /acme/x HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
		"H2C":                   "GET /acme/x HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\nConnection: Upgrade\r\nUpgrade: H2C\r\n\r\n",
		"not in Connection":     "GET /acme/x HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\nUpgrade: websocket\r\n\r\n",
		"with a body":           "POST /acme/x HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nbody",
		"with a body in chunks": "POST /acme/x HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	} {
		w := gatewaytest.New(t, gatewaytest.Options{})
		res, body := rawAnswer(t, w, request)
		seen := w.Provider.Last(t).Header
		if res.StatusCode != 200 || body != "ok" || seen["Upgrade"] != nil || seen["Connection"] != nil || strings.Contains(seen.Get("Http2-Settings"), "A") {
			t.Errorf("%s: %s, sent with %v", name, res.Status, seen)
		}
	}
}

func TestAnUpgradeThatTheProviderDeclinesIsAnOrdinaryAnswer(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	conn := w.Dial()
	from := bufio.NewReader(conn)
	for range 2 { // the connection is used again
		_, _ = io.WriteString(conn, upgrade)
		if res, body := gatewaytest.ReadAnswer(t, from); res.StatusCode != 200 || body != "ok" {
			t.Errorf("answered %s %q", res.Status, body)
		}
	}
}

func TestAWebSocketEndsWithTheGrantThatItLivesOn(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	agent, fromAgent, provider := openTunnel(t, w)
	key := connection.Key{Tenant: "default", User: "ada", Toolkit: "acme"}
	for _, other := range []connection.Key{{Tenant: "default", User: "bob", Toolkit: "acme"}, {Tenant: "default", User: "ada", Toolkit: "weather"}, {Tenant: "other", User: "ada", Toolkit: "acme"}} {
		w.Gateway.Disconnect(other)
	}
	_, _ = io.WriteString(agent, "still here")
	gatewaytest.Hears(t, provider, "still here")
	w.Gateway.Disconnect(key)
	if rest, _ := io.ReadAll(provider); len(rest) != 0 {
		t.Errorf("the provider heard %q", rest)
	}
	if rest, _ := io.ReadAll(fromAgent); len(rest) != 0 {
		t.Errorf("the agent heard %q", rest)
	}
	openTunnel(t, w) // a new grant's
}
