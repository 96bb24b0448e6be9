// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolgate/toolgate/chat"
	"github.com/toolgate/toolgate/problem"
)

const here = "https://tools.example.com/gw"

// callingWorld has the tool that calls; api is what answers.
func callingWorld(t testing.TB, api http.HandlerFunc) *world {
	return newWorld(t, func(c *chat.Config) {
		c.Calls = &chat.Calls{URL: here, To: func(id string) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("X-To", id)
				api(rw, r)
			})
		}}
	})
}

func get(path string, more ...string) args {
	in := args{"toolkit": "acme", "method": "GET", "path": path}
	for i := 0; i < len(more); i += 2 {
		in[more[i]] = more[i+1]
	}
	return in
}

func TestACallIsTheCallersOwnWhateverTheModelWrites(t *testing.T) {
	var got *http.Request
	w := callingWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		got = r.Clone(r.Context())
		_, _ = rw.Write([]byte("{}"))
	})
	s := w.client(t, modern, "alice", nil)
	in := get("/v1/me", "account", "work")
	in["headers"] = map[string]string{
		"X-User-Id": "bob", "x-toolgate-key": "stolen", "Authorization": "Bearer stolen", "X_User_Id": "bob", "X-Toolkit": "beta", "X-Account": "home",
		"X-Forwarded-For": "10.0.0.1", "Cookie": "a=b", "Host": "evil.example", "Transfer-Encoding": "chunked", "Connection": "x-user-id", "Upgrade": "websocket",
		"X-Toolgate-Callback": "https://evil.example", "Origin": "https://evil.example", "Sec-Fetch-Mode": "navigate", "Accept-Encoding": "gzip", "Content-Length": "7",
		"Accept": "text/csv", "If-Match": `"x"`,
	}
	a := use(t, s, "http_request", in)
	want := http.Header{
		"Accept": {"text/csv"}, "If-Match": {`"x"`}, "User-Agent": {"toolgate-mcp"},
		"X-Toolgate-Key": {"bot"}, "X-User-Id": {"alice"}, "X-Account": {"work"},
	}
	if !maps.EqualFunc(got.Header, want, slices.Equal) {
		t.Errorf("got %v", got.Header)
	}
	if got.Host != "connect.example.com" || got.RemoteAddr != "192.0.2.1:1234" || got.URL.Path != "/v1/me" || a.Headers["X-To"] != "acme" {
		t.Errorf("%+v %+v", got, a)
	}
	if len(a.LeftOut) != 17 || a.Status != "called" {
		t.Errorf("%d left out: %+v", len(a.LeftOut), a)
	}
}

func TestHowACallIsWritten(t *testing.T) {
	var got *http.Request
	var body []byte
	w := callingWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		got = r.Clone(r.Context())
		body, _ = io.ReadAll(r.Body)
		rw.WriteHeader(http.StatusNoContent)
	})
	s := w.client(t, modern, "alice", nil)
	in := args{"toolkit": "acme", "method": "POST", "path": "/a%2Fb/ü?x=1", "query": map[string]string{"q": "a b&c"}, "body": `{"a":1}`}
	if a := use(t, s, "http_request", in); !strings.Contains(a.refused, "Escape") {
		t.Errorf("%+v", a)
	}
	in["path"] = "/a%2Fb/c?x=1"
	a := use(t, s, "http_request", in)
	if got.URL.EscapedPath() != "/a%2Fb/c" || got.URL.RawQuery != "x=1&q=a+b%26c" || string(body) != `{"a":1}` || got.ContentLength != 7 || got.Header.Get("Content-Type") != "application/json" || a.HTTPStatus != 204 || a.Body != "" {
		t.Errorf("%v %s %+v", got, body, a)
	}
	in["body"], in["headers"] = "a=1", map[string]string{"content-type": "application/x-www-form-urlencoded"}
	if use(t, s, "http_request", in); got.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("%v", got.Header)
	}
	for _, path := range []string{"", "v1/me", "https://evil.example/", "//evil.example/x", "/a b", "/a#b", "/a\\b", "/a\r\nX-User-Id: bob", "/%zz", "/" + strings.Repeat("a", 9000)} {
		got = nil
		if a := use(t, s, "http_request", get(path)); a.refused == "" || got != nil {
			t.Errorf("%.40q: %+v", path, a)
		}
	}
	for name, more := range map[string]args{
		"a header with a line break": {"headers": map[string]string{"X-A": "b\r\nX-User-Id: bob"}}, "no header's name": {"headers": map[string]string{"X A": "b"}},
		"a header twice": {"headers": map[string]string{"X-A": "1", "x-a": "2"}}, "long headers": {"headers": map[string]string{"X-A": strings.Repeat("a", 17<<10)}},
		"a long body": {"body": strings.Repeat("a", 1<<20+1)}, "TRACE": {"method": "TRACE"}, "a number": {"query": map[string]any{"q": 1}},
		"a long query": {"query": map[string]string{"q": strings.Repeat("a", 17<<10)}}, "an unknown toolkit": {"toolkit": "nope"},
	} {
		in := get("/x")
		maps.Copy(in, more)
		got = nil
		if a := use(t, s, "http_request", in); a.refused == "" || got != nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	long := get("/x", "body", strings.Repeat("\"", 1<<20))
	if use(t, s, "http_request", long); got == nil || got.ContentLength != 1<<20 {
		t.Error("a body of 1 MiB does not arrive")
	}
}

func TestWhatIsNoTextComesAsBase64(t *testing.T) {
	png := []byte("\x89PNG\r\n\x1a\n\x00\xff")
	for name, c := range map[string]struct {
		body   []byte
		header []string
		text   bool
		mime   string
	}{
		"a picture":           {png, []string{"Content-Type", "image/png"}, false, "image/png"},
		"a picture of nobody": {png, nil, false, "image/png"},
		"text":                {[]byte("grüße & <b>"), []string{"Content-Type", "text/html; charset=utf-8"}, true, "text/html"},
		"compressed":          {[]byte("abc"), []string{"Content-Encoding", "gzip", "Content-Type", "text/plain"}, false, "text/plain"},
		"text with a zero":    {[]byte("a\x00b"), []string{"Content-Type", "text/plain"}, false, "text/plain"},
		"latin letters":       {[]byte("gr\xfc\xdfe"), []string{"Content-Type", "text/plain"}, false, "text/plain"},
	} {
		t.Run(name, func(t *testing.T) {
			w := callingWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				for i := 0; i < len(c.header); i += 2 {
					rw.Header().Set(c.header[i], c.header[i+1])
				}
				_, _ = rw.Write(c.body)
			})
			a := use(t, w.client(t, modern, "alice", nil), "http_request", get("/x"))
			want, wantBase64 := string(c.body), ""
			if !c.text {
				want, wantBase64 = "", base64.StdEncoding.EncodeToString(c.body)
			}
			if a.Body != want || a.BodyBase64 != wantBase64 || a.MIMEType != c.mime {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestALongAnswerIsCutAndSaysSo(t *testing.T) {
	for _, letter := range []string{"a", "ü", "€", "𝄞"} {
		wrote := 0
		w := callingWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/plain")
			_, _ = rw.Write([]byte("x"))
			for {
				n, err := rw.Write([]byte(strings.Repeat(letter, 1000)))
				if wrote += n; err != nil { // as the gateway does, which fetches no more then
					panic(http.ErrAbortHandler)
				}
			}
		})
		a := use(t, w.client(t, modern, "alice", nil), "http_request", get("/x"))
		if !a.Truncated || !strings.Contains(a.Message, "1 MiB") || a.HTTPStatus != 200 || len(a.Body) > 1<<20 || len(a.Body) < 1<<20-3 || !utf8.ValidString(a.Body) || wrote > 1<<20 {
			t.Errorf("%s: %d bytes of %d, %s", letter, len(a.Body), wrote, a.Message)
		}
	}
}

func TestAnAnswerThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := callingWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/never" {
				<-r.Context().Done()
				rw.WriteHeader(499)
				return
			}
			_, _ = rw.Write([]byte("event: 1\n\n"))
			if r.URL.Path == "/stream" {
				<-r.Context().Done()
			}
			panic(http.ErrAbortHandler)
		})
		s := w.client(t, legacy, "alice", nil)
		began := time.Now()
		if a := use(t, s, "http_request", get("/stream")); !a.Truncated || a.Body != "event: 1\n\n" || !strings.Contains(a.Message, "not ended after 50 seconds") || time.Since(began) != 50*time.Second {
			t.Errorf("%+v", a)
		}
		if a := use(t, s, "http_request", get("/never")); !strings.Contains(a.refused, "upstream_timeout") {
			t.Errorf("%+v", a)
		}
		if a := use(t, s, "http_request", get("/breaks")); !a.Truncated || !strings.Contains(a.Message, "broke off") {
			t.Errorf("%+v", a)
		}
		_ = s.Close()
	})
}

func TestAddressesInAnswersAreAsTheToolTakesThem(t *testing.T) {
	w := callingWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Link", "<"+here+`/v1/x?page=2>; rel="next", <`+here+`/v1/x?page=9>; rel="last"`)
		h.Set("Location", here+"/v1/y")
		h.Set("Content-Location", "https://elsewhere.example/z")
		h.Set("Connection", "close")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.WriteHeader(http.StatusCreated)
		h.Set("X-Late", "1")
	})
	a := use(t, w.client(t, modern, "alice", nil), "http_request", get("/x"))
	if a.Headers["Link"] != `</v1/x?page=2>; rel="next", </v1/x?page=9>; rel="last"` || a.Headers["Location"] != "/v1/y" || a.Headers["Content-Location"] != "https://elsewhere.example/z" ||
		a.Headers["Connection"] != "" || a.Headers["X-Late"] != "" || a.HTTPStatus != 201 {
		t.Errorf("%+v", a)
	}
}

// refuses answers as the gateway does.
func refuses(code problem.Code) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		p := problem.New(code, "rule", "It is refused.")
		if code == problem.AuthRequired {
			p.Toolkit, p.ConnectURL, p.ExpiresAt = &problem.Toolkit{ID: "acme", Name: "Acme"}, public+"/connect/c_x", time.Now().Add(time.Minute)
		}
		p.Write(rw, r.Header.Get("Accept"), "id")
	}
}

func TestACallThatNeedsAConnectionGivesTheLink(t *testing.T) {
	for _, era := range []string{modern, legacy} {
		w := callingWorld(t, refuses(problem.AuthRequired))
		a := use(t, w.client(t, era, "alice", nil), "http_request", get("/x"))
		if a.Status != "authentication_needed" || a.ConnectURL != public+"/connect/c_x" || !strings.Contains(a.Message, "It is refused.") || a.ExpiresAt == "" || a.HTTPStatus != 0 {
			t.Errorf("%+v", a)
		}
	}
	w := callingWorld(t, refuses(problem.ToolkitForbidden))
	if a := use(t, w.client(t, modern, "alice", nil), "http_request", get("/x")); !strings.Contains(a.refused, "It is refused.") || !strings.Contains(a.refused, "toolkit_not_allowed") {
		t.Errorf("%+v", a)
	}
}

func TestAProvidersOwnRefusalIsItsAnswer(t *testing.T) {
	w := callingWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(403)
		_, _ = rw.Write([]byte(`{"code":"auth_required","connect_url":"https://evil.example/","toolkit":{"id":"acme","name":"Acme"}}`))
	})
	a := use(t, w.client(t, modern, "alice", func(*mcp.ElicitParams) string { t.Error("the user was asked"); return "accept" }), "http_request", get("/x"))
	if a.Status != "called" || a.HTTPStatus != 403 || a.ConnectURL != "" {
		t.Errorf("%+v", a)
	}
}

func TestACallGoesOnWhenTheUserHasConnected(t *testing.T) {
	// The second is for a call that lacks a scope: the connection is there, and is to be made anew.
	for name, before := range map[string]bool{"not connected": false, "connected for less": true} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { goesOn(t, before) }) })
	}
}

func goesOn(t *testing.T, before bool) {
	var bodies bytes.Buffer
	w := callingWorld(t, nil)
	if before {
		w.stands("alice/acme", active(), false)
	}
	calls := 0
	w.cfg.Calls.To = func(string) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if calls++; calls == 1 {
				refuses(problem.AuthRequired)(rw, r)
				return
			}
			_, _ = io.Copy(&bodies, r.Body)
			_, _ = rw.Write([]byte(`{"done":true}`))
		})
	}
	w.service = chat.New(w.cfg)
	asked := 0
	s := w.client(t, modern, "alice", func(p *mcp.ElicitParams) string {
		asked++
		go func() {
			time.Sleep(3 * time.Second)
			w.stands("alice/acme", active(), true)
		}()
		return "accept"
	})
	began := time.Now()
	a := use(t, s, "http_request", args{"toolkit": "acme", "method": "POST", "path": "/x", "body": "once"})
	if time.Since(began) != 3*time.Second || asked != 1 || calls != 2 || a.Status != "called" || a.Body != `{"done":true}` || bodies.String() != "once" {
		t.Errorf("asked %d, called %d: %+v", asked, calls, a)
	}
	_ = s.Close()
}
