// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connect"
)

func TestOnlyOurOwnPathsOnOurOwnHostAreOurs(t *testing.T) {
	for _, c := range []struct {
		public, host, path string
		want               bool
	}{
		{public, "connect.example.com", "/connect/c_x", true},
		{public, "connect.example.com", "/callback/acme", true},
		{public, "connect.example.com", "/v1/connections/acme", true},
		{public, "connect.example.com", "/connect", true},
		{public, "CONNECT.example.COM", "/connect/c_x", true},
		{public, "connect.example.com:443", "/connect/c_x", true},
		{public + ":443", "connect.example.com", "/connect/c_x", true},
		{public, "connect.example.com:80", "/connect/c_x", false},
		{public, "connect.example.com:8443", "/connect/c_x", false},
		{public, "connect.example.com:", "/connect/c_x", false},
		{public, "connect.example.com.", "/connect/c_x", false}, // the cookie would not come back
		{public, "example.com", "/connect/c_x", false},
		{public, "evil.example", "/connect/c_x", false},
		{public, "connect.example.com.evil.example", "/connect/c_x", false},
		{public, "connect.example.com@evil.example", "/connect/c_x", false},
		{public, "", "/connect/c_x", false},
		{public, "connect.example.com", "/", false},
		{public, "connect.example.com", "/acme/connect/c_x", false},
		{public, "connect.example.com", "/connections", true},
		{public, "connect.example.com", "/connections/x", false},
		{public, "connect.example.com", "/signin", true},
		{public, "connect.example.com", "/signin/x", false},
		{public, "connect.example.com", "/v1/confirm_user", true},
		{public, "connect.example.com", "/v1/confirm_user/x", false},
		{public, "connect.example.com", "/connected/x", false},
		{public, "connect.example.com", "//connect/c_x", false},
		{public, "connect.example.com", "/v1/connections", false},
		{public, "connect.example.com", "/v1/links/x", false},
		{public, "connect.example.com", "/v1", false},
		{"http://localhost:8080", "localhost:8080", "/connect/c_x", true},
		{"http://localhost", "localhost:80", "/connect/c_x", true},
		{"http://[::1]:8080", "[::1]:8080", "/connect/c_x", true},
		{"https://[::1]", "[::1]:443", "/connect/c_x", true},
		{public + "/tools/gw", "connect.example.com", "/tools/gw/connect/c_x", true},
		{public + "/tools/gw/", "connect.example.com", "/tools/gw/connect/c_x", true},
		{public + "//tools//gw", "connect.example.com", "/tools/gw/connect/c_x", true},
		{public + "/tools/gw", "connect.example.com", "/connect/c_x", false},
		{public + "/tools/gw", "connect.example.com", "/tools/gwconnect/c_x", false},
		{public + "/tools/gw", "connect.example.com", "/tools/gw/x/connect/c_x", false},
	} {
		s := connect.New(connect.Config{PublicURL: mustParse(t, c.public)})
		r := httptest.NewRequest(http.MethodGet, c.path, nil)
		r.Host = c.host
		if got := s.Handles(r); got != c.want {
			t.Errorf("at %s: %s%s is ours: %v", c.public, c.host, c.path, got)
		}
		r.Header["X-Toolkit"] = []string{""}
		if s.Handles(r) {
			t.Errorf("%s%s with X-Toolkit is ours", c.host, c.path)
		}
	}
}

func TestAPublicURLWithAPathWorksThroughout(t *testing.T) {
	for _, path := range []string{"/tools/gw", "/tools/gw/", "//tools//gw", "/werk%20zeug"} {
		t.Run(path, func(t *testing.T) {
			w := newWorld(t, func(cfg *connect.Config) { cfg.PublicURL = mustParse(t, public+path) })
			clean := strings.TrimSuffix(strings.ReplaceAll(path, "//", "/"), "/")
			b, link := newBrowser(w), w.link(alice)
			if !strings.HasPrefix(link, public+clean+"/connect/c_") {
				t.Fatalf("the link is %s", link)
			}
			p := b.get(link)
			style := attribute(findElement(t, p, "link"), "href")
			if style != clean+"/connect/style.css" {
				t.Errorf("the style sheet is at %s", style)
			}
			if p := b.get(public + style); p.status != http.StatusOK || p.header.Get("Content-Type") != "text/css; charset=utf-8" {
				t.Errorf("the style sheet: %d %v", p.status, p.header)
			}
			p = b.press(p)
			if want := public + clean + "/callback/acme"; mustParse(t, p.address).Query().Get("redirect_uri") != want {
				t.Errorf("Acme is asked to send people to %s, not %s", p.address, want)
			}
			b.get(b.answer(p, "alice", "allow")).want(t, http.StatusOK, "Connected as alice@acme.example")
			if last := b.trail[len(b.trail)-1]; last != link {
				t.Errorf("the last address is %s", last)
			}
		})
	}
}

func TestThePagesTakeOnlyTheirMethods(t *testing.T) {
	w := newWorld(t)
	link := w.link(alice)
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, http.MethodTrace, "PROPFIND"} {
		for _, address := range []string{link, public + "/connect/style.css", public + "/connect/"} {
			res := w.serve(httptest.NewRequest(method, address, nil))
			if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("%s %s: %d, Allow %q", method, address, res.StatusCode, res.Header.Get("Allow"))
			}
		}
	}
}

func TestAPathThatIsNotOursIsNotServedEither(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	w.service.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/acme/user", nil))
	if rec.Code != http.StatusNotFound {
		t.Errorf("got %d", rec.Code)
	}
}

func TestWithoutAWayToVerifyUsersOnlyThisMachineIsServed(t *testing.T) {
	for _, c := range []struct {
		name, peer string
		header     [2]string
		want       int
	}{
		{"IPv4", "127.0.0.1:5000", [2]string{}, 200},
		{"IPv6", "[::1]:5000", [2]string{}, 200},
		{"all of 127", "127.8.8.8:5000", [2]string{}, 200},
		{"mapped", "[::ffff:127.0.0.1]:5000", [2]string{}, 200},
		{"the network", "192.168.0.2:5000", [2]string{}, 403},
		{"the world", "203.0.113.9:5000", [2]string{}, 403},
		{"a socket", "@", [2]string{}, 403},
		{"nothing", "", [2]string{}, 403},
		{"forwarded", "127.0.0.1:5000", [2]string{"Forwarded", "for=127.0.0.1"}, 403},
		{"forwarded for", "127.0.0.1:5000", [2]string{"X-Forwarded-For", "127.0.0.1"}, 403},
		{"forwarded host", "127.0.0.1:5000", [2]string{"X-Forwarded-Host", "localhost"}, 403},
		{"real IP", "127.0.0.1:5000", [2]string{"X-Real-IP", "127.0.0.1"}, 403},
		{"via", "127.0.0.1:5000", [2]string{"Via", "1.1 proxy"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(cfg *connect.Config) { cfg.LocalOnly = true })
			for _, address := range []string{w.link(alice), public + "/connect/style.css", public + "/callback/acme?state=x&code=y"} {
				r := httptest.NewRequest(http.MethodGet, address, nil)
				r.RemoteAddr = c.peer
				if c.header[0] != "" {
					r.Header.Set(c.header[0], c.header[1])
				}
				want := c.want
				if want == 200 && strings.Contains(address, "callback") {
					want = 400
				}
				if res := w.serve(r); res.StatusCode != want {
					t.Errorf("%s: %d, want %d", address, res.StatusCode, want)
				}
			}
		})
	}
}

func TestOnPlainHTTPTheCookieIsOneThatEveryBrowserKeeps(t *testing.T) {
	for address, want := range map[string]string{
		public:                  "__Host-toolgate; Path=/; Max-Age=4500; HttpOnly; Secure; SameSite=Lax",
		"http://localhost:8080": "toolgate-connect; Path=/; Max-Age=4500; HttpOnly; SameSite=Lax",
	} {
		w := newWorld(t, func(cfg *connect.Config) { cfg.PublicURL = mustParse(t, address) })
		b, link := newBrowser(w), w.link(alice)
		res := b.send(http.MethodGet, link, nil, "none")
		name, rest, _ := strings.Cut(res.Header.Get("Set-Cookie"), "=")
		_, rest, _ = strings.Cut(rest, ";")
		if got := name + ";" + rest; got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
		b.connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	}
}
