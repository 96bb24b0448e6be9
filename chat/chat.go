// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package chat is the MCP endpoint: an agent's chat finds out there what its user has
// connected, gets links to show, waits until they were used, and calls toolkits.
//
// Who the user is, is said by the request alone, as on any call of a toolkit. No tool takes
// a user as an argument: the model writes the arguments, and whoever can write into the
// chat, such as the author of a mail that it reads, writes with it.
package chat

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// Agents tell who calls and what they may do; *gateway.Gateway does.
type Agents interface {
	// Caller tells who calls. Errors are *problem.Problem.
	Caller(r *http.Request) (caller.Caller, error)
	Has(who caller.Caller, right caller.Right) bool
	May(who caller.Caller, toolkitID string) bool
	// Callback is where the caller wants its user's browser to go after connecting.
	Callback(r *http.Request, who caller.Caller) (string, error)
}

// Connections are what users have connected. account is as an agent names it; "" is the
// user's default. Errors are *problem.Problem.
type Connections interface {
	Standing(ctx context.Context, who caller.Caller, toolkitID, account string) (Standing, error)
	// Link makes an address for one toolkit or several; an account is of one.
	Link(ctx context.Context, who caller.Caller, ask Ask) (Link, error)
	// Disconnect says in a sentence what came of it.
	Disconnect(ctx context.Context, requestID string, who caller.Caller, toolkitID, account string) (string, error)
}

// Standing is how a connection stands, as far as a call of this agent's would get with it.
type Standing struct {
	Toolkit   problem.Toolkit
	Status    connection.Status
	Reason    connection.Reason
	ID        string // of the connection; "" where there is none, or it is not the agent's business
	Account   string // what it is called
	UpdatedAt time.Time
	Others    []problem.Choice // the user's other connections to the toolkit
}

// Ask is what a link is for.
type Ask struct {
	Toolkits    []string
	Account     string
	CallbackURL string // "": the browser goes nowhere at the end
}

// Link is an address for the user.
type Link struct {
	URL       string
	ExpiresAt time.Time
}

// Changes tell that something of a user's was connected or taken away. Not all of it has to
// be told: who waits looks now and then all the same.
type Changes interface {
	// Watch gives a channel that has something in it when something has changed, until stop.
	Watch(tenant, user string) (changed <-chan struct{}, stop func())
}

// Sealer keeps what a client carries for us; *seal.Ring does.
type Sealer interface {
	Seal(plain []byte, place string) []byte
	Open(sealed []byte, place string) ([]byte, error)
}

// Calls are calls of toolkits.
type Calls struct {
	// To gives the handler of agents' calls that is for one toolkit alone, so that a
	// request's whole path is the toolkit's; (*gateway.Gateway).At does.
	To func(toolkitID string) http.Handler
	// URL is what that one puts before the paths of addresses in answers. Here they are
	// given without it.
	URL string
}

// Config makes a Service.
type Config struct {
	// PublicURL is where the endpoint is reached, at Path below it.
	PublicURL   *url.URL
	Path        string // such as "/mcp"
	Toolkits    map[string]*toolkit.Toolkit
	Agents      Agents
	Connections Connections
	Changes     Changes // nil: nothing is told
	Seal        Sealer
	// ToolPrefix stands before the names of all tools, for clients that have others of
	// these names.
	ToolPrefix string
	// Disconnect: there is a tool that takes a connection away.
	Disconnect bool
	// Calls: there is a tool that calls toolkits. Nil: there is none.
	Calls *Calls
	// ManageURL is where users see and change what they have connected; "": nowhere.
	ManageURL string
	// Report is told of each call of a tool, for the operator's log. Nil: nobody.
	Report func(Event)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Event is one call of a tool, or a request that was refused. It has no argument and no
// result but the toolkit's name, so it cannot hold a secret.
type Event struct {
	RequestID string
	Caller    caller.Caller
	Tool      string // as it is called without a prefix; "" where the request was refused
	Toolkit   string // "" where it is about several
	Result    string // a status, asked, listed, called, disconnected, refused or gone
	Code      problem.Code
	Took      time.Duration
	Err       error
}

// Service is the endpoint. It is safe for concurrent use.
type Service struct {
	cfg     Config
	path    string
	handler http.Handler

	mu      sync.Mutex
	servers map[toolset]*mcp.Server
}

// maxMessage and maxCallMessage are how long a message may be, in bytes, without and with the
// tool that takes a body of 1 MiB, which JSON may write with more.
const (
	maxMessage     = 64 << 10
	maxCallMessage = 4 << 20
)

// New makes a service. It touches neither store nor network.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Report == nil {
		cfg.Report = func(Event) {}
	}
	if cfg.Changes == nil {
		cfg.Changes = quiet{}
	}
	s := &Service{cfg: cfg, path: strings.TrimRight(cfg.PublicURL.JoinPath("/").Path, "/") + cfg.Path, servers: map[toolset]*mcp.Server{}}
	limit := int64(maxMessage)
	if cfg.Calls != nil {
		limit = maxCallMessage
	}
	// Stateless is how one handler serves both eras of the protocol; a session would live
	// in one process of several, and know its user from its first request alone.
	s.handler = mcp.NewStreamableHTTPHandler(s.serverFor, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, MaxRequestBodyBytes: limit, PropagateRequestCancellation: true,
		// Handles has looked at the host. Behind another proxy of this machine, the SDK's own
		// look would refuse the right one.
		DisableLocalhostProtection: true,
	})
	return s
}

type quiet struct{}

// Watch implements Changes.
func (quiet) Watch(string, string) (<-chan struct{}, func()) { return nil, func() {} }

// visit is one request. The SDK hands its context on to the tools.
type visit struct {
	r        *http.Request
	id       string
	who      caller.Caller
	callback string
	tools    toolset
	calls    atomic.Int32
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// Handles reports whether the request is for the endpoint: its path, on the public URL's
// host. A request that names a toolkit is for the gateway.
func (s *Service) Handles(r *http.Request) bool {
	return r.URL.Path == s.path && r.Header["X-Toolkit"] == nil && strings.EqualFold(hostOf(r.Host, s.cfg.PublicURL.Scheme), hostOf(s.cfg.PublicURL.Host, s.cfg.PublicURL.Scheme))
}

// hostOf is a host without the port that its scheme has anyway.
func hostOf(hostport, scheme string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || port != map[string]string{"https": "443", "http": "80"}[scheme] {
		return hostport
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// ServeHTTP serves a request that Handles has taken.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{r: r, id: rand.Text()}
	w.Header().Set("X-Toolgate-Request-Id", v.id)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := s.admit(v); err != nil {
		p := problem.Of(err)
		p.Step = "mcp"
		s.cfg.Report(Event{RequestID: v.id, Caller: v.who, Result: "refused", Code: p.Code, Err: p.Unwrap()})
		answerEarly(w, r)
		p.Write(w, r.Header.Get("Accept"), v.id)
		return
	}
	// It returns when the tools have: whoever calls may then close what they use.
	s.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
}

// answerEarly is for an answer before the request's body was read. Where the connection is to
// be used again, the server reads the rest first, for as long as the client takes to send it.
func answerEarly(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
}

// admit finds out who calls, on every request anew.
func (s *Service) admit(v *visit) (err error) {
	switch {
	case v.r.Method != http.MethodPost:
		p := problem.New(problem.MethodRefused, "method", "The MCP endpoint answers POST. It has no sessions and no streams of its own.")
		p.Allow = "POST"
		return p
	case !s.ownOrigin(v.r.Header["Origin"]):
		return problem.New(problem.BrowserRequest, "origin", "A page of another web site makes this call. The MCP endpoint is for programs.")
	case v.r.Header["X-Account"] != nil:
		return problem.New(problem.InvalidAccount, "x-account", "At the MCP endpoint, each call of a tool names its account itself: leave out the header X-Account.")
	}
	if v.who, err = s.cfg.Agents.Caller(v.r); err != nil {
		return err
	}
	if !s.cfg.Agents.Has(v.who, caller.Connect) && !s.cfg.Agents.Has(v.who, caller.Call) {
		return problem.New(problem.NotPermitted, "rights", "The agent "+v.who.Agent+" has neither of the rights `connect` and `call`. The operator gives them with rights.")
	}
	if v.callback, err = s.cfg.Agents.Callback(v.r, v.who); err != nil {
		return err
	}
	v.tools = s.toolsFor(v.who)
	return nil
}

// ownOrigin: programs send none. A page elsewhere that has a browser send one can reach
// this machine and, by DNS rebinding, under any name.
func (s *Service) ownOrigin(origins []string) bool {
	own := s.cfg.PublicURL.Scheme + "://" + hostOf(s.cfg.PublicURL.Host, s.cfg.PublicURL.Scheme)
	return len(origins) == 0 || len(origins) == 1 && strings.EqualFold(origins[0], own)
}
