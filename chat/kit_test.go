// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/chat"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	public   = "https://connect.example.com"
	endpoint = public + "/mcp"
	modern   = "2026-07-28"
	legacy   = "2025-11-25"
)

// world is everything around the endpoint: agents that are believed, and connections that
// are what the test says.
type world struct {
	t       testing.TB
	cfg     chat.Config
	service *chat.Service

	rights  []caller.Right // of every agent
	session *caller.Session
	may     func(toolkitID string) bool

	mu        sync.Mutex
	standings map[string]chat.Standing // by user/toolkit
	err       error                    // of Connections
	looks     int
	links     []chat.Ask
	gone      []string
	watchers  map[chan struct{}]bool
	events    []chat.Event
}

func newWorld(t testing.TB, changes ...func(*chat.Config)) *world {
	t.Helper()
	ring, err := seal.ParseRing(strings.Repeat("0123456789abcdef", seal.KeySize/8))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, rights: []caller.Right{caller.Call, caller.Connect}, standings: map[string]chat.Standing{}, watchers: map[chan struct{}]bool{}}
	u, _ := url.Parse(public)
	w.cfg = chat.Config{
		PublicURL: u, Path: "/mcp", Agents: w, Connections: w, Changes: w, Seal: ring, ManageURL: public + "/connections",
		Report: w.report,
		Toolkits: map[string]*toolkit.Toolkit{
			"acme":    {ID: "acme", Name: "Acme", Auth: toolkit.Auth{PerUser: true}},
			"beta":    {ID: "beta", Name: "Beta", Auth: toolkit.Auth{PerUser: true}},
			"weather": {ID: "weather", Name: "Weather"},
			"draft":   {ID: "draft", Name: "Draft", Auth: toolkit.Auth{PerUser: true}, Missing: []string{"client_id"}},
		},
	}
	for _, change := range changes {
		change(&w.cfg)
	}
	w.service = chat.New(w.cfg)
	return w
}

func (w *world) report(e chat.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// Caller implements chat.Agents: it believes the headers.
func (w *world) Caller(r *http.Request) (caller.Caller, error) {
	if r.Header.Get("X-Toolgate-Key") == "" {
		p := problem.New(problem.UnknownAgent, "agent_key", "The gateway does not know this agent.")
		p.Challenge = `Bearer realm="toolgate"`
		return caller.Caller{}, p
	}
	return caller.Caller{Tenant: "default", Agent: r.Header.Get("X-Toolgate-Key"), User: r.Header.Get("X-User-Id"), Session: w.session}, nil
}

// Has implements chat.Agents.
func (w *world) Has(_ caller.Caller, right caller.Right) bool {
	return slices.Contains(w.rights, right)
}

// May implements chat.Agents.
func (w *world) May(who caller.Caller, id string) bool {
	return (w.may == nil || w.may(id)) && who.Session.May(id)
}

// Callback implements chat.Agents.
func (w *world) Callback(r *http.Request, _ caller.Caller) (string, error) {
	return r.Header.Get("X-Toolgate-Callback"), nil
}

// Standing implements chat.Connections.
func (w *world) Standing(_ context.Context, who caller.Caller, id, account string) (chat.Standing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	tk := w.cfg.Toolkits[id]
	switch {
	case w.err != nil:
		return chat.Standing{}, w.err
	case tk == nil:
		return chat.Standing{}, problem.New(problem.UnknownToolkit, "toolkit", "There is no such toolkit here.")
	case !w.May(who, id):
		return chat.Standing{}, problem.New(problem.ToolkitForbidden, "toolkits", "The agent may not use "+tk.Name+".")
	case id == "panic":
		panic("a defect")
	}
	st, there := w.standings[who.User+"/"+id]
	if !there {
		st = chat.Standing{Status: connection.NotConnected, Reason: connection.NoConnection}
	}
	st.Toolkit = problem.Toolkit{ID: id, Name: tk.Name}
	return st, nil
}

// Link implements chat.Connections.
func (w *world) Link(_ context.Context, who caller.Caller, ask chat.Ask) (chat.Link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links = append(w.links, ask)
	return chat.Link{URL: public + "/connect/c_" + who.User, ExpiresAt: time.Now().Add(15 * time.Minute)}, nil
}

// Disconnect implements chat.Connections.
func (w *world) Disconnect(_ context.Context, _ string, who caller.Caller, id, account string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return "", w.err
	}
	w.gone = append(w.gone, who.User+"/"+id+"/"+account)
	return "Acme is disconnected.", nil
}

// Watch implements chat.Changes.
func (w *world) Watch(_, user string) (<-chan struct{}, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := make(chan struct{}, 1)
	w.watchers[changed] = true
	return changed, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watchers, changed)
	}
}

// stands makes a user's connection stand so. told: whoever waits hears of it.
func (w *world) stands(place string, st chat.Standing, told bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.standings[place] = st
	for changed := range w.watchers {
		if told {
			changed <- struct{}{}
		}
	}
}

func active() chat.Standing {
	return chat.Standing{Status: connection.Active, ID: "conn_A", Account: "alice@acme.example", UpdatedAt: time.Now()}
}

func (w *world) looked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.looks
}

// door lets a client of net/http's in, without a network.
type door struct {
	w      *world
	header map[string]string
}

// RoundTrip implements http.RoundTripper.
func (d door) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.Host, in.RemoteAddr = r.URL.Host, "192.0.2.1:1234"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	for name, value := range d.header {
		in.Header.Set(name, value)
	}
	if !d.w.service.Handles(in) {
		return nil, io.ErrUnexpectedEOF
	}
	rec := httptest.NewRecorder()
	d.w.service.ServeHTTP(rec, in)
	return rec.Result(), r.Context().Err()
}

// client is an SDK client of one era for one user. ask is its user; nil: it says nothing of
// elicitation.
func (w *world) client(t *testing.T, era, user string, ask func(*mcp.ElicitParams) string) *mcp.ClientSession {
	t.Helper()
	options := &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}}
	if ask != nil {
		options.Capabilities.Elicitation = &mcp.ElicitationCapabilities{URL: &mcp.URLElicitationCapabilities{}}
		options.ElicitationHandler = func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: ask(r.Params)}, nil
		}
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, options)
	session, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: endpoint, MaxRetries: -1, DisableStandaloneSSE: true,
		HTTPClient: &http.Client{Transport: door{w, map[string]string{"X-Toolgate-Key": "bot", "X-User-Id": user}}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: era})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// answer is what any of the tools gives.
type answer struct {
	Status, Message string
	ConnectURL      string `json:"connect_url"`
	ExpiresAt       string `json:"expires_at"`
	Unauthenticated []string
	Toolkit, Reason string
	Connections     []struct {
		Toolkit, Name, Status, Reason, Account, ID string
		ConnectURL                                 string `json:"connect_url"`
	}
	HTTPStatus int `json:"http_status"`
	Headers    map[string]string
	MIMEType   string `json:"mime_type"`
	Body       string
	BodyBase64 string `json:"body_base64"`
	Truncated  bool
	LeftOut    []string `json:"headers_left_out"`

	refused string // the text of an error
}

// use calls a tool, and holds what it gives to the schema that it has published.
func use(t *testing.T, s *mcp.ClientSession, tool string, arguments any) (a answer) {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	if len(res.Content) != 1 {
		t.Fatalf("%s: %d contents", tool, len(res.Content))
	}
	text := res.Content[0].(*mcp.TextContent).Text
	if res.IsError {
		if res.StructuredContent != nil {
			t.Errorf("an error has a result: %v", res.StructuredContent)
		}
		return answer{refused: text}
	}
	conforms(t, s, tool, res.StructuredContent)
	structured, _ := json.Marshal(res.StructuredContent)
	var one, other any
	_ = json.Unmarshal(structured, &one)
	if err := json.Unmarshal([]byte(text), &other); err != nil {
		t.Errorf("the text is no JSON: %s", text)
	}
	if a, b := encoded(one), encoded(other); a != b {
		t.Errorf("the text says something else:\n%s\n%s", a, b)
	}
	if err := json.Unmarshal(structured, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func encoded(v any) string { text, _ := json.Marshal(v); return string(text) }

func conforms(t *testing.T, s *mcp.ClientSession, tool string, body any) {
	t.Helper()
	list, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list.Tools, func(x *mcp.Tool) bool { return x.Name == tool })
	if i < 0 {
		t.Fatalf("there is no %s", tool)
	}
	var schema jsonschema.Schema
	text, _ := json.Marshal(list.Tools[i].OutputSchema)
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := resolved.Validate(body); err != nil {
		t.Errorf("%s: %v\n%s", tool, err, encoded(body))
	}
	// And nothing that the schema does not tell of.
	if object, ok := body.(map[string]any); ok {
		for name := range object {
			if schema.Properties[name] == nil {
				t.Errorf("%s gives %q, which its schema does not have", tool, name)
			}
		}
	}
}

func toolNames(t *testing.T, s *mcp.ClientSession) string {
	t.Helper()
	list, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return strings.Join(names, " ")
}

// post sends a message by hand.
func (w *world) post(body string, header ...string) *http.Response {
	w.t.Helper()
	r := httptest.NewRequest("POST", endpoint, bytes.NewReader([]byte(body)))
	for _, h := range [][2]string{{"Content-Type", "application/json"}, {"Accept", "application/json, text/event-stream"}, {"X-Toolgate-Key", "bot"}, {"X-User-Id", "alice"}, {"Mcp-Protocol-Version", legacy}} {
		r.Header.Set(h[0], h[1])
	}
	for i := 0; i < len(header); i += 2 {
		if r.Header.Del(header[i]); header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	rec := httptest.NewRecorder()
	w.service.ServeHTTP(rec, r)
	return rec.Result()
}

func bodyOf(res *http.Response) string { text, _ := io.ReadAll(res.Body); return string(text) }

// message is a call of a tool in the newest revision, with what its client can.
func message(tool, arguments, capabilities, more string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + arguments + more +
		`,"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":` + capabilities + `}}}`
}

func (w *world) postModern(tool, arguments, capabilities, more string, header ...string) string {
	w.t.Helper()
	header = append([]string{"Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", tool}, header...)
	return bodyOf(w.post(message(tool, arguments, capabilities, more), header...))
}
