// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// answered is a provider's answer, byte for byte, and what the agent gets: the status,
// the header without what every answer has, and the body.
type answered struct {
	name   string
	wire   string // lines end with |
	says   string
	header string
	body   string
}

var answers = []answered{
	{"plain", "HTTP/1.1 200 OK|Content-Length: 2|Content-Type: a/b|X-A: 1||ok", "200", "Content-Length: 2|Content-Type: a/b|X-A: 1", "ok"},
	{"its own options", "HTTP/1.1 200 OK|Content-Length: 2|Content-Type: a/b|X-Secret: 1|Connection: content-type, x-secret, x-toolgate-request-id, cache-control||ok", "200", "Content-Length: 2", "ok"},
	{"hop by hop", "HTTP/1.1 200 OK|Content-Length: 2|Keep-Alive: timeout=5|Proxy-Connection: x|Proxy-Authenticate: Basic|Proxy-Authorization: x|Upgrade: h2c|TE: x|Content-Type: a/b||ok", "200", "Content-Length: 2|Content-Type: a/b", "ok"},
	{"what is the site's", "HTTP/1.1 200 OK|Content-Length: 2|Set-Cookie: a=b|Strict-Transport-Security: max-age=1|Alt-Svc: h3|Clear-Site-Data: *|WWW-Authenticate: Basic|Set-Cookie2: a=b|Public-Key-Pins: x|NEL: x|Report-To: x|Reporting-Endpoints: x|CDN-Cache-Control: public|Surrogate-Control: x|X-Toolgate-Request-Id: 1|X-Toolgate-Other: 1|Proxy-Status: x|Content-Type: a/b||ok", "200", "Content-Length: 2|Content-Type: a/b", "ok"},
	{"a length beside chunks", "HTTP/1.1 200 OK|Content-Length: 9|Transfer-Encoding: chunked|Content-Type: a/b||2|ok|0||", "200", "Content-Type: a/b", "ok"},
	{"two lengths", "HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 3||ok", "502 upstream_unreachable", "", ""},
	{"a length twice", "HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 2|Content-Type: a/b||ok", "200", "Content-Length: 2|Content-Type: a/b", "ok"},
	{"a coding that nobody knows", "HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||2|ok|0||", "502 upstream_unreachable", "", ""},
	{"a folded header", "HTTP/1.1 200 OK|Content-Length: 2|Content-Type: a/b|X-A: 1|  2||ok", "200", "Content-Length: 2|Content-Type: a/b|X-A: 1 2", "ok"},
	{"a header with NUL", "HTTP/1.1 200 OK|Content-Length: 2|X-A: 1\x002||ok", "502 upstream_unreachable", "", ""},
	{"a header with a bare CR", "HTTP/1.1 200 OK|Content-Length: 2|X-A: 1\rX-B: 2||ok", "502 upstream_unreachable", "", ""},
	{"a space before the colon", "HTTP/1.1 200 OK|Content-Length : 2|Set-Cookie : a=b|X-A: 1||ok", "200", "X-A: 1", "ok"},
	{"not HTTP", "hello||", "502 upstream_unreachable", "", ""},
	{"nothing", "", "502 upstream_unreachable", "", ""},
	{"a switch that nobody asked for", "HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: websocket||\x81\x02hi", "502 upstream_unreachable", "", ""},
	{"a switch to nothing", "HTTP/1.1 101 Switching Protocols||", "502 upstream_unreachable", "", ""},
	{"304 with a body", "HTTP/1.1 304 Not Modified|Content-Length: 4|Etag: x||evil", "304", "Etag: x", ""},
	{"204 with a body", "HTTP/1.1 204 No Content|Content-Length: 4|X-A: 1||evil", "204", "X-A: 1", ""},
	{"a status of another kind", "HTTP/1.1 999 Odd|Content-Length: 0||", "999", "Content-Length: 0", ""},
	{"too small a status", "HTTP/1.1 099 Odd|Content-Length: 0||", "502 upstream_unreachable", "", ""},
	{"some hints", strings.Repeat("HTTP/1.1 103 Early Hints|Link: </a.css>||", 3) + "HTTP/1.1 200 OK|Content-Length: 2|Content-Type: a/b||ok", "200", "Content-Length: 2|Content-Type: a/b", "ok"},
	{"a storm of hints", strings.Repeat("HTTP/1.1 103 Early Hints||", 2000) + "HTTP/1.1 200 OK|Content-Length: 2||ok", "502 upstream_unreachable", "", ""},
	{"a storm of 100", strings.Repeat("HTTP/1.1 100 Continue||", 2000) + "HTTP/1.1 200 OK|Content-Length: 2||ok", "502 upstream_unreachable", "", ""},
	{"a trailer", "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Type: a/b||2|ok|0|X-Sum: 1|Content-Length: 9|Set-Cookie: a=b|X-Toolgate-Request-Id: 1||", "200", "Content-Type: a/b|X-Sum: 1", "ok"},
	{"HTTP/1.0", "HTTP/1.0 200 OK|Content-Type: a/b||ok", "200", "Content-Type: a/b", "ok"},
}

func TestWhatAProviderSaysOfItsHopEndsHere(t *testing.T) {
	w := newWire(t, more{})
	for _, c := range answers {
		t.Run(c.name, func(t *testing.T) {
			text := strings.ReplaceAll(c.wire, "|", "\r\n")
			w.provider.answers(func(message) (string, bool) { return text, false })
			conn, from := w.dial(t)
			_, _ = io.WriteString(conn, w.filled("GET /acme/x HTTP/1.1\r\nHost: HOST\r\nWHO\r\n"))
			r, hints := afterHints(t, from)
			if r.says() != c.says || c.body != "" && r.body != c.body {
				t.Fatalf("the agent got %s %q", r.says(), r.body)
			}
			if strings.Contains(c.says, "upstream") {
				return
			}
			if want := strings.Count(c.wire, " 103 "); hints != want {
				t.Errorf("%d hints, want %d", hints, want)
			}
			if got := ownHeader(r); got != c.header || len(r.Header.Get("X-Toolgate-Request-Id")) != 26 {
				t.Errorf("the header is %s", got)
			}
		})
	}
}

func afterHints(t *testing.T, from *bufio.Reader) (r reply, hints int) {
	t.Helper()
	for {
		r, err := readReply(from, "GET")
		if err != nil {
			t.Fatalf("after %d hints: %v", hints, err)
		}
		if r.StatusCode != http.StatusEarlyHints {
			return r, hints
		}
		hints++
	}
}

// ownHeader is the header, and the trailer, without what is in every answer.
func ownHeader(r reply) string {
	var lines []string
	for _, h := range []http.Header{r.Header, r.Trailer} {
		for name, values := range h {
			if name != "Date" && name != "Server" && name != "X-Toolgate-Request-Id" && name != "Cache-Control" {
				lines = append(lines, name+": "+strings.Join(values, ";"))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "|")
}

// What comes behind an answer's end waits in the kept connection, to be taken for the
// next caller's answer.
func TestTheNextCallerNeverGetsWhatComesBehindAnAnswer(t *testing.T) {
	w := newWire(t, more{acme: "transport http {\n max_conns_per_host 1\n }"}) // so that one always waits for it
	const behind = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nalice's 2"
	for name, answer := range map[string]string{
		"a length":                okAnswer,
		"chunks":                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"no body":                 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"204":                     "HTTP/1.1 204 No Content\r\n\r\n",
		"304 with a body":         "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n",
		"an answer to a HEAD":     "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n",
		"a redirect":              "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
		"401, which is sent anew": "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w.provider.answers(func(m message) (string, bool) {
				if m.value("Authorization") == w.bearer["bob"] {
					return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbob's", true
				}
				return answer + behind, true
			})
			method := "GET"
			if strings.Contains(name, "HEAD") {
				method = "HEAD"
			}
			for range 100 {
				w.aliceThenBob(t, method)
			}
		})
	}
	// The connection that is kept is the same one where nothing comes behind, and another
	// one for another user.
	w.provider.answers(nil)
	w.provider.taken()
	w.as(t, "GET", "alice")
	w.as(t, "GET", "alice")
	w.as(t, "GET", "bob")
	if got := w.provider.taken(); len(got) != 3 || got[0].conn != got[1].conn || got[1].conn == got[2].conn {
		t.Errorf("the calls came as %+v", got)
	}
}

func (w *wire) aliceThenBob(t *testing.T, method string) {
	t.Helper()
	done := make(chan error)
	go func() { // at the same time too
		_, err := w.as(t, method, "alice")
		done <- err
	}()
	for range 3 {
		if r, err := w.as(t, "GET", "bob"); err == nil && r.body != "bob's" && r.StatusCode < 500 {
			t.Fatalf("bob got %s %q", r.says(), r.body)
		}
	}
	<-done
}

func (w *wire) as(t *testing.T, method, user string) (reply, error) {
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s /acme/x HTTP/1.1\r\nHost: %s\r\n%sX-User-Id: %s\r\nConnection: close\r\n\r\n", method, w.address, proof, user)
	return readReply(bufio.NewReader(conn), method)
}
