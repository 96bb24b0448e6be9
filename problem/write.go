// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package problem

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// body is the answer's shape, the same for every refusal. It is a valid RFC 9457
// problem; error.message and message hold the sentence twice more, because each
// SDK shows another of them: OpenAI, Stripe and googleapis read error.message,
// Octokit and Anthropic the top-level message. type is a URN, so that the first
// http link in the body is connect_url: people and models take the first.
type body struct {
	Type       string      `json:"type"`
	Title      string      `json:"title"`
	Status     int         `json:"status"`
	Detail     string      `json:"detail"`
	Code       Code        `json:"code"`
	Message    string      `json:"message"`
	Error      errorBody   `json:"error"`
	Toolkit    *Toolkit    `json:"toolkit,omitempty"`
	User       string      `json:"user,omitempty"`
	Connection *Connection `json:"connection,omitempty"`
	Choices    []Choice    `json:"connections,omitempty"`

	ConnectURL   string     `json:"connect_url,omitempty"`
	ExpiresAt    *time.Time `json:"expires_at,omitempty"`
	StatusURL    string     `json:"status_url,omitempty"`
	Retry        *retryBody `json:"retry,omitempty"`
	Instructions string     `json:"instructions,omitempty"`

	RequestID string `json:"request_id"`
	Step      string `json:"step,omitempty"`
	Rule      string `json:"rule,omitempty"`
}

type errorBody struct {
	Type    Code   `json:"type"`
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

type retryBody struct {
	When             string `json:"when"` // connected, later or never
	SameRequest      bool   `json:"same_request"`
	PollAfterSeconds int    `json:"poll_after_seconds,omitempty"`
	AfterSeconds     int    `json:"after_seconds,omitempty"`
}

const connectInstructions = "Show connect_url to the user as a link. Do not open it yourself. " +
	"When the user says they are done, or status_url reports the status active, send the same request again once."

// Write answers the request with p. Only accept, the request's Accept header,
// decides the content type: Octokit and googleapis lose the body of
// application/problem+json, so it goes to who asks for it by name.
func (p *Problem) Write(w http.ResponseWriter, accept, requestID string) {
	h := w.Header()
	h.Set("Content-Type", contentType(accept))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Proxy-Status", "toolgate; error="+p.proxyError()+"; details=\""+string(p.Code)+"\"")
	if p.comesBack() {
		h.Set("Retry-After", strconv.Itoa(p.retrySeconds()))
	} else {
		// OpenAI's, Anthropic's and Stripe's clients obey these.
		h.Set("X-Should-Retry", "false")
		h.Set("Stripe-Should-Retry", "false")
	}
	if p.RateLimit != "" {
		h.Set("RateLimit", p.RateLimit)
		h.Set("RateLimit-Policy", p.RateLimitPolicy)
	}
	if p.Challenge != "" {
		h.Set("WWW-Authenticate", p.Challenge)
	}
	if p.Allow != "" {
		h.Set("Allow", p.Allow)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)          // a model copies links from the text: & has to be &
	_ = enc.Encode(p.body(requestID)) // cannot fail: strings, numbers and one time in UTC
	h.Set("Content-Length", strconv.Itoa(text.Len()))
	w.WriteHeader(p.HTTPStatus())
	_, _ = w.Write(text.Bytes())
}

// comesBack reports whether the same request can succeed later by itself. That is
// never so where a person has to act: Retry-After would make SDKs send again.
func (p *Problem) comesBack() bool { return p.RetryAfter > 0 && p.Code != AuthRequired }

func (p *Problem) body(requestID string) body {
	b := body{
		Type: "urn:toolgate:problem:" + strings.ReplaceAll(string(p.Code), "_", "-"), Title: p.Title(), Status: p.HTTPStatus(),
		Detail: p.Detail, Code: p.Code, Message: p.Detail,
		Error:   errorBody{p.Code, p.Code, p.Detail},
		Toolkit: p.Toolkit, User: p.User, Connection: p.Connection, Choices: p.Choices,
		ConnectURL: p.ConnectURL, StatusURL: p.StatusURL, Retry: p.retry(),
		RequestID: requestID, Step: p.Step, Rule: p.Rule,
	}
	if p.ConnectURL != "" {
		b.Instructions = connectInstructions
		if !p.ExpiresAt.IsZero() {
			at := p.ExpiresAt.UTC().Truncate(time.Second)
			b.ExpiresAt = &at
		}
	}
	if p.Connection != nil && p.Connection.ScopesMissing == nil {
		own := *p.Connection
		own.ScopesMissing = []string{} // a list, not null
		b.Connection = &own
	}
	return b
}

func (p *Problem) retry() *retryBody {
	switch {
	case p.Code == AuthRequired:
		return &retryBody{When: "connected", SameRequest: true, PollAfterSeconds: 5}
	case p.comesBack():
		return &retryBody{When: "later", SameRequest: true, AfterSeconds: p.retrySeconds()}
	default:
		return &retryBody{When: "never"}
	}
}

// retrySeconds rounds up: a client that comes a moment early is refused again.
func (p *Problem) retrySeconds() int { return int(math.Ceil(p.RetryAfter.Seconds())) }

// proxyError is the RFC 9209 §2.3 type that fits.
func (p *Problem) proxyError() string {
	switch p.Code {
	case UpstreamUnreachable:
		return "destination_unavailable"
	case CircuitOpen:
		return "destination_unavailable"
	case UpstreamTimeout:
		return "http_response_timeout"
	case Internal, StorageUnavailable, KeyMissing, AuditUnavailable, ShuttingDown:
		return "proxy_internal_error"
	default:
		return "http_request_denied"
	}
}

func contentType(accept string) string {
	if strings.Contains(strings.ToLower(accept), "application/problem+json") {
		return "application/problem+json"
	}
	return "application/json"
}
