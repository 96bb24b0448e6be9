// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

// anyHost carries each call to the one provider, which sees the host that it was for.
type anyHost struct {
	http.RoundTripper
	at *url.URL
}

func (h anyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.Host != r.URL.Host {
		return nil, &url.Error{Op: "dial", URL: r.URL.String(), Err: http.ErrNotSupported}
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = h.at.Scheme, h.at.Host
	return h.RoundTripper.RoundTrip(out)
}

// instances is a world in which ada and bob have instances of their own.
func instances(t *testing.T) *gatewaytest.World {
	t.Helper()
	tk, err := toolkit.Definition{
		ID: "acme", Name: "Acme", BaseURL: "https://{instance}/api/{team}", Hosts: map[string]string{"files": "https://{instance}/files"},
		Variables: map[string]toolkit.VariableDefinition{
			"instance": {From: toolkit.FromReply, Field: "instance_url", Hosts: []string{"*.acme.example"}},
			"team":     {From: toolkit.FromReply, Field: "team", Segment: toolkit.Digits},
		},
		Auth:  toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth: toolkit.OAuthDefinition{AuthorizeURL: "https://id.acme.example/a", TokenURL: "https://id.acme.example/t", ClientID: "c", AuthStyle: toolkit.StyleNone},
	}.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	w := gatewaytest.New(t, gatewaytest.Options{
		Acme: func(acme *toolkit.Toolkit) { *acme = *tk },
		Edit: func(cfg *gateway.Config) {
			e := cfg.Toolkits["acme"]
			at, _ := url.Parse(cfg.Toolkits["weather"].Toolkit.BaseURL.String())
			e.Upstream = anyHost{e.Upstream, at}
			e.Redirects = e.Upstream
			cfg.Toolkits["acme"] = e
		},
	})
	w.Credentials.Connect("bob", w.Toolkits["acme"], "marker-bobs-token")
	move(w, "ada", "na1.acme.example", "1")
	move(w, "bob", "na2.acme.example", "2")
	return w
}

func move(w *gatewaytest.World, user, instance, team string) {
	w.Credentials.Change(user, "acme", func(c *connection.Connection) {
		c.Variables = map[string]string{"instance": instance, "team": team}
	})
}

func get(w *gatewaytest.World, user, path string) (*http.Response, string) {
	r := w.Request("GET", w.H1+path, nil)
	r.Header.Set("X-User-Id", user)
	return w.Do(r)
}

func TestEachCallGoesToItsOwnConnectionsAddress(t *testing.T) {
	w := instances(t)
	for _, c := range []struct{ user, path, host, uri, token string }{
		{"ada", "/acme/x%2Fy?q=1", "na1.acme.example", "/api/1/x%2Fy?q=1", gatewaytest.UserToken},
		{"bob", "/acme/x", "na2.acme.example", "/api/2/x", "marker-bobs-token"},
		{"ada", "/acme/~files/x", "na1.acme.example", "/files/x", gatewaytest.UserToken},
		{"ada", "/acme/%7Binstance%7D", "na1.acme.example", "/api/1/%7Binstance%7D", gatewaytest.UserToken},
	} {
		if res, body := get(w, c.user, c.path); res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s", c.user, c.path, res.StatusCode, body)
		}
		seen := w.Provider.Last(t)
		if seen.Host != c.host || seen.URI != c.uri || seen.Header.Get("Authorization") != "Bearer "+c.token {
			t.Errorf("%s %s came as %s%s with %s", c.user, c.path, seen.Host, seen.URI, seen.Header.Get("Authorization"))
		}
	}
	if lines := w.Audit.Lines(); lines[0].Host != "na1.acme.example" || lines[0].Path != "/api/1/x%2Fy" || lines[1].Host != "na2.acme.example" {
		t.Errorf("on paper: %+v", lines)
	}
}

func TestWhoIsNotConnectedNeedsNoAddress(t *testing.T) {
	w := instances(t)
	res, body := get(w, "carol", "/acme/x")
	refused(t, w, res, body, verdict{403, "auth_required", "authorize", "no_connection"})
	res, body = get(w, "carol", "/acme/x/%2e%2e/y")
	refused(t, w, res, body, verdict{400, "invalid_path", "resolve", "path"})
	nothingLeft(t, w)
}

func TestAnAddressOutsideOfThePatternIsNeverCalled(t *testing.T) {
	w := instances(t)
	for _, instance := range []string{
		"", "evil.example", "evilacme.example", "acme.example", "na1.acme.example.evil.example", "na1.acme.example:8443", "u@na1.acme.example", "NA1.acme.example",
		`evil.example\.acme.example`, "evil.example/.acme.example", "evil.example%2f.acme.example", "na1.acme.example.", "127.0.0.1", "xn--a.acme.example", "na1.acme.example\n",
	} {
		move(w, "ada", instance, "1")
		res, body := get(w, "ada", "/acme/x")
		refused(t, w, res, body, verdict{403, "auth_required", "authorize", "provider_config"})
	}
	for _, team := range []string{"", "..", "1/2", "1%2f", "x"} {
		move(w, "ada", "na1.acme.example", team)
		res, body := get(w, "ada", "/acme/x")
		refused(t, w, res, body, verdict{403, "auth_required", "authorize", "provider_config"})
	}
	// Granted when the toolkit's addresses were written differently.
	for _, host := range []string{"https://na1.acme.example", "https://{instance}.acme.example", "https://{other}"} {
		move(w, "ada", "na1.acme.example", "1")
		w.Credentials.Change("ada", "acme", func(c *connection.Connection) { c.Granted.Hosts = []string{host} })
		res, body := get(w, "ada", "/acme/x")
		refused(t, w, res, body, verdict{403, "auth_required", "authorize", "provider_config"})
	}
	nothingLeft(t, w)
}

func TestOnlyTheConnectionsOwnAddressesBecomeTheGateways(t *testing.T) {
	w := instances(t)
	for location, want := range map[string]string{
		"https://na1.acme.example/api/1/next":   "/acme/next",
		"https://na1.acme.example/files/next":   "/acme/~files/next",
		"/api/1/next":                           "/acme/next",
		"https://na2.acme.example/api/2/next":   "https://na2.acme.example/api/2/next", // bob's
		"https://na1.acme.example/api/2/next":   "https://na1.acme.example/api/2/next", // another team's
		"/api/2/next":                           "https://na1.acme.example/api/2/next",
		"https://%7Binstance%7D/api/1/next":     "about:blank",
		"https://{instance}/api/{team}/next":    "about:blank",
		"https://na1.acme.example.evil.example": "https://na1.acme.example.evil.example",
	} {
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", location)
			rw.Header().Set("Link", "<"+location+`>; rel="next"`)
			rw.WriteHeader(http.StatusFound)
		})
		if strings.HasPrefix(want, "/") {
			want = w.H1 + want
		}
		calls := w.Provider.Calls()
		res, _ := get(w, "ada", "/acme/x")
		if got, link := res.Header.Get("Location"), res.Header.Get("Link"); got != want || link != "<"+want+`>; rel="next"` || w.Provider.Calls() != calls+1 {
			t.Errorf("%s became %s and %s, want %s", location, got, link, want)
		}
	}
}

// A pattern of redirect_hosts may be wider than one connection.
func TestARedirectToTheOwnInstanceIsNoDownload(t *testing.T) {
	w := instances(t)
	w.Toolkits["acme"].RedirectHosts = []toolkit.HostPattern{"*.acme.example"}
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Location", "https://na1.acme.example/api/1/next")
		rw.WriteHeader(http.StatusFound)
	})
	if res, _ := get(w, "ada", "/acme/x"); res.Header.Get("Location") != w.H1+"/acme/next" || w.Provider.Calls() != 1 {
		t.Errorf("to %s, %d calls", res.Header.Get("Location"), w.Provider.Calls())
	}
}

func TestARenewalThatMovesTheAccountIsFollowedAndOnPaper(t *testing.T) {
	w := instances(t)
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		if r.Host == "na1.acme.example" {
			move(w, "ada", "na3.acme.example", "1")
			rw.WriteHeader(http.StatusUnauthorized)
		}
	})
	if res, body := get(w, "ada", "/acme/x"); res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	var came, written []string
	for _, seen := range w.Provider.Seen() {
		came = append(came, seen.Host+seen.URI)
	}
	for _, line := range w.Audit.Lines() {
		written = append(written, line.Host+line.Path)
	}
	if want := []string{"na1.acme.example/api/1/x", "na3.acme.example/api/1/x"}; !slices.Equal(came, want) || !slices.Equal(written, want) {
		t.Errorf("called %q, on paper %q", came, written)
	}
}

func TestARenewalThatLeadsOutsideIsNotFollowed(t *testing.T) {
	w := instances(t)
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		move(w, "ada", "evil.example", "1")
		rw.WriteHeader(http.StatusUnauthorized)
	})
	res, body := get(w, "ada", "/acme/x")
	refused(t, w, res, body, verdict{403, "auth_required", "send", "provider_config"})
	if w.Provider.Calls() != 1 {
		t.Errorf("%d calls", w.Provider.Calls())
	}
}
