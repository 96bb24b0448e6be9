// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/session"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// minting is an agent whose key makes sessions, and one whose key does not.
func (w *world) minting(rights string) string {
	w.t.Helper()
	for name, key := range map[string]string{"support": supportKey, "billing": billingKey} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(key), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return `agent support-bot {
			key {file.` + w.dir + `/support}
			acts_for any
			callback_urls https://app.example.com/done
			rights ` + rights + `
		}
		agent billing-bot {
			key {file.` + w.dir + `/billing}
			acts_for any
		}
		toolkit weather {
			base_url ` + w.origin + `
			no_auth
		}`
}

type sessionMade struct {
	ID, Token, User, Agent string
	BaseURL                string `json:"base_url"`
	Toolkits               []struct {
		ID, Name string
		BaseURL  string `json:"base_url"`
	}
	ManageConnections bool   `json:"manage_connections"`
	CallbackURL       string `json:"callback_url"`
	IssuedAt          string `json:"issued_at"`
	ExpiresAt         string `json:"expires_at"`
}

// api sends a request as an app's server does.
func (w *world) api(method, path, body string, header ...string) (status int, text string, h http.Header) {
	w.t.Helper()
	r, err := http.NewRequest(method, w.public()+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+supportKey)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	all, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(all), res.Header
}

func (w *world) session(body string, header ...string) (made sessionMade) {
	w.t.Helper()
	status, text, _ := w.api("POST", "/v1/sessions", body, header...)
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusCreated {
		w.t.Fatalf("%d %s", status, text)
	}
	return made
}

// sdk makes a call as an SDK does: base URL, path and API key.
func (w *world) sdk(base, token, path string) (int, string) {
	w.t.Helper()
	r, _ := http.NewRequest("GET", base+path, nil)
	r.Close = true
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

func TestASessionGoesFromTheAppToTheSDKToItsEnd(t *testing.T) {
	w := newWorld(t)
	ended := w.streaming()
	w.load(w.caddyfile("", w.minting("call connect mint"), "toolgate_api"))
	w.connect("X-Toolgate-Key", supportKey)

	all := w.session(`{"user":"alice"}`)
	if all.User != "alice" || all.Agent != "support-bot" || !all.ManageConnections || all.BaseURL != "" || len(all.Toolkits) != 2 || all.Toolkits[0].BaseURL != w.public()+"/acme" {
		t.Errorf("%+v", all)
	}
	if status, body := w.sdk(all.Toolkits[0].BaseURL, all.Token, "/v1/me"); status != ok || !strings.Contains(body, "@acme.example") {
		t.Errorf("%d %s", status, body)
	}
	one := w.session(`{"user":"alice","toolkits":["acme"],"expires_in":60,"manage_connections":{"enable":true,"callback_url":"https://app.example.com/done"}}`)
	if one.BaseURL != w.public() || one.CallbackURL != "https://app.example.com/done" || len(one.Toolkits) != 1 {
		t.Errorf("%+v", one)
	}
	if status, body := w.sdk(one.BaseURL, one.Token, "/v1/me"); status != ok || !strings.Contains(body, "@acme.example") {
		t.Errorf("%d %s", status, body)
	}
	bobs := w.session(`{"user":"bob","toolkits":["acme"],"manage_connections":false}`)
	if status, body := w.sdk(bobs.BaseURL, bobs.Token, "/v1/me"); status != http.StatusForbidden || strings.Contains(body, "connect_url") || !strings.Contains(body, "manage_connections is false") {
		t.Errorf("%d %s", status, body)
	}
	// The audit log has who made it, and neither log has a token.
	log, _ := os.ReadFile(filepath.Join(w.dir, "audit.log"))
	if !strings.Contains(string(log), `"event":"session_made"`) || !strings.Contains(string(log), `"session":"`+one.ID+`"`) || strings.Contains(string(log), "tgs_") {
		t.Errorf("%s", log)
	}

	w.hear(t, "X-Toolgate-Key", all.Token)
	if status, body, _ := w.api("DELETE", "/v1/sessions/"+all.ID, ""); status != http.StatusNoContent {
		t.Fatal(status, body)
	}
	ended(t)
	if status, body := w.sdk(w.public(), all.Token, "/acme/v1/me"); status != http.StatusUnauthorized || !strings.Contains(body, "session_revoked") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := w.sdk(one.BaseURL, one.Token, "/v1/me"); status != ok {
		t.Error("another session has ended too:", status)
	}
	if status, body, _ := w.api("POST", "/v1/sessions/revoke", `{"user":"alice"}`); status != http.StatusNoContent {
		t.Fatal(status, body)
	}
	if status, body := w.sdk(one.BaseURL, one.Token, "/v1/me"); status != http.StatusUnauthorized || !strings.Contains(body, "session_revoked") {
		t.Errorf("%d %s", status, body)
	}
	fresh := w.session(`{"user":"alice","toolkits":["acme"]}`)
	if status, body := w.sdk(fresh.BaseURL, fresh.Token, "/v1/me"); status != ok {
		t.Errorf("%d %s", status, body)
	}
	// A reload changes nothing about it, and neither does a restart of the store.
	w.load(w.caddyfile("", w.minting("call connect mint")+"\n\t\tlink_life 10m", "toolgate_api"))
	if status, body := w.sdk(fresh.BaseURL, fresh.Token, "/v1/me"); status != ok {
		t.Errorf("%d %s", status, body)
	}
	if status, body := w.sdk(one.BaseURL, one.Token, "/v1/me"); status != http.StatusUnauthorized {
		t.Errorf("%d %s", status, body)
	}
}

func TestWhoMayMakeASessionAndForWhat(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", w.minting("call connect mint"), "toolgate_api"))
	token := w.session(`{"user":"alice"}`).Token
	for name, c := range map[string]struct {
		body   string
		header []string
		status int
		code   string
	}{
		"no key":                     {`{"user":"a"}`, []string{"Authorization", "Bearer nobody"}, 401, "unknown_agent"},
		"an agent without the right": {`{"user":"a"}`, []string{"Authorization", "Bearer " + billingKey}, 403, "not_permitted"},
		"a session":                  {`{"user":"alice"}`, []string{"Authorization", "Bearer " + token}, 403, "not_permitted"},
		"a web page":                 {`{"user":"a"}`, []string{"Origin", "https://evil.example"}, 403, "browser_request"},
		"another user in the header": {`{"user":"a"}`, []string{"X-User-Id", "b"}, 403, "user_mismatch"},
		"no user":                    {`{}`, nil, 400, "invalid_user"},
		"two users in one":           {`{"user":"a,b"}`, nil, 400, "invalid_user"},
		"an unknown toolkit":         {`{"user":"a","toolkits":["nope"]}`, nil, 404, "unknown_toolkit"},
		"no toolkit":                 {`{"user":"a","toolkits":[]}`, nil, 400, "bad_request"},
		"a misspelled field":         {`{"user":"a","toolkit":["acme"]}`, nil, 400, "bad_request"},
		"a wrong type":               {`{"user":"a","toolkits":"acme"}`, nil, 400, "bad_request"},
		"a misspelled inner field":   {`{"user":"a","manage_connections":{"enabled":false}}`, nil, 400, "bad_request"},
		"too long":                   {`{"user":"a","expires_in":86401}`, nil, 400, "bad_request"},
		"no time":                    {`{"user":"a","expires_in":0}`, nil, 400, "bad_request"},
		"half a second":              {`{"user":"a","expires_in":0.5}`, nil, 400, "bad_request"},
		"a callback not allowed":     {`{"user":"a","manage_connections":{"callback_url":"https://app.example.com/done/"}}`, nil, 400, "bad_request"},
		"two objects":                {`{"user":"a"}{"user":"b"}`, nil, 400, "bad_request"},
		"a list":                     {`[]`, nil, 400, "bad_request"},
		"nothing":                    {``, nil, 400, "bad_request"},
		"a form":                     {`user=a`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, "bad_request"},
		"a huge body":                {`{"user":"` + strings.Repeat("a", 1<<17) + `"}`, nil, 400, "bad_request"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, h := w.api("POST", "/v1/sessions", c.body, c.header...)
			if status != c.status || !strings.Contains(body, `"code":"`+c.code+`"`) || strings.Contains(body, "tgs_") || h.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	for path, want := range map[string]int{"/v1/sessions/short": 404, "/v1/sessions/" + strings.Repeat("A", 26): 204, "/v1/sessions/": 404} {
		if status, body, _ := w.api("DELETE", path, ""); status != want && !(path == "/v1/sessions/" && status == 405) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _, h := w.api("GET", "/v1/sessions", ""); status != 405 || h.Get("Allow") != "POST" {
		t.Error(status, h)
	}
}

func TestAPostThatIsSentAgainGetsTheSameSession(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", w.minting("mint"), "toolgate_api"))
	key := []string{"Idempotency-Key", "order-1"}
	one, two := w.session(`{"user":"alice"}`, key...), w.session(`{"user":"alice"}`, key...)
	if one.ID != two.ID || one.Token != two.Token {
		t.Errorf("%+v, then %+v", one, two)
	}
	if other := w.session(`{"user":"alice"}`, "Idempotency-Key", "order-2"); other.ID == one.ID {
		t.Error("another key, the same session")
	}
	if status, body, _ := w.api("POST", "/v1/sessions", `{"user":"bob"}`, key...); status != 422 {
		t.Errorf("%d %s", status, body)
	}
	if status, body := w.call("GET", "/weather/x", "X-Toolgate-Key", supportKey); status != 403 || !strings.Contains(body, `"rule":"rights"`) {
		t.Errorf("an agent that only mints has called: %d %s", status, body)
	}
}

func TestWhatAnAgentDoesEndsWhenItIsDismissed(t *testing.T) {
	w := newWorld(t)
	ended := w.streaming()
	agents := w.minting("call connect mint")
	w.load(w.caddyfile("", agents, "toolgate_api"))
	w.connect("X-Toolgate-Key", supportKey)
	w.hear(t, "X-Toolgate-Key", supportKey)
	w.load(w.caddyfile("", agents[strings.Index(agents, "agent billing-bot"):], ""))
	ended(t)
}

func TestASessionThatIsTakenBackAtAnotherGatewayEndsHereToo(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("SEAL", sealKey)
	w := newWorld(t)
	ended := w.streaming()
	config := w.caddyfile("", "encryption_key {env.SEAL}\n\t\t"+w.minting("call connect mint"), "toolgate_api")
	w.load(strings.Replace(config, "store file "+w.dir+"/connections.db", "store redis {\n address "+server.Addr+"\n}", 1))
	w.connect("X-Toolgate-Key", supportKey)
	made := w.session(`{"user":"alice","toolkits":["acme"]}`)
	r, _ := http.NewRequest("GET", w.public()+"/extra/events", nil)
	r.Header.Set("Authorization", "Bearer "+made.Token)
	stream, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	elsewhere(t, server.Addr, made.ID)
	ended(t)
	if status, body := w.sdk(made.BaseURL, made.Token, "/v1/me"); status != http.StatusUnauthorized {
		t.Errorf("%d %s", status, body)
	}
}

// elsewhere takes a session back as another gateway on the store does.
func elsewhere(t *testing.T, address, id string) {
	t.Helper()
	ring, err := seal.ParseRing(sealKey)
	if err != nil {
		t.Fatal(err)
	}
	s := redisstore.New(redisstore.Config{Addresses: []string{address}})
	defer s.Close()
	r := session.NewRevocations(vault.New(s, ring), time.Now)
	if err := r.Revoke(t.Context(), session.Owner{Tenant: "default", Agent: "support-bot"}, id); err != nil {
		t.Fatal(err)
	}
}

// The stream goes on under the configuration, and the keys, that it began with.
func TestASessionThatIsTakenBackAfterTheKeysWereReplacedEndsItsStreams(t *testing.T) {
	t.Setenv("SEAL", sealKey)
	w := newWorld(t)
	ended := w.streaming()
	config := w.caddyfile("", "encryption_key {env.SEAL}\n\t\t"+w.minting("call connect mint"), "toolgate_api")
	w.load(config)
	w.connect("X-Toolgate-Key", supportKey)
	made := w.session(`{"user":"alice"}`)
	w.hear(t, "X-Toolgate-Key", made.Token)
	t.Setenv("SEAL", seal.NewKey()+"\n"+sealKey)
	w.load(config + "\n")
	if status, body, _ := w.api("DELETE", "/v1/sessions/"+made.ID, ""); status != http.StatusNoContent {
		t.Fatal(status, body)
	}
	ended(t)
}

// Some SDKs put their key into the address, and somebody takes a token for an id.
func TestTheAccessLogHoldsNoSession(t *testing.T) {
	w := newWorld(t)
	log := filepath.Join(w.dir, "access.log")
	w.load(w.caddyfile("", w.minting("call connect mint"), "toolgate_api\n\tlog {\n\t\toutput file "+log+"\n\t}"))
	token := w.session(`{"user":"alice"}`).Token
	w.sdk(w.public(), token, "/acme/v1/me?key="+token)
	w.api("DELETE", "/v1/sessions/"+token, "")
	w.sdk(w.public(), token, "/acme/v1/me?key=marker")
	for range 500 { // the line is written when the answer has left
		if text, _ := os.ReadFile(log); strings.Contains(string(text), "key=marker") {
			if strings.Contains(string(text), token[:20]) {
				t.Errorf("%s", text)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("no call is in the access log")
}

// Whoever is refused before their body is read is told so, and not when it has come.
func TestARefusalOfTheAPIDoesNotWaitForTheBody(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", w.minting("mint"), "toolgate_api"))
	conn, err := net.Dial("tcp", "127.0.0.1:"+w.port())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "POST /v1/sessions HTTP/1.1\r\nHost: localhost:"+w.port()+"\r\nAuthorization: Bearer nobody\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Fatal(res, err)
	}
}
