// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

const proof = "X-Toolgate-Key: " + gatewaytest.AgentKey + "\r\n"

// rawAnswer sends bytes as they are and reads one answer.
func rawAnswer(t *testing.T, w *gatewaytest.World, request string) (*http.Response, string) {
	t.Helper()
	conn := w.Dial()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return gatewaytest.ReadAnswer(t, bufio.NewReader(conn))
}

func TestHostileBytesGetNowhere(t *testing.T) {
	const user = "X-User-Id: ada\r\n"
	for _, c := range []struct {
		name, line, header string
		want               verdict
	}{
		{"folded user", "GET /acme/user HTTP/1.1", proof + "X-User-Id: ada\r\n bob\r\n", verdict{400, "invalid_user", "identify", "x-user-id"}},
		{"user folded with a tab", "GET /acme/user HTTP/1.1", proof + "X-User-Id: ada,\r\n\tbob\r\n", verdict{400, "invalid_user", "identify", "x-user-id"}},
		{"users in two spellings", "GET /acme/user HTTP/1.1", proof + "x-user-id: bob\r\nX-USER-ID: ada\r\n", verdict{400, "duplicate_header", "identify", "x-user-id"}},
		{"absolute form", "GET http://evil.example/acme/user HTTP/1.1", proof + user, verdict{400, "bad_request", "resolve", "absolute_form"}},
		{"absolute form for ourselves", "GET http://localhost/acme/user HTTP/1.1", proof + user, verdict{400, "bad_request", "resolve", "absolute_form"}},
		{"absolute form of another kind", "GET ftp://evil.example/acme HTTP/1.1", proof + user, verdict{400, "bad_request", "resolve", "absolute_form"}},
		{"no form at all", "GET acme:user HTTP/1.1", proof + user, verdict{400, "bad_request", "resolve", "absolute_form"}},
		{"CONNECT", "CONNECT evil.example:443 HTTP/1.1", proof + user, verdict{405, "method_not_allowed", "resolve", "method"}},
		{"CONNECT to a path", "CONNECT /acme/user HTTP/1.1", proof + user, verdict{405, "method_not_allowed", "resolve", "method"}},
		{"OPTIONS *", "OPTIONS * HTTP/1.1", proof + user, verdict{400, "invalid_path", "resolve", "path"}},
		{"GET *", "GET * HTTP/1.1", proof + user, verdict{400, "invalid_path", "resolve", "path"}},
		{"a fragment in the query", "GET /maps/x?a#b HTTP/1.1", proof + user, verdict{400, "invalid_path", "resolve", "query"}},
		{"a bare backslash", `GET /acme\..\x HTTP/1.1`, proof + user, verdict{404, "unknown_toolkit", "resolve", "toolkit"}},
		{"an upload over HTTP/1.0 without a length", "POST /acme/user HTTP/1.0", proof + user + "Transfer-Encoding: chunked\r\n", verdict{400, "bad_request", "resolve", "length"}},
		{"HTTP/1.0 and no key", "GET /acme/user HTTP/1.0", user, verdict{401, "unknown_agent", "identify", "agent_key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			res, body := rawAnswer(t, w, c.line+"\r\nHost: gw\r\n"+c.header+"\r\n")
			refused(t, w, res, body, c.want)
			nothingLeft(t, w)
		})
	}
}

// What net/http refuses by itself does not reach the gateway; this test is to notice
// should that ever change.
func TestBytesThatAreNotHTTPGetNowhere(t *testing.T) {
	const line = "GET /acme/user HTTP/1.1\r\nHost: gw\r\n" + proof
	for name, request := range map[string]string{
		"NUL in the user":         line + "X-User-Id: ada\x00bob\r\n\r\n",
		"CR in the user":          line + "X-User-Id: ada\rX-User-Id: bob\r\n\r\n",
		"DEL in the user":         line + "X-User-Id: ada\x7f\r\n\r\n",
		"a space before a colon":  line + "X-User-Id : ada\r\n\r\n",
		"a header without a name": line + ": ada\r\n\r\n",
		"two hosts":               line + "Host: evil.example\r\nX-User-Id: ada\r\n\r\n",
		"no host":                 "GET /acme/user HTTP/1.1\r\n" + proof + "X-User-Id: ada\r\n\r\n",
		"a space in the path":     "GET /acme/a b HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\n\r\n",
		"a control in the path":   "GET /acme/a\x01 HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\n\r\n",
		"two lengths":             "POST /acme/a HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"an unknown coding":       "POST /acme/a HTTP/1.1\r\nHost: gw\r\n" + proof + "X-User-Id: ada\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
		"an unknown expectation":  line + "X-User-Id: ada\r\nExpect: the-unexpected\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			res, _ := rawAnswer(t, w, request)
			if res.StatusCode < 400 {
				t.Errorf("answered %s", res.Status)
			}
			nothingLeft(t, w)
		})
	}
}

func TestALengthBesideChunksIsNotPassedOn(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	bodies := make(chan gatewaytest.Body, 1)
	w.Provider.Handle(func(_ http.ResponseWriter, r *http.Request) { bodies <- gatewaytest.ReadBody(r) })
	smuggled := "0\r\n\r\nGET /acme/second HTTP/1.1\r\n"
	rawAnswer(t, w, "POST /acme/first HTTP/1.1\r\nHost: gw\r\n"+proof+"X-User-Id: ada\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"+smuggled)
	if body := <-bodies; body.Length != 0 || body.Err != nil {
		t.Errorf("the provider read %+v", body)
	}
	if header := w.Provider.Last(t).Header; header.Get("Content-Length") != "" {
		t.Errorf("sent on with %v", header)
	}
	if w.Provider.Calls() != 1 {
		t.Error("the smuggled request was sent")
	}
}

func TestAgentsMayShowTheirKeyWhereSDKsPutIt(t *testing.T) {
	const key = gatewaytest.AgentKey
	basic := func(user, password string) string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	for name, header := range map[string]http.Header{
		"X-Toolgate-Key":                {"X-Toolgate-Key": {key}},
		"Bearer":                        {"Authorization": {"Bearer " + key}},
		"bearer, two spaces":            {"Authorization": {"bearer  " + key}},
		"token":                         {"Authorization": {"token " + key}},
		"Basic password":                {"Authorization": {basic("api", key)}},
		"Basic user name":               {"Authorization": {basic(key, "")}},
		"Basic user name, any password": {"Authorization": {basic(key, "x")}},
		"bare":                          {"Authorization": {key}},
		"a key without our prefix":      {"Authorization": {"Bearer plain-agent-key"}},
		"x-api-key":                     {"X-Api-Key": {key}},
		"beside a placeholder":          {"X-Toolgate-Key": {key}, "Authorization": {"Bearer sk-placeholder"}},
		"beside a Basic placeholder":    {"X-Toolgate-Key": {key}, "Authorization": {basic("user", "pass")}},
		"beside broken Basic":           {"X-Toolgate-Key": {key}, "Authorization": {"Basic ???"}},
		"beside two placeholders":       {"X-Toolgate-Key": {key}, "Authorization": {"Bearer x"}, "X-Api-Key": {"y"}},
		"the same key twice":            {"X-Toolgate-Key": {key}, "Authorization": {"Bearer " + key}, "X-Api-Key": {key}},
		"the agent's two keys":          {"X-Toolgate-Key": {key}, "X-Api-Key": {"plain-agent-key"}},
		"an unset variable beside it":   {"X-Toolgate-Key": {""}, "Authorization": {"Bearer " + key}},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			for _, address := range []string{w.H1, w.H2} {
				r := w.Request("GET", address+"/weather/today", nil)
				r.Header.Del("X-Toolgate-Key")
				for name, values := range header {
					r.Header[name] = values
				}
				if res, body := w.Do(r); res.StatusCode != 200 {
					t.Fatalf("%s: %s", res.Status, body)
				}
				if e := w.Event(); e.Caller.Agent != "bot" || e.Caller.Tenant != "default" || e.Caller.User != "ada" {
					t.Errorf("taken for %+v", e.Caller)
				}
				// weather's credential is in another header, so anything here is the agent's.
				for _, name := range []string{"Authorization", "X-Api-Key", "X-Toolgate-Key"} {
					if v, there := w.Provider.Last(t).Header[name]; there {
						t.Errorf("%s: %s was sent on", name, v)
					}
				}
			}
		})
	}
}

func TestTheOnly401OfOursAsksForTheAgentsKey(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	r := w.Request("GET", w.H1+"/acme/user", nil)
	r.Header.Del("X-Toolgate-Key")
	res, body := w.Do(r)
	if got := res.Header.Get("WWW-Authenticate"); got != `Bearer realm="toolgate"` {
		t.Errorf("the challenge is %q", got)
	}
	if strings.Contains(body, "http") {
		t.Errorf("who is not known gets a link: %s", body)
	}
}
