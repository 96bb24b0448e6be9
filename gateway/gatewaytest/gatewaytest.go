// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package gatewaytest holds a whole gateway in memory: a fake provider, fake
// credentials, links and audit, and servers for HTTP/1.1 and HTTP/2 in front.
package gatewaytest

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/toolgate/toolgate/egress"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// The secrets of a world. None of them may come out anywhere.
const (
	AgentKey    = "tgk_marker-agent-key"
	OtherKey    = "tgk_marker-other-agent-key"
	UserToken   = "gho_marker-user-token"
	OperatorKey = "sk-marker-operator+key/="
	Password    = "marker-basic-password"
)

// Patience is how long a test waits for what has to happen. It is no measure of
// anything: a test that needs it has failed.
const Patience = 20 * time.Second

// Options change a world. The zero value is a plain provider, and agents with keys.
type Options struct {
	// TLS: the provider speaks HTTP/2 over TLS.
	TLS bool
	// Local: no agent is configured, so only calls from this machine are served.
	Local bool
	// Handler wraps the gateway; r.Body is replaced in any case, as Caddy does.
	Handler func(http.Handler) http.Handler
	// Edit changes the configuration.
	Edit func(*gateway.Config)
	// Acme changes the toolkit "acme".
	Acme func(*toolkit.Toolkit)
}

// World is a gateway and all around it. User "ada" is connected to "acme".
//
// The toolkits: acme (OAuth, alias "files"), weather (the operator's key in a
// header with a prefix), maps (in a query parameter), ledger (Basic), open (no
// credential) and draft (not set up). All of them are on the one provider, below /api.
type World struct {
	Gateway     *gateway.Gateway
	Provider    *Provider
	Credentials *Credentials
	Links       *Links
	Audit       *Audit
	Sessions    *Sessions
	Toolkits    map[string]*toolkit.Toolkit

	// H1 and H2 are the gateway's addresses; Client knows both.
	H1, H2 string
	Client *http.Client

	t      testing.TB
	events chan gateway.Event
}

// New makes a world that ends with the test.
func New(t testing.TB, o Options) *World {
	t.Helper()
	w := &World{
		Provider: NewProvider(t, o.TLS), Credentials: newCredentials(), Links: &Links{}, Audit: &Audit{}, Sessions: &Sessions{},
		t: t, events: make(chan gateway.Event, 4096),
	}
	w.Toolkits = toolkits(t, w.Provider.URL)
	if o.Acme != nil {
		o.Acme(w.Toolkits["acme"])
	}
	w.Credentials.Connect("ada", w.Toolkits["acme"], UserToken)
	cfg := w.config(o)
	if o.Edit != nil {
		o.Edit(&cfg)
	}
	w.Gateway = gateway.New(cfg)
	w.serve(o.Handler)
	return w
}

func (w *World) config(o Options) gateway.Config {
	cfg := gateway.Config{
		Toolkits:    map[string]gateway.Endpoint{},
		Credentials: w.Credentials, Links: w.Links, Audit: w.Audit, Sessions: w.Sessions,
		Observe: func(e gateway.Event) { w.events <- e },
	}
	transport := w.Provider.transport()
	upstream := egress.Apart(transport)
	w.t.Cleanup(upstream.CloseIdleConnections)
	for id, tk := range w.Toolkits {
		cfg.Toolkits[id] = gateway.Endpoint{Toolkit: tk, Upstream: upstream}
	}
	if !o.Local {
		cfg.Agents = []gateway.Agent{
			{Name: "bot", Tenant: "default", Keys: []secret.String{secret.New(AgentKey), secret.New("plain-agent-key")}, ActsForAny: true},
			{Name: "clerk", Tenant: "default", Keys: []secret.String{secret.New(OtherKey)}, Toolkits: []string{"weather"}, ActsFor: []string{"ada"}},
		}
	}
	return cfg
}

func toolkits(t testing.TB, base string) map[string]*toolkit.Toolkit {
	t.Helper()
	prefix := "Key "
	oauth := toolkit.OAuthDefinition{AuthorizeURL: base + "/authorize", TokenURL: base + "/token", ClientID: "toolgate", ClientSecret: secret.New("marker-client-secret")}
	unset := oauth
	unset.ClientID = ""
	all := map[string]*toolkit.Toolkit{}
	for _, d := range []toolkit.Definition{
		{ID: "acme", Name: "Acme", Hosts: map[string]string{"files": base + "/files"}, Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth}, OAuth: oauth},
		{ID: "weather", Auth: toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "X-Weather-Key", Prefix: &prefix, Key: secret.New(OperatorKey)}},
		{ID: "maps", Auth: toolkit.AuthDefinition{Kind: toolkit.APIKey, Query: "key", Key: secret.New(OperatorKey)}},
		{ID: "ledger", Auth: toolkit.AuthDefinition{Kind: toolkit.Basic, Username: "books", Password: secret.New(Password)}},
		{ID: "open", Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}},
		{ID: "draft", Name: "Draft", Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth}, OAuth: unset},
	} {
		d.BaseURL = base + "/api"
		tk, err := d.Toolkit()
		if err != nil {
			t.Fatal(err)
		}
		all[d.ID] = tk
	}
	return all
}

// serve starts the servers. They pass "OPTIONS *" on, which net/http would answer.
func (w *World) serve(wrap func(http.Handler) http.Handler) {
	var h http.Handler = w.Gateway
	if wrap != nil {
		h = wrap(h)
	}
	h = OtherBody(h)
	h1, h2 := httptest.NewUnstartedServer(h), httptest.NewUnstartedServer(h)
	for _, s := range []*httptest.Server{h1, h2} {
		s.Config.ErrorLog = ErrorLog(w.t)
		s.Config.DisableGeneralOptionsHandler = true
		w.t.Cleanup(s.Close)
	}
	w.t.Cleanup(w.Gateway.Close)
	h1.Start()
	h2.EnableHTTP2 = true
	h2.StartTLS()
	w.H1, w.H2 = h1.URL, h2.URL
	w.Client = h2.Client()
	w.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	tr := w.Client.Transport.(*http.Transport)
	tr.DisableCompression = true
	tr.MaxIdleConnsPerHost = 64
	w.t.Cleanup(tr.CloseIdleConnections)
}

func quiet(s *httptest.Server) { s.Config.ErrorLog = log.New(io.Discard, "", 0) }

// OtherBody puts another body into each request, as Caddy does: net/http then does
// not know its own any more, and reads it to the end before it sends a status.
func OtherBody(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil {
			r.Body = struct{ io.ReadCloser }{r.Body}
		}
		h.ServeHTTP(w, r)
	})
}

// Request makes a request for ada by the agent "bot". address begins with H1 or H2.
func (w *World) Request(method, address string, body io.Reader) *http.Request {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*Patience)
	w.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Toolgate-Key", AgentKey)
	r.Header.Set("X-User-Id", "ada")
	return r
}

// Do sends a request and reads the answer, which has to come whole.
func (w *World) Do(r *http.Request) (*http.Response, string) {
	w.t.Helper()
	res, err := w.Client.Do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("%s %s: reading the answer: %v", r.Method, r.URL, err)
	}
	return res, string(body)
}

// Get sends a GET for ada over HTTP/1.1 to a path of the gateway.
func (w *World) Get(path string) (*http.Response, string) {
	w.t.Helper()
	return w.Do(w.Request("GET", w.H1+path, nil))
}

// Event gives the next event, waiting for it.
func (w *World) Event() gateway.Event {
	w.t.Helper()
	select {
	case e := <-w.events:
		return e
	case <-time.After(Patience):
		w.t.Fatal("no event came")
		panic("unreachable")
	}
}

// Events gives those that have come and that nobody has taken.
func (w *World) Events() (all []gateway.Event) {
	for {
		select {
		case e := <-w.events:
			all = append(all, e)
		default:
			return all
		}
	}
}

// Dial opens a connection to the HTTP/1.1 server, for what no client would send.
func (w *World) Dial() net.Conn {
	w.t.Helper()
	u, err := url.Parse(w.H1)
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(Patience))
	return conn
}
