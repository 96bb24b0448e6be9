// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"testing"
)

var quiet = log.New(io.Discard, "", 0)

// reachable are the lines that let downloads come from this machine.
const reachable = "redirect_hosts localhost:FILES\n\t\t\tallow_private"

func TestADownloadComesBackAsTheFile(t *testing.T) {
	s := newStorehouse(t, reachable)
	s.api.answers(func(rw http.ResponseWriter, _ *http.Request) {
		http.SetCookie(rw, &http.Cookie{Name: "a", Value: "b"})
		rw.Header().Set("Location", "https://localhost:"+s.files.port+"/signed/file?sig=abc")
		rw.WriteHeader(http.StatusFound)
	})
	s.files.answers(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Length", "9")
		if r.Method == "GET" {
			_, _ = io.WriteString(rw, "the file\n")
		}
	})
	for _, method := range []string{"GET", "HEAD"} {
		for _, h2 := range []bool{false, true} {
			res, body := s.ask(t, s.client(t, h2), method, "https://"+"localhost:"+port(s.secure)+"/files/x", http.Header{
				"Authorization": {"Bearer sk-placeholder"}, "Cookie": {"session=1"}, "X-Api-Key": {"k"}, "User-Agent": {"x"}, "Accept": {"a/b"},
				"X-Forwarded-For": {"192.0.2.1"}, "Referer": {"https://app.example/user/alice"}, "Range": {"bytes=0-"},
			})
			want := "the file\n"
			if method == "HEAD" {
				want = ""
			}
			if res.StatusCode != 200 || body != want || res.ContentLength != 9 || res.Header.Get("Location") != "" {
				t.Errorf("%s: %s %q %v", method, res.Status, body, res.Header)
			}
			s.onlyTheAPIKnowsUs(t, method)
		}
	}
}

// onlyTheAPIKnowsUs looks at one call of each host.
func (s *storehouse) onlyTheAPIKnowsUs(t *testing.T, method string) {
	t.Helper()
	api, files := s.api.taken(), s.files.taken()
	if len(api) != 1 || len(files) != 1 {
		t.Fatalf("%d and %d calls came", len(api), len(files))
	}
	if a := api[0]; a.certificates != 1 || a.Header.Get("Authorization") != "Bearer "+filesKey || a.RequestURI != "/v2/x" || a.Method != method {
		t.Errorf("to the API: %d certificates, %s %s %v", a.certificates, a.Method, a.RequestURI, a.Header)
	}
	f := files[0]
	if f.certificates != 0 || f.RequestURI != "/signed/file?sig=abc" || f.Method != method {
		t.Errorf("to the downloads: %d certificates, %s %s", f.certificates, f.Method, f.RequestURI)
	}
	var names []string
	for name := range f.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "Accept Range User-Agent" {
		t.Errorf("the download host sees %v", f.Header)
	}
}

func TestOtherRedirectsArePassedOnWithoutASecret(t *testing.T) {
	s := newStorehouse(t, reachable)
	s.files.answers(http.NotFound)
	for _, c := range []struct{ method, location, want string }{
		{"GET", "https://elsewhere.example/x?sig=1", "https://elsewhere.example/x?sig=1"},
		{"GET", "https://elsewhere.example/x?key=" + filesKey, "https://elsewhere.example/x?key=" + strings.Repeat("*", len(filesKey))},
		{"GET", "https://" + filesKey + "@elsewhere.example/", "https://" + strings.Repeat("*", len(filesKey)) + "@elsewhere.example/"},
		{"GET", "https://localhost:FILES/x?key=" + filesKey, "https://localhost:FILES/x?key=" + strings.Repeat("*", len(filesKey))},
		{"GET", "http://localhost:FILES/x", "http://localhost:FILES/x"},
		{"GET", "https://u@localhost:FILES/x", "https://u@localhost:FILES/x"},
		{"GET", "https://localhost./x", "https://localhost./x"},
		{"GET", "https://sub.localhost:FILES/x", "https://sub.localhost:FILES/x"},
		{"GET", "ftp://localhost:FILES/x", "ftp://localhost:FILES/x"},
		{"POST", "https://localhost:FILES/x", "https://localhost:FILES/x"},
		{"GET", "https://127.0.0.1:API/v2/there", "http://localhost:HERE/files/there"},
		{"GET", "/v2/there?a=b", "http://localhost:HERE/files/there?a=b"},
		{"GET", "http://localhost:HERE/other/x", "about:blank"},
	} {
		fill := strings.NewReplacer("FILES", s.files.port, "API", s.api.port, "HERE", s.port())
		s.api.answers(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", fill.Replace(c.location))
			rw.WriteHeader(http.StatusTemporaryRedirect)
		})
		res, _ := s.ask(t, s.client(t, false), c.method, s.public()+"/files/x", nil)
		got := res.Header.Get("Location")
		if strings.Contains(got, filesKey) || res.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("%s: %s to %s", c.location, res.Status, got)
		}
		if want := fill.Replace(c.want); got != want {
			t.Errorf("%s: to %s, want %s", c.location, got, want)
		}
		if seen := s.files.taken(); len(seen) != 0 {
			t.Errorf("%s: the download host was called: %v", c.location, seen[0].Header)
		}
	}
}

// way is how a call names its toolkit, and what its addresses begin with therefore.
type way struct{ name, host, path, toolkit string }

var ways = []way{
	{"by the path", "localhost", "/files", ""},
	{"by X-Toolkit", "localhost", "", "files"},
	{"by the host", "files.localhost", "", ""},
	{"by the site", "localhost", "/only", ""},
	{"by the path below another", "localhost", "/gw/files", ""},
	{"by X-Toolkit below a path", "localhost", "/gw", "files"},
	{"by the host below a path", "files.localhost", "/gw", ""},
}

func TestAddressesLeadBackTheWayThatTheCallCame(t *testing.T) {
	s := newStorehouse(t, reachable)
	api := "https://127.0.0.1:" + s.api.port + "/v2"
	s.api.answers(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "<"+api+"/list?page=2>; rel=\"next\", <https://docs.example/x>; rel=\"help\"")
		rw.Header().Set("Content-Location", "/v2/list%2Fall")
		rw.Header().Set("Location", api+"/list/7#top")
		rw.WriteHeader(http.StatusCreated)
	})
	for _, base := range []string{"http://%s:" + s.port(), "https://%s:" + port(s.secure)} {
		for _, h2 := range []bool{false, true} {
			client := s.client(t, h2)
			for _, w := range ways {
				t.Run(fmt.Sprintf("%s over %.5s, HTTP/2 %v", w.name, base, h2), func(t *testing.T) {
					s.leadsBack(t, client, fmt.Sprintf(base, w.host)+w.path, w.toolkit, h2 && strings.HasPrefix(base, "https"))
				})
			}
		}
	}
}

func (s *storehouse) leadsBack(t *testing.T, client *http.Client, base, toolkit string, h2 bool) {
	header := http.Header{}
	if toolkit != "" {
		header.Set("X-Toolkit", toolkit)
	}
	res, _ := s.ask(t, client, "GET", base+"/list", header)
	if res.StatusCode != http.StatusCreated || (res.ProtoMajor == 2) != h2 {
		t.Fatalf("%s %s", res.Proto, res.Status)
	}
	for name, want := range map[string]string{
		"Link":             "<" + base + "/list?page=2>; rel=\"next\", <https://docs.example/x>; rel=\"help\"",
		"Content-Location": base + "/list%2Fall",
		"Location":         base + "/list/7#top",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	next, _, _ := strings.Cut(strings.TrimPrefix(res.Header.Get("Link"), "<"), ">")
	s.api.taken()
	s.ask(t, client, "GET", next, header)
	if seen := s.api.taken(); len(seen) != 1 || seen[0].RequestURI != "/v2/list?page=2" {
		t.Errorf("the next page came as %+v", seen)
	}
}
