// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const link = "https://gw.example.com/connect/c_Zk3?a=1&b=2"

func authRequired() *Problem {
	p := New(AuthRequired, "no_connection", "GitHub is not connected for this user. Open "+link+" to connect, then try again.")
	p.Step, p.User = "authorize", "user_123"
	p.Toolkit = &Toolkit{ID: "github", Name: "GitHub"}
	p.Connection = &Connection{Status: "not_connected", Reason: "no_connection"}
	p.ConnectURL, p.StatusURL = link, "https://gw.example.com/v1/connections/github"
	p.ExpiresAt = time.Date(2026, 11, 20, 7, 30, 0, 999, time.FixedZone("CET", 3600))
	return p
}

func write(t *testing.T, p *Problem, accept string) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	p.Write(w, accept, "req_1")
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if got := w.Header().Get("Content-Length"); got != strconv.Itoa(w.Body.Len()) {
		t.Errorf("Content-Length %s of %d", got, w.Body.Len())
	}
	return w, body
}

func TestAuthRequiredHasTheShapeThatAgentsRead(t *testing.T) {
	p := authRequired()
	w, body := write(t, p, "*/*")
	want := map[string]any{
		"type": "urn:toolgate:problem:auth-required", "title": "Connection required", "status": 403.0,
		"detail": p.Detail, "code": "auth_required", "message": p.Detail,
		"error":       map[string]any{"type": "auth_required", "code": "auth_required", "message": p.Detail},
		"toolkit":     map[string]any{"id": "github", "name": "GitHub"},
		"user":        "user_123",
		"connection":  map[string]any{"status": "not_connected", "reason": "no_connection", "scopes_missing": []any{}},
		"connect_url": link, "expires_at": "2026-11-20T06:30:00Z", "status_url": p.StatusURL,
		"retry":        map[string]any{"when": "connected", "same_request": true, "poll_after_seconds": 5.0},
		"instructions": connectInstructions, "request_id": "req_1", "step": "authorize", "rule": "no_connection",
	}
	if !reflect.DeepEqual(body, want) {
		t.Errorf("got  %v\nwant %v", body, want)
	}
	if first := regexp.MustCompile(`https?://[^\s"]+`).FindString(w.Body.String()); first != link {
		t.Errorf("the first link is %s: people and models take that one", first)
	}
	if p.Connection.ScopesMissing != nil {
		t.Error("the problem was changed by writing it")
	}
}

func TestAuthRequiredIsNeverRetriedByItself(t *testing.T) {
	p := authRequired()
	p.RetryAfter = time.Minute // by mistake
	w, _ := write(t, p, "")
	if got := w.Header().Get("Retry-After"); got != "" {
		t.Errorf("Retry-After %s makes SDKs send again", got)
	}
	for _, name := range []string{"X-Should-Retry", "Stripe-Should-Retry"} {
		if got := w.Header().Get(name); got != "false" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := w.Header().Get("Proxy-Status"); got != `toolgate; error=http_request_denied; details="auth_required"` {
		t.Errorf("Proxy-Status: %s", got)
	}
	if w.Code != 403 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{time.Nanosecond, "1"}, {time.Second, "1"}, {1001 * time.Millisecond, "2"}, {time.Minute, "60"}, {0, ""}, {-time.Second, ""},
	} {
		p := New(RefreshUnavailable, "refresh", "x")
		p.RetryAfter = c.after
		w, body := write(t, p, "")
		if got := w.Header().Get("Retry-After"); got != c.want || w.Code != 503 {
			t.Errorf("%v: Retry-After %q, %d", c.after, got, w.Code)
		}
		retry := body["retry"].(map[string]any)
		if c.want == "" {
			if retry["when"] != "never" || w.Header().Get("X-Should-Retry") != "false" {
				t.Errorf("%v: %v", c.after, retry)
			}
		} else if retry["when"] != "later" || fmt.Sprint(retry["after_seconds"]) != c.want || w.Header().Get("X-Should-Retry") != "" {
			t.Errorf("%v: %v, %v", c.after, retry, w.Header())
		}
	}
}

func TestProblemJSONGoesToWhoAsksForItByName(t *testing.T) {
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/json": "application/json", "text/event-stream, application/*": "application/json",
		"application/problem+json": "application/problem+json", "application/json, Application/Problem+JSON;q=0.9": "application/problem+json",
	} {
		if w, _ := write(t, authRequired(), accept); w.Header().Get("Content-Type") != want {
			t.Errorf("%q: %s", accept, w.Header().Get("Content-Type"))
		}
	}
}

func TestABareProblemHasNoEmptyFields(t *testing.T) {
	_, body := write(t, New(BadRequest, "", "No."), "")
	for _, name := range []string{"toolkit", "user", "connection", "connect_url", "expires_at", "status_url", "instructions", "step", "rule"} {
		if value, there := body[name]; there {
			t.Errorf("%s: %v", name, value)
		}
	}
	p := New(AuthRequired, "", "x")
	p.ConnectURL = link
	if _, body := write(t, p, ""); body["expires_at"] != nil {
		t.Errorf("expires_at %v of a link that does not say", body["expires_at"])
	}
}

func TestChallengeAllowAndStatusAreTaken(t *testing.T) {
	p := New(UnknownAgent, "", "x")
	p.Challenge, p.Allow, p.Status = `Bearer realm="toolgate"`, "GET", 418
	w, body := write(t, p, "")
	if w.Code != 418 || body["status"] != 418.0 || w.Header().Get("WWW-Authenticate") != p.Challenge || w.Header().Get("Allow") != "GET" {
		t.Errorf("%d %v %v", w.Code, w.Header(), body["status"])
	}
}

func TestInternalNeverShowsItsCause(t *testing.T) {
	for _, err := range []error{errors.New("hunter2"), New(Internal, "x", "Something.").Because(errors.New("hunter2"))} {
		p := Of(fmt.Errorf("doing: %w", err))
		w, _ := write(t, p, "")
		if strings.Contains(w.Body.String()+fmt.Sprint(w.Header()), "hunter2") || w.Code != 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if !strings.Contains(p.Error(), "hunter2") {
			t.Errorf("the operator's log does not say why: %v", p)
		}
	}
}

func TestWhoGetsAProblemMayFillItIn(t *testing.T) {
	shared := authRequired() // the error of fifty calls that waited for one refresh
	for i := range 2 {
		p := Of(fmt.Errorf("wrapped: %w", shared))
		p.Step, p.Status = fmt.Sprint("step", i), 400+i
	}
	if shared.Step != "authorize" || shared.Status != 0 {
		t.Errorf("%q, %d", shared.Step, shared.Status)
	}
}

// codes are the constants of type Code, from the source: a list would be forgotten.
func codes(t *testing.T) map[string]Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Code{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all[spec.Names[0].Name] = Code(text)
		}
		return true
	})
	return all
}

func TestEveryCodeHasAStatusAndATitle(t *testing.T) {
	all := codes(t)
	if len(all) < 25 {
		t.Fatalf("found %d codes only", len(all))
	}
	seen := map[Code]string{}
	for name, code := range all {
		entry, known := status[code]
		if !known || entry.code < 400 || entry.code > 599 || entry.title == "" {
			t.Errorf("%s: %+v", name, entry)
		}
		if !regexp.MustCompile(`^[a-z_]+$`).MatchString(string(code)) {
			t.Errorf("%s: %q goes into headers and names", name, code)
		}
		if other, taken := seen[code]; taken {
			t.Errorf("%s and %s are both %q", name, other, code)
		}
		seen[code] = name
		// 401 is about the agent's own proof; 407 loses its body in Node's fetch.
		ours := []Code{UnknownAgent, SessionInvalid, SessionExpired, SessionRevoked}
		if entry.code == 401 && !slices.Contains(ours, code) || slices.Contains([]int{407, 424, 425, 428}, entry.code) {
			t.Errorf("%s: %d", name, entry.code)
		}
	}
	for code := range status {
		if _, known := seen[code]; !known {
			t.Errorf("%q has a status and no name", code)
		}
	}
	if p := New("made_up", "", "x"); p.HTTPStatus() != 500 {
		t.Errorf("an unknown code is %d", p.HTTPStatus())
	}
}
