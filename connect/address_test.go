// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/toolkit"
)

// companies is Acme as a provider that has a host for each instance, named by the token
// endpoint, and a number for each company, named by the callback.
type companies struct {
	*world
	variables map[string]string // of the token answer
	strays    []string
	calls     []string // of the API
	// answer is what the identity call gets in place of the company 123's.
	answer func() (status int, text string, err error)
}

func newCompanies(t *testing.T, patterns ...string) *companies {
	t.Helper()
	c := &companies{variables: map[string]string{"instance": "na1.acme.example"}}
	c.world = newWorld(t, func(cfg *connect.Config) {
		cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: companyToolkit(t, patterns...), Upstream: upstream(c.api)}
		real := cfg.Exchanger
		cfg.Exchanger = exchanger(func(ctx context.Context, code, verifier string) (oauth.Grant, error) {
			g, err := real.Exchange(ctx, cfg.Toolkits["acme"].Toolkit.OAuth, code, verifier, connect.RedirectURI(cfg.PublicURL, "acme"))
			g.Variables, g.Strays = c.variables, c.strays
			return g, err
		})
	})
	return c
}

func companyToolkit(t *testing.T, patterns ...string) *toolkit.Toolkit {
	t.Helper()
	plain := acmeToolkit(t, "acme")
	tk, err := toolkit.Definition{
		ID: "acme", Name: "Acme", BaseURL: "https://{instance}/v3/company/{company}",
		Variables: map[string]toolkit.VariableDefinition{
			"instance": {From: toolkit.FromReply, Field: "instance_url", Hosts: append(patterns, "*.acme.example")},
			"company":  {From: toolkit.FromCallback, Field: "realmId", Segment: toolkit.Digits, MaxLength: 20},
		},
		Auth:     toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth:    toolkit.OAuthDefinition{AuthorizeURL: plain.OAuth.AuthorizeURL, TokenURL: plain.OAuth.TokenURL},
		Identity: &toolkit.Identity{Path: "/companyinfo/{company}", Field: "email"},
	}.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	plain.OAuth.Reply = tk.OAuth.Reply
	tk.OAuth, tk.Missing = plain.OAuth, nil
	return tk
}

func (c *companies) api(r *http.Request) (*http.Response, error) {
	c.calls = append(c.calls, r.URL.String())
	if c.answer != nil {
		status, text, err := c.answer()
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, err
	}
	if r.URL.String() != "https://na1.acme.example/v3/company/123/companyinfo/123" {
		return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"email":"eve@acme.example"}`))}, nil
	}
	me := r.Clone(r.Context())
	me.URL = mustParse(c.t, acmeURL+"/v1/me")
	return c.toAcme(me), nil
}

func with(realm ...string) func(url.Values) {
	return func(q url.Values) { q["realmId"] = realm }
}

// finish consents and comes back to an address that change has been at.
func (c *companies) finish(change func(url.Values)) *page {
	c.t.Helper()
	b := newBrowser(c.world)
	callback := mustParse(c.t, b.consent(c.link(alice), "alice"))
	q := callback.Query()
	change(q)
	callback.RawQuery = q.Encode()
	return b.get(callback.String())
}

func TestAConnectionKeepsItsOwnAddress(t *testing.T) {
	c := newCompanies(t)
	c.finish(with("123")).want(t, http.StatusOK, "Connected as alice@acme.example")
	conn := c.connection()
	if want := map[string]string{"instance": "na1.acme.example", "company": "123"}; !maps.Equal(conn.Variables, want) {
		t.Errorf("variables %v", conn.Variables)
	}
	if !slices.Equal(conn.Granted.Hosts, []string{"https://{instance}"}) || conn.AccountLabel != "alice@acme.example" {
		t.Errorf("hosts %q, account %q", conn.Granted.Hosts, conn.AccountLabel)
	}
	if want := []string{"https://na1.acme.example/v3/company/123/companyinfo/123"}; !slices.Equal(c.calls, want) {
		t.Errorf("calls %q", c.calls)
	}
	c.wantStatus(t, connection.Active, "")
	if len(c.told) != 1 {
		t.Errorf("told %d times", len(c.told))
	}
}

// Whoever sits at the browser can write another company's number into the address.
func TestAForgedParameterIsNotBelieved(t *testing.T) {
	say := func(status int, text string) func(*companies) {
		return func(c *companies) {
			c.answer = func() (int, string, error) { return status, text, nil }
		}
	}
	nothing := func(*companies) {}
	for name, x := range map[string]struct {
		change   func(url.Values)
		provider func(*companies)
		failure  string
		says     string
	}{
		"another company":           {with("124"), nothing, "unproven", "does not confirm"},
		"a company of nobody's":     {with("123"), say(404, `{}`), "unproven", "does not confirm"},
		"a yes that names nobody":   {with("123"), say(200, `{"fault":"you may not"}`), "unproven", "does not confirm"},
		"a page for people":         {with("123"), say(302, `{"email":"alice@acme.example"}`), "unproven", "does not confirm"},
		"a provider that fails":     {with("123"), say(503, ``), "check_unavailable", "could not be asked"},
		"a provider that is busy":   {with("123"), say(429, `{"email":"alice@acme.example"}`), "check_unavailable", "could not be asked"},
		"a provider that is silent": {with("123"), func(c *companies) { c.answer = func() (int, string, error) { return 0, "", errors.New("away") } }, "check_unavailable", "could not be asked"},
		"none":                      {with(), nothing, "altered", "was changed on the way"},
		"an empty one":              {with(""), nothing, "altered", "was changed on the way"},
		"two":                       {with("123", "123"), nothing, "altered", "was changed on the way"},
		"a path":                    {with("123/../124"), nothing, "altered", "was changed on the way"},
		"an escape":                 {with("123%2f124"), nothing, "altered", "was changed on the way"},
		"a line":                    {with("123\n"), nothing, "altered", "was changed on the way"},
		"other digits":              {with("１２３"), nothing, "altered", "was changed on the way"},
		"a long one":                {with(strings.Repeat("1", 21)), nothing, "altered", "was changed on the way"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompanies(t)
			x.provider(c)
			p := c.finish(x.change)
			p.want(t, http.StatusOK, "Connect Acme?")
			if !strings.Contains(p.text, x.says) || strings.Contains(p.text, "eve@") {
				t.Errorf("the page:\n%s", p.text)
			}
			c.notConnected()
			c.wantReported("failed " + x.failure)
			if got := c.audit.text(); got != "link_started, connect_failed "+x.failure {
				t.Errorf("audit: %s", got)
			}
			if s := c.acme.Stats(); x.failure == "altered" && (s.TokenRequests != 0 || len(c.calls) != 0) {
				t.Errorf("the code was spent: %+v, calls %q", s, c.calls)
			} else if x.failure != "altered" && s.Revocations != 1 {
				t.Errorf("what is not kept was not given back: %+v", s)
			}
		})
	}
}

func TestAGrantWhoseAddressIsNotSaidIsNotKept(t *testing.T) {
	for name, change := range map[string]func(*companies){
		"nothing":    func(c *companies) { c.variables = nil },
		"a stranger": func(c *companies) { c.variables, c.strays = map[string]string{}, []string{"instance"} },
		// The token endpoint's reader lets none of these pass; this is the second door.
		"a host outside": func(c *companies) { c.variables = map[string]string{"instance": "evil.example"} },
		"a claim for it": func(c *companies) { c.variables = map[string]string{"company": "123"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompanies(t)
			change(c)
			p := c.finish(func(q url.Values) { q.Set("realmId", "123"); q.Set("instance_url", "na1.acme.example") })
			if !strings.Contains(p.text, "did not say where your account is to be found") {
				t.Errorf("the page:\n%s", p.text)
			}
			c.notConnected()
			c.wantReported("failed no_address")
			if s := c.acme.Stats(); len(c.calls) != 0 || s.Revocations != 1 {
				t.Errorf("calls %q, %+v", c.calls, s)
			}
		})
	}
}

// A revocation ends the whole grant at most providers, the old connection's too.
func TestAForgedParameterCostsNotTheConnectionThatWorks(t *testing.T) {
	c := newCompanies(t)
	c.finish(with("123")).want(t, http.StatusOK, "Connected as alice@acme.example")
	before := c.connection()
	c.finish(with("666")).want(t, http.StatusOK, "Connect Acme?")
	if after := c.connection(); after.Version != before.Version || after.Variables["company"] != "123" || c.acme.Stats().Revocations != 0 {
		t.Errorf("%+v, %d grants were given back", after.Variables, c.acme.Stats().Revocations)
	}
}

func TestAnAddressThatIsNotAllowedAnyMoreHasToBeConnectedAgain(t *testing.T) {
	c := newCompanies(t, "na1.old.example")
	c.variables = map[string]string{"instance": "na1.old.example"}
	c.answer = func() (int, string, error) { return 200, `{"email":"alice@acme.example"}`, nil }
	c.finish(with("123")).want(t, http.StatusOK, "Connected as alice@acme.example")
	c.wantStatus(t, connection.Active, "")
	narrow := connect.Endpoint{Toolkit: companyToolkit(t), Upstream: upstream(c.api)}
	c.reload(func(cfg *connect.Config) { cfg.Toolkits["acme"] = narrow })
	c.wantStatus(t, connection.NotConnected, connection.GrantMoved)
}

// Where nothing is to be proved, the account is named by its own instance all the same.
func TestTheAccountIsAskedForAtItsOwnInstance(t *testing.T) {
	for name, expect := range map[string][]string{"after it is kept": nil, "before, where one is expected": {"*@acme.example"}} {
		t.Run(name, func(t *testing.T) {
			c := newCompanies(t)
			tk := *c.cfg.Toolkits["acme"].Toolkit
			tk.Variables = map[string]toolkit.Variable{"instance": tk.Variables["instance"]}
			tk.BaseURL, tk.Identity, tk.ExpectAccount = &url.URL{Scheme: "https", Host: "{instance}"}, &toolkit.Identity{Path: "/v3/company/123/companyinfo/123", Field: "email"}, expect
			c.reload(func(cfg *connect.Config) {
				cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: &tk, Upstream: upstream(c.api)}
			})
			c.finish(func(url.Values) {}).want(t, http.StatusOK, "Connected as alice@acme.example")
			if want := []string{"https://na1.acme.example/v3/company/123/companyinfo/123"}; !slices.Equal(c.calls, want) || c.connection().AccountLabel != "alice@acme.example" {
				t.Errorf("calls %q, account %q", c.calls, c.connection().AccountLabel)
			}
		})
	}
}

// sites is Acme with a path for each site, which its own list names.
func sites(t *testing.T, list string, status int, err error) *companies {
	t.Helper()
	c := newCompanies(t)
	tk := *c.cfg.Toolkits["acme"].Toolkit
	tk.BaseURL, tk.Identity = &url.URL{Scheme: "https", Host: "api.acme.example", Path: "/ex/{site}"}, nil
	tk.Variables = map[string]toolkit.Variable{"site": {From: toolkit.FromLookup, Field: "cloud.id", Lookup: mustParse(t, "https://api.acme.example/sites?all=1"), Segment: toolkit.IDCharacters, MaxLength: 36}}
	c.variables, c.answer = nil, func() (int, string, error) { return status, list, err }
	c.reload(func(cfg *connect.Config) {
		cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: &tk, Upstream: upstream(c.api)}
	})
	return c
}

func TestASiteIsLookedUp(t *testing.T) {
	for list, want := range map[string]string{
		`{"cloud":{"id":"A-1"}}`:   "A-1",
		`[{"cloud":{"id":"A-1"}}]`: "A-1",
		`[{"cloud":{"id":12345678901234567890}},{"cloud":{"id":12345678901234567890},"more":1}]`: "12345678901234567890", // Atlassian names a site once for each product
		`[{"cloud":{"id":"A-1"}},{"cloud":{"id":"../B"}},{"cloud":null},7,null]`:                 "A-1",
	} {
		c := sites(t, list, 200, nil)
		c.finish(func(url.Values) {}).want(t, http.StatusOK, "Acme is connected")
		if conn := c.connection(); !maps.Equal(conn.Variables, map[string]string{"site": want}) {
			t.Errorf("%s: %v", list, conn.Variables)
		}
		if want := []string{"https://api.acme.example/sites?all=1"}; !slices.Equal(c.calls, want) {
			t.Errorf("calls %q", c.calls)
		}
	}
}

func TestASiteThatIsNotClearIsNotKept(t *testing.T) {
	for list, want := range map[string]struct {
		status  int
		err     error
		failure string
	}{
		`[{"cloud":{"id":"A-1"}},{"cloud":{"id":"B-2"}}]`: {200, nil, "several"},
		`[]`:                         {200, nil, "no_address"},
		`[{"cloud":{"id":"../B"}}]`:  {200, nil, "no_address"},
		`[{"cloud":{"id":"A-1\n"}}]`: {200, nil, "no_address"},
		`<html>`:                     {200, nil, "no_address"},
		``:                           {204, nil, "no_address"},
		`{"cloud":{"id":"A-1"}} `:    {403, nil, "no_address"},
		`{"cloud":{"id":"A-1"}}  `:   {302, nil, "no_address"},
		`{"cloud":{"id":"A-1"}}   `:  {503, nil, "check_unavailable"},
		`{"cloud":{"id":"A-1"}}    `: {200, errors.New("away"), "check_unavailable"},
	} {
		c := sites(t, list, want.status, want.err)
		c.finish(func(url.Values) {}).want(t, http.StatusOK, "Connect Acme?")
		c.notConnected()
		c.wantReported("failed " + want.failure)
		if c.acme.Stats().Revocations != 1 {
			t.Errorf("%s was not given back", list)
		}
	}
}

func TestTheAccountIsExpectedByTheNameThatProvedIt(t *testing.T) {
	c := newCompanies(t)
	c.cfg.Toolkits["acme"].Toolkit.ExpectAccount = []string{"bob@acme.example"}
	c.finish(with("123")).want(t, http.StatusOK, "Connect Acme?")
	c.notConnected()
	c.wantReported("failed other_account")
	if len(c.calls) != 1 {
		t.Errorf("calls %q", c.calls)
	}
}
