// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

// agentsOwn are headers of the agent's that are nobody's business but ours.
var agentsOwn = []string{
	"Authorization", "Proxy-Authorization", "Cookie", "Cookie2", "X-Api-Key", "X-Toolgate-Key", "X-Toolgate-Anything",
	"X-User-Id", "X-Toolkit", "X-Account", "X-Tenant", "X_User_Id", "X.user.id", "X_toolgate_key",
	"Forwarded", "Via", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Anything",
	"X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X-Original-Url", "X-Rewrite-Url",
	"Traceparent", "Tracestate", "Baggage", "B3", "X-B3-Traceid", "Uber-Trace-Id", "X-Amzn-Trace-Id",
	"Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Http2-Settings", "X-Named-By-Connection",
}

func TestWhatIsTheAgentsAloneIsNotSentOn(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		w := gatewaytest.New(t, gatewaytest.Options{TLS: overTLS})
		r := w.Request("GET", w.H1+"/weather/today?q=1", nil)
		for _, name := range agentsOwn {
			if r.Header.Get(name) == "" {
				r.Header[name] = []string{"agents-own-value"}
			}
		}
		delete(r.Header, "X-Toolkit")
		r.Header.Set("Connection", "authorization, x-api-key, x-weather-key, x-named-by-connection, user-agent, keep-alive")
		r.Header.Set("Te", "gzip, trailers")
		r.Header.Set("X-Kept", "kept")
		r.Header.Add("X-Kept", "twice")
		r.Header.Set("User-Agent", "agent/1")
		w.Do(r)
		seen := w.Provider.Last(t)
		for name, values := range seen.Header {
			if slices.Contains(agentsOwn, name) || slices.Contains(values, "agents-own-value") || slices.Contains(values, gatewaytest.AgentKey) || slices.Contains(values, "ada") {
				t.Errorf("over TLS %v: %s: %q was sent on", overTLS, name, values)
			}
		}
		want := http.Header{"X-Kept": {"kept", "twice"}, "X-Weather-Key": {"Key " + gatewaytest.OperatorKey}, "Te": {"trailers"}, "User-Agent": {"toolgate"}}
		if !reflect.DeepEqual(seen.Header, want) {
			t.Errorf("over TLS %v: the provider saw %v, want %v", overTLS, seen.Header, want)
		}
	}
}

func TestEachCredentialStandsWhereItBelongs(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	for _, c := range []struct{ path, wantURI, header, want string }{
		{"/acme/user", "/api/user", "Authorization", "Bearer " + gatewaytest.UserToken},
		{"/acme/~files/a%2Fb/c", "/files/a%2Fb/c", "Authorization", "Bearer " + gatewaytest.UserToken},
		{"/acme//double//slash", "/api//double//slash", "Authorization", "Bearer " + gatewaytest.UserToken},
		{"/acme//evil.example/x", "/api//evil.example/x", "Authorization", "Bearer " + gatewaytest.UserToken},
		{"/acme/@evil.example", "/api/@evil.example", "Authorization", "Bearer " + gatewaytest.UserToken},
		{"/acme/a;b=c/d?x;y&&z", "/api/a;b=c/d?x;y&&z", "Authorization", "Bearer " + gatewaytest.UserToken},
		{"/weather/x", "/api/x", "X-Weather-Key", "Key " + gatewaytest.OperatorKey},
		{"/ledger/x", "/api/x", "Authorization", "Basic Ym9va3M6bWFya2VyLWJhc2ljLXBhc3N3b3Jk"},
		{"/open/x", "/api/x", "Authorization", ""},
		{"/maps/x", "/api/x?key=sk-marker-operator%2Bkey%2F%3D", "Authorization", ""},
		{"/maps/x?key=mine&a=b;c&k%65y=mine&KEY=mine&%20key=mine&d", "/api/x?a=b;c&d&key=sk-marker-operator%2Bkey%2F%3D", "Authorization", ""},
		{"/maps/x?a=1;key=mine;b=2", "/api/x?a=1;b=2&key=sk-marker-operator%2Bkey%2F%3D", "Authorization", ""},
		{"/maps/x?keys=2&akey=%20", "/api/x?keys=2&akey=%20&key=sk-marker-operator%2Bkey%2F%3D", "Authorization", ""},
	} {
		w.Get(c.path)
		seen := w.Provider.Last(t)
		if seen.URI != c.wantURI || seen.Header.Get(c.header) != c.want || len(seen.Header.Values(c.header)) > 1 {
			t.Errorf("%s: sent %s with %s %q", c.path, seen.URI, c.header, seen.Header[c.header])
		}
	}
}

func TestTheAgentsVersionOfTheInjectedHeaderIsReplaced(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	r := w.Request("GET", w.H1+"/weather/x", nil)
	r.Header["X-Weather-Key"] = []string{"mine", "mine too"}
	w.Do(r)
	if got := w.Provider.Last(t).Header["X-Weather-Key"]; len(got) != 1 || got[0] != "Key "+gatewaytest.OperatorKey {
		t.Errorf("sent %q", got)
	}
}

// seeing is an upstream that looks at the request itself.
type seeing func(*http.Request) (*http.Response, error)

func (s seeing) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

func answering(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

func TestHostIsTheProvidersWithoutADefaultPort(t *testing.T) {
	for base, want := range map[string]string{
		"https://api.example.com":      "api.example.com",
		"https://api.example.com:443":  "api.example.com",
		"http://api.example.com:80/v2": "api.example.com",
		"https://api.example.com:80":   "api.example.com:80",
		"https://api.example.com:8443": "api.example.com:8443",
		"https://[2001:db8::1]:443":    "[2001:db8::1]",
		"https://[2001:db8::1]":        "[2001:db8::1]",
	} {
		var host string
		w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) {
			tk, err := toolkit.Definition{ID: "open", BaseURL: base, Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}}.Toolkit()
			if err != nil {
				t.Fatal(err)
			}
			cfg.Toolkits["open"] = gateway.Endpoint{Toolkit: tk, Upstream: seeing(func(r *http.Request) (*http.Response, error) {
				host = r.Host
				return answering(200, ""), nil
			})}
		}})
		w.Get("/open/x")
		if host != want {
			t.Errorf("%s: Host %q, want %q", base, host, want)
		}
	}
}

func TestHostOfAnAliasIsTheAliasesOwn(t *testing.T) {
	var hosts []string
	w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) {
		tk, err := toolkit.Definition{ID: "open", BaseURL: "https://api.example.com", Hosts: map[string]string{"up": "https://uploads.example.com:443/v1"}, Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}}.Toolkit()
		if err != nil {
			t.Fatal(err)
		}
		cfg.Toolkits["open"] = gateway.Endpoint{Toolkit: tk, Upstream: seeing(func(r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.Host+r.URL.Path)
			return answering(200, ""), nil
		})}
	}})
	w.Get("/open/x")
	w.Get("/open/~up/x")
	if want := []string{"api.example.com/x", "uploads.example.com/v1/x"}; !slices.Equal(hosts, want) {
		t.Errorf("sent to %v, want %v", hosts, want)
	}
}

func TestTheAgentsRequestIsNotWrittenTo(t *testing.T) {
	for _, path := range []string{"/acme/x", "/weather/x", "/maps/x?key=mine", "/ledger/x"} {
		var before, after http.Header
		var uri string
		w := gatewaytest.New(t, gatewaytest.Options{Handler: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				before = r.Header.Clone()
				next.ServeHTTP(w, r)
				after, uri = r.Header, r.URL.String()
			})
		}})
		w.Provider.Refuse(gatewaytest.UserToken) // the second attempt must not either
		r := w.Request("POST", w.H1+path, strings.NewReader("body"))
		r.Header.Set("Connection", "x-y")
		r.Header.Set("X-Y", "1")
		w.Do(r)
		w.Event()
		if !reflect.DeepEqual(before, after) || uri != path {
			t.Errorf("%s: %v became %v, address %s", path, before, after, uri)
		}
	}
}

func TestTheToolkitsHeadersAreSentUnlessTheAgentSaysOtherwise(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{Acme: func(tk *toolkit.Toolkit) {
		tk.Headers = map[string]string{"X-Version": "2026-01-01", "User-Agent": "acme-client"}
	}})
	w.Get("/acme/x")
	if seen := w.Provider.Last(t).Header; seen.Get("X-Version") != "2026-01-01" {
		t.Errorf("sent %v", seen)
	}
	r := w.Request("GET", w.H1+"/acme/x", nil)
	r.Header.Set("X-Version", "2020-01-01")
	r.Header["User-Agent"] = []string{""} // sends none
	w.Do(r)
	if seen := w.Provider.Last(t).Header; seen.Get("X-Version") != "2020-01-01" || seen.Get("User-Agent") != "acme-client" {
		t.Errorf("sent %v", seen)
	}
}

func TestGitHubGetsAUserAgentInAnyCase(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	r := w.Request("GET", w.H1+"/acme/x", nil)
	r.Header["User-Agent"] = []string{""}
	w.Do(r)
	if got := w.Provider.Last(t).Header.Get("User-Agent"); got != "toolgate" {
		t.Errorf("User-Agent %q", got)
	}
}

func TestRequestTrailersReachTheProviderButNotTheAgentsOwn(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		w := gatewaytest.New(t, gatewaytest.Options{TLS: overTLS})
		for _, address := range []string{w.H1, w.H2} {
			for _, renewed := range []bool{false, true} {
				if renewed {
					w.Credentials.Connect("ada", w.Toolkits["acme"], "refused")
				}
				trailers := make(chan http.Header, 1)
				w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
					gatewaytest.ReadBody(r)
					if gatewaytest.Token(r) == "refused" {
						rw.WriteHeader(401)
						return
					}
					trailers <- maps.Clone(r.Trailer)
				})
				body, end := io.Pipe()
				r := w.Request("POST", address+"/acme/x", body)
				r.Trailer = http.Header{"X-Sum": nil, "X-Api-Key": nil, "X-User-Id": nil}
				go func() {
					_, _ = io.WriteString(end, "some body")
					r.Trailer.Set("X-Sum", "abc")
					r.Trailer.Set("X-Api-Key", gatewaytest.AgentKey)
					r.Trailer.Set("X-User-Id", "bob")
					end.Close()
				}()
				if res, text := w.Do(r); res.StatusCode != 200 {
					t.Fatalf("%s: %s", res.Status, text)
				}
				if got, want := <-trailers, (http.Header{"X-Sum": {"abc"}}); !reflect.DeepEqual(got, want) {
					t.Errorf("TLS %v, to %s, renewed %v: the provider saw the trailer %v", overTLS, address, renewed, got)
				}
			}
		}
	}
}

func TestAMethodTheServerDoesNotKnowIsTheProvidersMatter(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	for _, method := range []string{"PROPFIND", "PATCH", "DELETE", "OPTIONS", "QUERY"} {
		w.Do(w.Request(method, w.H1+"/acme/x", nil))
		if got := w.Provider.Last(t).Method; got != method {
			t.Errorf("%s became %s", method, got)
		}
	}
}

// What a user makes a provider send behind an answer's end reaches nobody else.
func TestAUsersConnectionCarriesNobodyElsesCalls(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Credentials.Connect("bob", w.Toolkits["acme"], "bobs-token")
	var mu sync.Mutex
	who := map[string]map[string]bool{} // that came over a connection
	w.Provider.Handle(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if who[r.RemoteAddr] == nil {
			who[r.RemoteAddr] = map[string]bool{}
		}
		who[r.RemoteAddr][gatewaytest.Token(r)] = true
	})
	for range 5 {
		for _, user := range []string{"ada", "ada", "bob"} {
			r := w.Request("GET", w.H1+"/acme/x", nil)
			r.Header.Set("X-User-Id", user)
			w.Do(r)
		}
	}
	for address, users := range who {
		if len(users) != 1 {
			t.Errorf("over the connection from %s came calls of %v", address, users)
		}
	}
	clear(who)
	for _, user := range []string{"ada", "bob", "ada", "bob"} {
		r := w.Request("GET", w.H1+"/weather/x", nil)
		r.Header.Set("X-User-Id", user)
		w.Do(r)
	}
	if len(who) != 1 {
		t.Errorf("for the operator's key, which is everybody's, there were %d connections", len(who))
	}
}
