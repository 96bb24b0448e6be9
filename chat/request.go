// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/problem"
)

// What a model may send, and what it is given: in bytes, and the time that a call may take.
const (
	maxRequestBody   = 1 << 20
	maxResponseBody  = 1 << 20
	maxHeaderBytes   = 16 << 10
	callLimit        = 50 * time.Second
	maxRequestTarget = 16 << 10
)

type requestInput struct {
	Toolkit string            `json:"toolkit"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Query   map[string]string `json:"query"`
	Headers map[string]string `json:"headers"`
	Body    *string           `json:"body"`
	Account string            `json:"account"`
}

type requestOutput struct {
	Status     string            `json:"status"`
	Message    string            `json:"message,omitempty"`
	ConnectURL string            `json:"connect_url,omitempty"`
	ExpiresAt  *time.Time        `json:"expires_at,omitempty"`
	HTTPStatus int               `json:"http_status,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	MIMEType   string            `json:"mime_type,omitempty"`
	Body       string            `json:"body,omitempty"`
	BodyBase64 string            `json:"body_base64,omitempty"`
	Truncated  bool              `json:"truncated,omitempty"`
	LeftOut    []string          `json:"headers_left_out,omitempty"`
}

// request is the tool that calls toolkits. The call goes the way of every other one, with
// its rules and its audit line, and as the caller of this very request.
func (s *Service) request(c *call, in requestInput) (outcome, error) {
	c.about = in.Toolkit
	if s.cfg.Toolkits[in.Toolkit] == nil {
		return outcome{}, problem.New(problem.UnknownToolkit, "toolkit", "There is no such toolkit here. There are: "+strings.Join(s.known(c.who), ", ")+".")
	}
	back, err := s.comeBack(c)
	if err != nil {
		return outcome{}, err
	}
	if back.accepted {
		if err := s.await(c, maxWait, func() (bool, error) {
			st, err := s.standing(c, in.Toolkit, in.Account)
			return st.Status == connection.Active && (!back.stood || st.UpdatedAt.After(back.since)), err
		}); err != nil {
			return outcome{}, err
		}
	}
	out, refused, err := s.send(c, in)
	switch {
	case err != nil:
		return outcome{}, err
	case refused == nil:
		return outcome{body: out, result: "called"}, nil
	case refused.Code != problem.AuthRequired:
		return outcome{}, refused
	}
	if refused.ConnectURL != "" {
		link := Link{URL: refused.ConnectURL, ExpiresAt: refused.ExpiresAt}
		st := Standing{Toolkit: *refused.Toolkit}
		if now, err := s.standing(c, in.Toolkit, in.Account); err == nil {
			st = now // it may be there already, and lack a scope
		}
		if asks := s.elicit(c, link, []Standing{st}); asks != nil {
			return outcome{asks: asks}, nil
		}
		out.ConnectURL, out.ExpiresAt = link.URL, &link.ExpiresAt
	}
	out.Status, out.Message = authNeeded, refused.Detail
	if out.ConnectURL != "" {
		out.Message += " Show the link to the user and do not open it yourself."
	}
	return outcome{body: out, result: out.Status}, nil
}

// send makes the call. refused is a refusal of the gateway's own.
func (s *Service) send(c *call, in requestInput) (out requestOutput, refused *problem.Problem, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, callLimit)
	defer cancel()
	r, leftOut, err := s.inner(ctx, c, in)
	if err != nil {
		return out, nil, err
	}
	out.LeftOut = leftOut
	answer := newRecorder(maxResponseBody)
	broken := serve(s.cfg.Calls.To(in.Toolkit), answer, r)
	switch {
	case c.ctx.Err() != nil:
		return out, nil, c.ctx.Err()
	case ctx.Err() != nil && (answer.status == 0 || answer.sent.Get("Proxy-Status") == "" && answer.status == 499):
		return out, nil, problem.New(problem.UpstreamTimeout, "mcp", fmt.Sprintf("The toolkit has not answered in %d seconds. Whether it has done what was asked is not known.", int(callLimit.Seconds())))
	case answer.status == 0:
		return out, nil, problem.New(problem.Internal, "mcp", "There was no answer.")
	}
	if strings.HasPrefix(answer.sent.Get("Proxy-Status"), "toolgate;") { // the gateway drops a provider's
		return out, refusalIn(answer.body), nil
	}
	s.fill(&out, answer, answer.full || broken)
	switch {
	case answer.full:
		out.Truncated, out.Message = true, "The answer is longer than 1 MiB, and this is its beginning. Ask for less, such as one page."
	case ctx.Err() != nil:
		out.Truncated, out.Message = true, fmt.Sprintf("The answer had not ended after %d seconds, and this is its beginning.", int(callLimit.Seconds()))
	case broken:
		out.Truncated, out.Message = true, "The answer broke off."
	}
	return out, nil, nil
}

// serve reports whether the answer broke off: handlers say so by a panic, which net/http
// would catch.
func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (broken bool) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			broken = true
		} else if p != nil {
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

// identity are the headers that say who calls. They are those of the MCP request, which were
// proven, and never the model's.
var identity = [...]string{"X-Toolgate-Key", "Authorization", "X-Api-Key", "X-User-Id", "X-Toolgate-Callback"}

// inner is the request as an agent would have sent it to the toolkit's own site.
func (s *Service) inner(ctx context.Context, c *call, in requestInput) (*http.Request, []string, error) {
	target, err := targetOf(in)
	if err != nil {
		return nil, nil, err
	}
	h, leftOut, err := modelHeaders(in.Headers)
	if err != nil {
		return nil, nil, err
	}
	outer := c.r
	r := (&http.Request{
		Method: cmp.Or(in.Method, http.MethodGet), URL: target, Header: h, Host: outer.Host, RemoteAddr: outer.RemoteAddr, TLS: outer.TLS,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}).WithContext(ctx)
	if in.Body != nil {
		body := []byte(*in.Body)
		if len(body) > maxRequestBody {
			return nil, nil, badRequest("body", "The body is longer than 1 MiB.")
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if h["Content-Type"] == nil {
			h.Set("Content-Type", "text/plain; charset=utf-8")
			if json.Valid(body) {
				h.Set("Content-Type", "application/json")
			}
		}
	}
	if h["User-Agent"] == nil {
		h.Set("User-Agent", "toolgate-mcp") // some providers refuse calls without one
	}
	for _, name := range identity {
		if values := outer.Header[name]; values != nil {
			h[name] = slices.Clone(values)
		}
	}
	if in.Account != "" {
		h.Set("X-Account", in.Account)
	}
	return r, leftOut, nil
}

// targetOf is the path and query, as they go into a request line.
func targetOf(in requestInput) (*url.URL, error) {
	path, query, given := strings.Cut(in.Path, "?")
	var parts []string
	if given && query != "" {
		parts = append(parts, query)
	}
	if len(in.Query) > 0 {
		values := url.Values{}
		for name, value := range in.Query {
			values.Set(name, value)
		}
		parts = append(parts, values.Encode())
	}
	query = strings.Join(parts, "&")
	u, err := url.ParseRequestURI(path)
	switch {
	case len(path)+len(query) > maxRequestTarget:
		return nil, badRequest("path", "The path and the query are longer than 16 KiB together.")
	case err != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || u.Host != "" || strings.ContainsFunc(in.Path, notInTarget):
		return nil, badRequest("path", "The path has to be one of the API, such as /user/repos, without scheme and host. Escape spaces and other characters that are no part of a path, as %20 for a space.")
	}
	u.RawQuery = query
	return u, nil
}

// notInTarget are characters that would end the request line, or that no path has unescaped.
func notInTarget(r rune) bool { return r <= ' ' || r > '~' || r == '#' || r == '\\' }

// notTheModels reports whether a header is none that a model may set: those that say who
// calls, those of the connection, and those by which a page would be told from a program.
func notTheModels(name string) bool {
	switch name {
	case "Host", "Content-Length", "Expect", "Accept-Encoding", "Origin", "Referer":
		return true // encoded, an answer could not be read here
	}
	return credential.Withheld(name) || strings.HasPrefix(name, "Sec-") || strings.HasPrefix(name, "Proxy-")
}

func modelHeaders(given map[string]string) (h http.Header, leftOut []string, err error) {
	h = http.Header{}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := given[name]
		size += len(name) + len(value)
		switch canonical := http.CanonicalHeaderKey(name); {
		case !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value):
			return nil, nil, badRequest("headers", "A header's name or value has characters that cannot be in one.")
		case size > maxHeaderBytes:
			return nil, nil, badRequest("headers", "The headers are longer than 16 KiB.")
		case notTheModels(canonical):
			leftOut = append(leftOut, name)
		case h[canonical] != nil:
			return nil, nil, badRequest("headers", "The header "+canonical+" is given twice.")
		default:
			h.Set(canonical, value)
		}
	}
	return h, leftOut, nil
}

func badRequest(rule, detail string) *problem.Problem {
	return problem.New(problem.BadRequest, rule, detail)
}

// fill takes over a provider's answer.
func (s *Service) fill(out *requestOutput, answer *recorder, cut bool) {
	out.Status, out.HTTPStatus, out.Headers = "called", answer.status, s.headersOf(answer.sent)
	if out.MIMEType, _, _ = mime.ParseMediaType(answer.sent.Get("Content-Type")); out.MIMEType == "" && len(answer.body) > 0 {
		out.MIMEType, _, _ = mime.ParseMediaType(http.DetectContentType(answer.body))
	}
	text := answer.body
	for i := 1; cut && i < utf8.UTFMax && len(text) > 0 && !utf8.Valid(text); i++ {
		text = text[:len(text)-1] // it may be cut in the middle of a letter
	}
	switch {
	case len(answer.body) == 0:
	case answer.sent["Content-Encoding"] == nil && utf8.Valid(text) && !bytes.ContainsRune(text, 0):
		out.Body = string(text)
	default:
		out.BodyBase64 = base64.StdEncoding.EncodeToString(answer.body)
	}
}

// headersOf are an answer's headers. Addresses are given as this tool takes them: as the
// path alone.
func (s *Service) headersOf(h http.Header) map[string]string {
	all, size := map[string]string{}, 0
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if credential.HopByHop(name) || len(h[name]) == 0 {
			continue
		}
		value := strings.Join(h[name], ", ")
		switch base := strings.TrimRight(s.cfg.Calls.URL, "/"); name {
		case "Location", "Content-Location":
			if rest, ours := strings.CutPrefix(value, base+"/"); ours {
				value = "/" + rest
			}
		case "Link":
			value = strings.ReplaceAll(value, "<"+base+"/", "</")
		}
		if size += len(name) + len(value); size > maxHeaderBytes {
			break
		}
		all[name] = value
	}
	return all
}

// refusalIn reads a refusal of the gateway's own; see problem.Write.
func refusalIn(body []byte) *problem.Problem {
	var said struct {
		Code       problem.Code
		Detail     string
		Step, Rule string
		Toolkit    *problem.Toolkit
		Choices    []problem.Choice `json:"connections"`
		ConnectURL string           `json:"connect_url"`
		ExpiresAt  time.Time        `json:"expires_at"`
	}
	if json.Unmarshal(body, &said) != nil || said.Code == "" || said.Code == problem.AuthRequired && said.Toolkit == nil {
		return problem.New(problem.Internal, "mcp", "The gateway has refused the call.")
	}
	p := problem.New(said.Code, said.Rule, said.Detail)
	p.Step, p.Toolkit, p.Choices, p.ConnectURL, p.ExpiresAt = said.Step, said.Toolkit, said.Choices, said.ConnectURL, said.ExpiresAt
	return p
}
