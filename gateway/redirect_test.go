// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	signature = "marker-signature-of-the-address"
	archive   = "http://codeload.acme.test/ada/notes/legacy.tar.gz/refs/heads/main?token=" + signature
	asset     = "http://release-assets.acmecontent.test/github-production-release-asset/7?sp=r&sig=" + signature + "&rscd=attachment"
)

// store is where Acme keeps its downloads: every redirect host leads to it.
type store struct {
	*gatewaytest.Provider
	world *gatewaytest.World
}

func newStore(t *testing.T, edit func(*gatewaytest.Options)) store {
	t.Helper()
	downloads := gatewaytest.NewProvider(t, false)
	tr := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(downloads.URL, "http://"))
	}}
	t.Cleanup(tr.CloseIdleConnections)
	o := gatewaytest.Options{
		Acme: func(tk *toolkit.Toolkit) {
			tk.RedirectHosts = []toolkit.HostPattern{"codeload.acme.test", "*.acmecontent.test", "gw.acmecontent.test:8080"}
		},
		Edit: func(c *gateway.Config) { follow(c, tr) },
	}
	if edit != nil {
		edit(&o)
	}
	return store{Provider: downloads, world: gatewaytest.New(t, o)}
}

func follow(c *gateway.Config, via http.RoundTripper) {
	for id, e := range c.Toolkits {
		e.Redirects = via
		c.Toolkits[id] = e
	}
}

// redirectsTo lets the provider answer as GitHub does, with more headers than needed.
func (s store) redirectsTo(status int, address string) {
	s.world.Provider.Handle(func(w http.ResponseWriter, r *http.Request) {
		gatewaytest.ReadBody(r)
		w.Header().Set("Location", address)
		w.Header().Set("Set-Cookie", "session=marker-of-the-provider")
		w.WriteHeader(status)
	})
}

// untouched checks that the gateway has gone nowhere by itself.
func (s store) untouched(t *testing.T) {
	t.Helper()
	if n := s.Calls(); n != 0 {
		t.Errorf("the download host got %d requests", n)
	}
}

func TestADownloadIsFetchedWithoutAnyWordOfWhoAsks(t *testing.T) {
	s := newStore(t, nil)
	s.Handle(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "store=1")
		w.Header().Set("Strict-Transport-Security", "max-age=1")
		w.Header().Set("Content-Disposition", `attachment; filename="notes.tar.gz"`)
		w.Header().Set("Content-Range", "bytes 0-3/9")
		w.Header().Set("Content-Location", "?") // of its own signed address
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, "pack")
	})
	wanted := http.Header{
		"Accept": {"application/octet-stream"}, "Accept-Encoding": {"gzip, br"}, "Range": {"bytes=0-3"}, "If-Range": {`"v1"`},
		"If-None-Match": {`"v0"`}, "If-Modified-Since": {"Fri, 20 Nov 2026 09:00:00 GMT"}, "User-Agent": {"octokit"},
	}
	for address, path := range map[string]string{archive: "/repos/ada/notes/tarball/main", asset: "/repos/ada/notes/releases/assets/7"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			s.redirectsTo(status, address)
			r := s.world.Request("GET", s.world.H1+"/acme"+path, nil)
			for name, values := range wanted {
				r.Header[name] = values
			}
			for name, value := range map[string]string{
				"Authorization": "Bearer " + gatewaytest.AgentKey, "Cookie": "agent=1", "X-Trace": "agent-7", "Referer": "http://agent.test/",
				"X-Github-Api-Version": "2022-11-28", "Content-Type": "text/plain", "Traceparent": "00-1-2-03",
			} {
				r.Header.Set(name, value)
			}
			res, body := s.world.Do(r)
			if res.StatusCode != 206 || body != "pack" || res.Header.Get("Content-Range") == "" || res.Header.Get("Content-Disposition") == "" {
				t.Fatalf("%d: got %d %q %v", status, res.StatusCode, body, res.Header)
			}
			if h := res.Header; h.Get("Set-Cookie") != "" || h.Get("Strict-Transport-Security") != "" || h.Get("Location") != "" || h.Get("Cache-Control") != "private" {
				t.Errorf("%d: the answer's header is %v", status, h)
			}
			if got := res.Header.Get("Content-Location"); got != "about:blank" {
				t.Errorf("%d: the address of the download became %s", status, got)
			}
			seen := s.Last(t)
			u, _ := url.Parse(address)
			if seen.Method != "GET" || seen.Host != u.Host || seen.URI != u.RequestURI() {
				t.Errorf("%d: fetched with %s %s at %s", status, seen.Method, seen.URI, seen.Host)
			}
			if fmt.Sprint(seen.Header) != fmt.Sprint(wanted) {
				t.Errorf("%d: the download host saw %v", status, seen.Header)
			}
		}
	}
	if got := gatewaytest.Token(&http.Request{Header: s.world.Provider.Last(t).Header}); got != gatewaytest.UserToken {
		t.Errorf("the provider saw the token %q", got)
	}
}

func TestHEADOfADownloadStaysHEAD(t *testing.T) {
	s := newStore(t, nil)
	s.Handle(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "1234") })
	s.redirectsTo(303, asset)
	res, _ := s.world.Do(s.world.Request("HEAD", s.world.H1+"/acme/asset", nil))
	if res.StatusCode != 200 || res.ContentLength != 1234 || s.Last(t).Method != "HEAD" {
		t.Errorf("got %d, %d bytes, by %s", res.StatusCode, res.ContentLength, s.Last(t).Method)
	}
	if got := s.Last(t).Header; len(got) != 1 || got.Get("User-Agent") == "" {
		t.Errorf("the download host saw %v", got)
	}
}

func TestADownloadStreams(t *testing.T) {
	s := newStore(t, nil)
	gate := gatewaytest.NewGate(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	s.Handle(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		gate.Wait()
		_, _ = w.Write(big)
	})
	s.redirectsTo(302, archive)
	for _, address := range []string{s.world.H1, s.world.H2} {
		res, err := s.world.Client.Do(s.world.Request("GET", address+"/acme/x", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		first := make([]byte, 5)
		if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "first" {
			t.Fatalf("%q, %v", first, err)
		}
		gate.Open()
		if rest, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(rest, big) {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
	}
}

func TestADownloadThatBreaksOffIsCut(t *testing.T) {
	s := newStore(t, nil)
	s.Handle(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	})
	s.redirectsTo(302, archive)
	res, err := s.world.Client.Do(s.world.Request("GET", s.world.H1+"/acme/x", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("a clean end after %q", body)
	}
	s.quiet(t)
}

// quiet checks that neither the event nor the audit line knows the signature.
func (s store) quiet(t *testing.T) {
	t.Helper()
	e := s.world.Event()
	for _, text := range []string{fmt.Sprintf("%+v %v", e, e.Err), fmt.Sprintf("%+v", s.world.Audit.Lines())} {
		if strings.Contains(text, signature) {
			t.Errorf("the signature is in %s", text)
		}
	}
}

func TestOtherMethodsAreToldWhereToGo(t *testing.T) {
	s := newStore(t, nil)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		s.redirectsTo(307, archive)
		res, _ := s.world.Do(s.world.Request(method, s.world.H1+"/acme/x", strings.NewReader("body")))
		if res.StatusCode != 307 || res.Header.Get("Location") != archive {
			t.Errorf("%s: got %d to %s", method, res.StatusCode, res.Header.Get("Location"))
		}
	}
	s.untouched(t)
}

func TestRedirectsThatAreNotFollowedArePassedOn(t *testing.T) {
	s := newStore(t, nil)
	for address, why := range map[string]string{
		"http://other.test/x?sig=1":                   "a host that is not in the list",
		"http://acmecontent.test/x":                   "the suffix itself",
		s.URL + "/x":                                  "an IP literal",
		"http://[::1]/x":                              "an IP literal",
		"http://user:pw@codeload.acme.test/x":         "userinfo",
		"ftp://codeload.acme.test/x":                  "another scheme",
		"http://codeload.acme.test:8080/x":            "another port",
		"http://codeload.acme.test/x?a b":             "a space in the query",
		"http://codeload.acme.test.evil.test/x?sig=2": "a longer name",
	} {
		s.redirectsTo(302, address)
		res, _ := s.world.Get("/acme/x")
		if res.StatusCode != 302 || res.Header.Get("Location") != address {
			t.Errorf("%s: got %d to %q", why, res.StatusCode, res.Header.Get("Location"))
		}
	}
	s.redirectsTo(304, archive)
	if res, _ := s.world.Get("/acme/x"); res.StatusCode != 304 {
		t.Errorf("304 became %d", res.StatusCode)
	}
	s.untouched(t)
}

func TestAnAddressWithTheCredentialInItIsNotFetched(t *testing.T) {
	s := newStore(t, nil)
	s.redirectsTo(302, archive+"&access_token="+gatewaytest.UserToken)
	res, _ := s.world.Get("/acme/x")
	if res.StatusCode != 302 || strings.Contains(res.Header.Get("Location"), gatewaytest.UserToken) {
		t.Errorf("got %d to %s", res.StatusCode, res.Header.Get("Location"))
	}
	s.untouched(t)
}

func TestRedirectsWithinTheToolkitComeBackAsTheGateways(t *testing.T) {
	s := newStore(t, nil)
	s.redirectsTo(301, s.world.Provider.URL+"/api/repositories/7")
	if res, _ := s.world.Get("/acme/x"); res.StatusCode != 301 || res.Header.Get("Location") != s.world.H1+"/acme/repositories/7" {
		t.Errorf("got %d to %s", res.StatusCode, res.Header.Get("Location"))
	}
	s.untouched(t)
}

func TestTheGatewayDoesNotCallItself(t *testing.T) {
	s := newStore(t, nil)
	r := s.world.Request("GET", s.world.H1+"/acme/x", nil)
	r.Host = "gw.acmecontent.test:8080"
	s.redirectsTo(302, "http://gw.acmecontent.test:8080/weather/x")
	if res, _ := s.world.Do(r); res.StatusCode != 302 || res.Header.Get("Location") != "about:blank" {
		t.Errorf("got %d to %s", res.StatusCode, res.Header.Get("Location"))
	}
	s.untouched(t)
}

func TestWithoutAWayToThemDownloadsAreTheAgentsToFetch(t *testing.T) {
	s := newStore(t, func(o *gatewaytest.Options) { o.Edit = nil })
	s.redirectsTo(302, archive)
	if res, _ := s.world.Get("/acme/x"); res.StatusCode != 302 || res.Header.Get("Location") != archive {
		t.Errorf("got %d to %s", res.StatusCode, res.Header.Get("Location"))
	}
	s.untouched(t)
}

func TestEachHopIsCheckedAgain(t *testing.T) {
	s := newStore(t, nil)
	s.redirectsTo(302, archive)
	for to, want := range map[string]string{
		"http://evil.test/x":                    "http://evil.test/x",
		s.world.Provider.URL + "/api/user":      s.world.H1 + "/acme/user",
		"http://codeload.acme.test@evil.test/x": "http://codeload.acme.test@evil.test/x",
	} {
		s.Handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		})
		calls := s.Calls()
		res, _ := s.world.Get("/acme/x")
		if res.StatusCode != 302 || res.Header.Get("Location") != want || s.Calls() != calls+1 {
			t.Errorf("%s: got %d to %s after %d fetches", to, res.StatusCode, res.Header.Get("Location"), s.Calls()-calls)
		}
	}
}

func TestFiveHopsAreFollowedAndASixthIsNot(t *testing.T) {
	s := newStore(t, nil)
	s.redirectsTo(302, "http://codeload.acme.test/hop?left=4")
	hops := func(last string) {
		s.Handle(func(w http.ResponseWriter, r *http.Request) {
			if left := r.URL.Query().Get("left"); left != last {
				next := map[string]string{"4": "3", "3": "2", "2": "1", "1": "0", "0": "4"}[left]
				w.Header().Set("Location", "/hop?left="+next) // relative to the download host
				w.WriteHeader(http.StatusTemporaryRedirect)
				return
			}
			_, _ = io.WriteString(w, "there")
		})
	}
	hops("0")
	if res, body := s.world.Get("/acme/x"); res.StatusCode != 200 || body != "there" || s.Calls() != 5 {
		t.Errorf("got %d %q after %d fetches", res.StatusCode, body, s.Calls())
	}
	_ = s.world.Event()
	hops("never")
	res, body := s.world.Get("/acme/x")
	refused(t, s.world, res, body, verdict{502, "upstream_unreachable", "judge", "redirect"})
	if s.Calls() != 10 {
		t.Errorf("the loop ended after %d fetches", s.Calls()-5)
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("%s: %w", r.URL, f.err)
}

func TestADownloadThatFailsIsARefusalWithoutItsAddress(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want verdict
	}{
		{"refused", errors.New("connection refused"), verdict{502, "upstream_unreachable", "judge", "redirect"}},
		{"too slow", os.ErrDeadlineExceeded, verdict{504, "upstream_timeout", "judge", "redirect"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t, func(o *gatewaytest.Options) { o.Edit = func(cfg *gateway.Config) { follow(cfg, failing{c.err}) } })
			s.redirectsTo(302, asset)
			res, body := s.world.Get("/acme/x")
			refused(t, s.world, res, body, c.want)
			if strings.Contains(body, signature) || strings.Contains(body, "acmecontent") {
				t.Errorf("the refusal shows the address: %s", body)
			}
			s.world.Get("/acme/x")
			s.quiet(t)
		})
	}
}

func TestAnEchoOfTheAddressIsKeptOutOfTheLog(t *testing.T) {
	s := newStore(t, nil)
	s.Handle(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "what is "+r.URL.Query().Get("sig")+" HTTP/9\r\n\r\n")
	})
	s.redirectsTo(302, asset)
	if res, _ := s.world.Get("/acme/x"); res.StatusCode != 502 {
		t.Errorf("got %d", res.StatusCode)
	}
	s.quiet(t)
}

func TestALoginThatTheDownloadHostWantsIsNotTheAgents(t *testing.T) {
	s := newStore(t, nil)
	for _, status := range []int{401, 407} {
		s.Handle(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
		s.redirectsTo(302, archive)
		res, body := s.world.Get("/acme/x")
		refused(t, s.world, res, body, verdict{502, "upstream_unreachable", "judge", "redirect"})
	}
	s.Handle(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "expired", http.StatusForbidden) })
	if res, body := s.world.Get("/acme/x"); res.StatusCode != 403 || body != "expired\n" {
		t.Errorf("an address that has expired: %d %s", res.StatusCode, body)
	}
	if renewals, _, rejected := s.world.Credentials.Counts(); renewals != 0 || len(rejected) != 0 {
		t.Errorf("it cost the connection: %d renewals, %v rejected", renewals, rejected)
	}
}

func TestPagesAndDownloadsOfOneAnswer(t *testing.T) {
	s := newStore(t, nil)
	s.world.Provider.Handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/download" {
			http.Redirect(w, r, archive, http.StatusFound)
			return
		}
		w.Header().Set("Link", `<`+s.world.Provider.URL+`/api/items?page=2>; rel="next", <`+archive+`>; rel="enclosure"`)
	})
	res, _ := s.world.Get("/acme/items")
	if got, want := res.Header.Get("Link"), `<`+s.world.H1+`/acme/items?page=2>; rel="next", <`+archive+`>; rel="enclosure"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, body := s.world.Get("/acme/download"); body != "ok" {
		t.Errorf("got %q", body)
	}
}
