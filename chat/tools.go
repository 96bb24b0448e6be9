// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
)

// toolset are the tools that a caller has: what it could only be refused is not shown.
type toolset uint8

const (
	linking toolset = 1 << iota // get_authentication_link
	looking                     // list_connections, wait_for_connection
	leaving                     // disconnect
	calling                     // http_request
)

// The names, as models know them from elsewhere.
const (
	toolLink       = "get_authentication_link"
	toolList       = "list_connections"
	toolWait       = "wait_for_connection"
	toolDisconnect = "disconnect"
	toolRequest    = "http_request"
)

func (s *Service) toolsFor(who caller.Caller) (all toolset) {
	if s.cfg.Agents.Has(who, caller.Connect) && len(s.perUser(who)) > 0 {
		all |= looking
		if who.Session == nil || !who.Session.NoLinks { // who gave that out has a page of its own
			all |= linking
			if s.cfg.Disconnect {
				all |= leaving
			}
		}
	}
	if s.cfg.Calls != nil && s.cfg.Agents.Has(who, caller.Call) && len(s.known(who)) > 0 {
		all |= calling
	}
	return all
}

// known are the toolkits that the caller may use, in order.
func (s *Service) known(who caller.Caller) (ids []string) {
	for id, tk := range s.cfg.Toolkits {
		if !tk.Draft() && s.cfg.Agents.May(who, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// perUser are those of them that its user connects.
func (s *Service) perUser(who caller.Caller) []string {
	return slices.DeleteFunc(s.known(who), func(id string) bool { return !s.cfg.Toolkits[id].Auth.PerUser })
}

// serverFor gives the tools of a request's caller. Which those are differs by caller alone,
// so a few servers are enough for all.
func (s *Service) serverFor(r *http.Request) *mcp.Server {
	v := visitOf(r.Context())
	if v == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers[v.tools] == nil {
		s.servers[v.tools] = s.newServer(v.tools)
	}
	return s.servers[v.tools]
}

func (s *Service) newServer(tools toolset) *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "toolgate", Title: "Toolgate", Version: version()}, &mcp.ServerOptions{
		Instructions: s.instructions(tools),
		// Or else it says that it logs, and tells of changed lists, which takes a stream.
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
		// Which tools there are depends on who asks, and on a configuration that may be another
		// one a moment later. The SDK's own word for it is "public".
		SetCacheable: func(_ context.Context, _ mcp.Request, c *mcp.Cacheable) { c.CacheScope, c.TTLMs = "private", 0 },
	})
	server.AddReceivingMiddleware(oursAlone)
	if tools&linking != 0 {
		add(s, server, toolLink, linkTool, s.getLink)
	}
	if tools&looking != 0 {
		add(s, server, toolList, listTool, s.list)
		add(s, server, toolWait, waitTool, s.wait)
	}
	if tools&leaving != 0 {
		add(s, server, toolDisconnect, disconnectTool, s.disconnect)
	}
	if tools&calling != 0 {
		add(s, server, toolRequest, requestTool, s.request)
	}
	return server
}

// version is that of the module, where the build knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func (s *Service) instructions(tools toolset) string {
	var say []string
	if tools&linking != 0 {
		say = append(say, "Users connect their accounts by a link. When a tool or an API says that authentication is needed, call "+s.name(toolLink)+" and show its connect_url to the user as a link; do not open it yourself, and never ask for passwords or keys in the chat.")
	}
	if tools&looking != 0 {
		say = append(say, "After the user has got a link, "+s.name(toolWait)+" returns when the account is connected.")
	}
	if tools&calling != 0 {
		say = append(say, s.name(toolRequest)+" calls the API of a toolkit with the user's own access; send no credentials.")
	}
	return strings.Join(say, " ")
}

func (s *Service) name(tool string) string { return s.cfg.ToolPrefix + tool }

// ours are the methods that there are. The SDK answers further ones that this server does
// not say it has, with nothing in them, and one of those holds its connection open.
func ours(method string) bool {
	switch method {
	case "initialize", "ping", "server/discover", "tools/list", "tools/call":
		return true
	}
	return strings.HasPrefix(method, "notifications/")
}

func oursAlone(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		if !ours(method) {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: "there is no such method here"}
		}
		return next(ctx, method, req)
	}
}

// maxCalls is how many tools one request may call: in the oldest revision of the protocol,
// a request may hold many.
const maxCalls = 16

// call is one call of a tool.
type call struct {
	*visit
	ctx  context.Context // ends when the client hangs up
	tool string
	ask  *mcp.CallToolRequest
	back comeback
	// about is the toolkit that the call is about, for the log.
	about string
}

// spec is what a model is told of a tool.
type spec struct {
	title, description string
	in, out            string // JSON Schemas
	hints              hints
}

// hints are a tool's word about itself, for clients that ask before some calls.
type hints struct{ readOnly, destructive, idempotent, openWorld bool }

// annotations say all of them: what is left out means the worst.
func (h hints) annotations(title string) *mcp.ToolAnnotations {
	return &mcp.ToolAnnotations{Title: title, ReadOnlyHint: h.readOnly, IdempotentHint: h.idempotent, DestructiveHint: new(h.destructive), OpenWorldHint: new(h.openWorld)}
}

// outcome is what a tool gives: a body that fits its output schema, or, in place of it, a
// question to the user.
type outcome struct {
	body   any
	result string // for the log
	asks   *mcp.CallToolResult
}

// add adds a tool. Its schemas are written out: those that are made from Go types say
// ["null", "array"], which some models' APIs do not take.
func add[In any](s *Service, server *mcp.Server, name string, is spec, do func(*call, In) (outcome, error)) {
	tool := &mcp.Tool{
		Name: s.name(name), Title: is.title, Description: strings.ReplaceAll(is.description, "{prefix}", s.cfg.ToolPrefix),
		InputSchema: json.RawMessage(is.in), OutputSchema: json.RawMessage(is.out), Annotations: is.hints.annotations(is.title),
	}
	mcp.AddTool(server, tool, func(ctx context.Context, req *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		v := visitOf(ctx)
		// The request's own context: over the older revisions, the SDK's does not end when the
		// client hangs up.
		c := &call{visit: v, ctx: v.r.Context(), tool: name, ask: req}
		return s.run(c, func() (outcome, error) { return do(c, in) })
	})
}

// run makes a result of whatever a tool does. A panic ends the tool: the SDK calls it on a
// goroutine of its own, where nobody would stop it from ending the process.
func (s *Service) run(c *call, do func() (outcome, error)) (res *mcp.CallToolResult, _ any, err error) {
	began := s.cfg.Now()
	e := Event{RequestID: c.id, Caller: c.who, Tool: c.tool}
	defer func() {
		if p := recover(); p != nil {
			wrong := problem.Of(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			res, err = refusal(c, wrong), nil
			e.Result, e.Code, e.Err = "refused", wrong.Code, wrong.Unwrap()
		}
		e.Toolkit, e.Took = c.about, s.cfg.Now().Sub(began)
		s.cfg.Report(e)
	}()
	if c.calls.Add(1) > maxCalls {
		err = problem.New(problem.BadRequest, "batch", fmt.Sprintf("One request may call %d tools.", maxCalls))
	}
	var o outcome
	if err == nil {
		o, err = do()
	}
	e.Result = o.result
	switch wire, ok := errors.AsType[*jsonrpc.Error](err); {
	case ok:
		e.Result = "refused"
		return nil, nil, wire
	case c.ctx.Err() != nil:
		e.Result = "gone"
		return nil, nil, c.ctx.Err() // to nobody
	case err != nil:
		p := problem.Of(err)
		e.Result, e.Code, e.Err = "refused", p.Code, p.Unwrap()
		return refusal(c, p), nil, nil
	case o.asks != nil:
		e.Result = "asked"
		return o.asks, nil, nil
	}
	return result(o.body), o.body, nil
}

// result has the body in a text as well, for clients and models that read no other. Links
// stay as they are in it: & has to be &.
func result(body any) *mcp.CallToolResult {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // cannot fail for what our tools give
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: strings.TrimSpace(text.String())}}}
}

// refusal is what a model is told of a call that was not done. It is a tool's error, which
// models see, and not one of the protocol, which clients keep to themselves.
func refusal(c *call, p *problem.Problem) *mcp.CallToolResult {
	text := p.Detail
	for i, choice := range p.Choices {
		lead := "; "
		if i == 0 {
			text, lead = text+" Name one with the argument account: ", ""
		}
		text += lead + choice.ID
		if choice.Label != "" {
			text += " (" + choice.Label + ")"
		}
	}
	text = fmt.Sprintf("%s\n(code: %s, request_id: %s)", text, p.Code, c.id)
	return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}
