// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/problem"
)

// identify finds out which agent calls and for which user.
func (g *Gateway) identify(x *exchange) error {
	if err := refuseBrowsers(x.in); err != nil {
		return err
	}
	who, agent, err := g.who(x.in)
	x.caller, x.agent = who, agent
	if err != nil {
		return err
	}
	if agent != nil && !agent.has(caller.Call) {
		return lacking(agent, caller.Call)
	}
	x.callback, err = g.callbackOf(x.in.Header, who)
	return err
}

const callbackHeader = "X-Toolgate-Callback"

// callbackOf gives where the agent wants its user's browser to go after connecting. One
// that is not allowed is refused on every call: where it were only on those that need a
// link, nobody would notice before a user does.
func (g *Gateway) callbackOf(h http.Header, who caller.Caller) (string, error) {
	values := h[callbackHeader]
	switch {
	case len(values) == 0 && who.Session != nil && g.MayCallBack(who, who.Session.CallbackURL):
		return who.Session.CallbackURL, nil
	case len(values) == 0 || g.MayCallBack(who, values[0]):
		return h.Get(callbackHeader), nil
	}
	return "", problem.New(problem.BadRequest, "callback_urls", "The address in "+callbackHeader+" is not one that the agent "+who.Agent+" may have users sent to. The operator allows it, letter for letter, with callback_urls in the agent's block.")
}

// Identify tells who asks how a connection stands.
func (g *Gateway) Identify(r *http.Request) (caller.Caller, error) {
	who, agent, err := g.who(r)
	if err == nil && agent != nil && !agent.has(caller.Connect) {
		err = lacking(agent, caller.Connect)
	}
	return who, err
}

// Caller tells who calls and for whom, whatever that one's rights are; see [Gateway.Has].
func (g *Gateway) Caller(r *http.Request) (caller.Caller, error) {
	who, _, err := g.who(r)
	return who, err
}

// Has reports whether the caller's agent has a right. Where no agent is configured,
// everybody who gets here is local, and has what an agent has where nobody names any.
func (g *Gateway) Has(who caller.Caller, right caller.Right) bool {
	if len(g.cfg.Agents) == 0 {
		return right == caller.Call || right == caller.Connect
	}
	a := g.agentOf(who)
	return a != nil && a.has(right)
}

// Callback gives where a caller wants its user's browser to go after connecting, as on a
// call of a toolkit.
func (g *Gateway) Callback(r *http.Request, who caller.Caller) (string, error) {
	return g.callbackOf(r.Header, who)
}

func lacking(agent *Agent, right caller.Right) error {
	return problem.New(problem.NotPermitted, "rights", "The agent "+agent.Name+" does not have the right `"+string(right)+"`. The operator gives it with rights.")
}

func (g *Gateway) who(r *http.Request) (caller.Caller, *Agent, error) {
	if err := onceEach(r.Header); err != nil {
		return caller.Caller{}, nil, err
	}
	if len(g.cfg.Agents) == 0 {
		return localCaller(r)
	}
	proven, err := g.agents.prove(r.Header)
	if err != nil {
		return caller.Caller{}, nil, err
	}
	if proven.token != "" {
		return g.inSession(proven.token, r.Header)
	}
	agent := proven.agent
	user, err := userOf(r.Header)
	who := caller.Caller{Tenant: agent.Tenant, Agent: agent.Name, User: user}
	if err != nil {
		return who, agent, err
	}
	if !agent.actsFor(user) {
		return who, agent, mayNotActFor(agent)
	}
	return who, agent, nil
}

// identityHeaders may come once. net/http keeps both of two, and what reads the
// other one behind or before us would see another user.
var identityHeaders = [...]string{"X-Toolgate-Key", "Authorization", "X-Api-Key", "X-User-Id", "X-Toolkit", "X-Account", callbackHeader}

func onceEach(h http.Header) error {
	for _, name := range identityHeaders {
		if len(h[name]) > 1 {
			return problem.New(problem.DuplicateHeader, strings.ToLower(name), "The header "+name+" came more than once. Send it once.")
		}
	}
	return nil
}

func userOf(h http.Header) (string, error) {
	values, given := h["X-User-Id"]
	if !given {
		return "", problem.New(problem.UserRequired, "x-user-id", "Say for which user this call is: send the header X-User-Id.")
	}
	if !caller.ValidUser(values[0]) {
		return "", problem.New(problem.InvalidUser, "x-user-id", "X-User-Id has to be one id of 1 to 256 printable ASCII characters, without spaces and commas.")
	}
	return values[0], nil
}

// localCaller serves where no agent is configured: only calls that surely come from
// a program on this machine. A page in the user's browser can reach loopback too,
// directly or by DNS rebinding, and so can a proxy for somebody far away; each of
// them shows itself in one of these.
func localCaller(r *http.Request) (caller.Caller, *Agent, error) {
	who := caller.Caller{Tenant: caller.DefaultTenant, Agent: caller.LocalAgent}
	switch {
	case !loopbackAddr(r.RemoteAddr):
		return who, nil, notLocal("peer", "it comes from another machine")
	case !LoopbackHost(r.Host):
		return who, nil, notLocal("host", "its Host is not this machine")
	case r.Header["Origin"] != nil:
		return who, nil, notLocal("origin", "it has an Origin, as a web page's call does")
	case otherSite(r.Header["Sec-Fetch-Site"]):
		return who, nil, notLocal("sec-fetch-site", "another web site makes it")
	}
	for name := range r.Header {
		if credential.TellsOrigin(name) {
			return who, nil, notLocal(strings.ToLower(name), "the header "+name+" shows that a proxy passed it on")
		}
	}
	user, err := userOf(r.Header)
	who.User = user
	return who, nil, err
}

func notLocal(rule, why string) *problem.Problem {
	return problem.New(problem.NotLocal, rule, "No agent is configured, so the gateway serves only calls from this machine, and this is not surely one: "+why+". The operator configures an agent with a key to serve others.")
}

// otherSite: "none" is the user's own doing, and programs send nothing.
func otherSite(values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return v != "same-origin" && v != "none" })
}

// refuseBrowsers keeps people from opening toolkit addresses: what a provider
// answers there must never run as a page of the gateway's origin.
func refuseBrowsers(r *http.Request) error {
	if r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		return problem.New(problem.BrowserRequest, "sec-fetch-mode", "This address is for agents. A browser cannot open it.")
	}
	return nil
}

func loopbackAddr(remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return false
	}
	host, _, _ = strings.Cut(host, "%")
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// LoopbackHost reports whether a Host header or a URL's host names this machine.
func LoopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
