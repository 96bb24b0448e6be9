// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package problem holds the refusals: errors that carry what an agent, and the
// person behind it, can do about them. One table turns them into HTTP.
package problem

import (
	"errors"
	"time"
)

// Code names a refusal. Agents branch on it, so a code that was released never
// changes its meaning.
type Code string

// The codes. The table in status.go gives each its HTTP status and title.
const (
	AuthRequired Code = "auth_required" // the user has to connect

	BadRequest       Code = "bad_request"
	DuplicateHeader  Code = "duplicate_header"
	Conflicting      Code = "conflicting_credentials"
	InvalidUser      Code = "invalid_user"
	UserRequired     Code = "user_required"
	InvalidPath      Code = "invalid_path"
	ToolkitRequired  Code = "toolkit_required"
	AmbiguousToolkit Code = "ambiguous_toolkit"
	InvalidAccount   Code = "invalid_account"
	SeveralAccounts  Code = "multiple_connections" // the agent has to choose one
	UnknownAgent     Code = "unknown_agent"
	SessionInvalid   Code = "session_invalid" // cut, changed, or another gateway's
	SessionExpired   Code = "session_expired"
	SessionRevoked   Code = "session_revoked"
	UserMismatch     Code = "user_mismatch"
	NotLocal         Code = "not_local"
	BrowserRequest   Code = "browser_request"
	ToolkitForbidden Code = "toolkit_not_allowed"
	NotPermitted     Code = "not_permitted" // the operator's rules do not allow it
	RateLimited      Code = "rate_limited"
	CoolingDown      Code = "cooling_down" // the provider wants no calls for a while
	CircuitOpen      Code = "circuit_open" // the provider is ill
	Inactive         Code = "connection_inactive"
	UnknownToolkit   Code = "unknown_toolkit"
	NotFound         Code = "not_found"
	MethodRefused    Code = "method_not_allowed"
	TooManyLinks     Code = "too_many_links"

	ToolkitDraft       Code = "toolkit_draft"
	StorageUnavailable Code = "storage_unavailable"
	KeyMissing         Code = "key_missing"
	RefreshUnavailable Code = "refresh_unavailable"
	TokenRenewed       Code = "token_renewed"
	AuditUnavailable   Code = "audit_unavailable"
	ShuttingDown       Code = "shutting_down"

	CredentialRejected  Code = "credential_rejected"
	UpstreamUnreachable Code = "upstream_unreachable"
	UpstreamTimeout     Code = "upstream_timeout"
	ResponseTooLarge    Code = "response_too_large"
	Internal            Code = "internal"
)

// Toolkit names a toolkit to a person and to a program.
type Toolkit struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Connection says how the user's connection stands.
type Connection struct {
	Status        string   `json:"status"`
	Reason        string   `json:"reason"`
	ScopesMissing []string `json:"scopes_missing"`
	// Account is what the agent named; "" where it named none.
	Account string `json:"account,omitempty"`
}

// Choice is one of several connections that the agent may have meant.
type Choice struct {
	ID     string `json:"id"`
	Label  string `json:"label,omitempty"`
	Status string `json:"status"`
}

// Problem is a refusal. It is an error, so that the depths can return one and
// whoever stands on top can render it; its text goes to the agent and never
// quotes a cause, which may hold a secret.
type Problem struct {
	Code Code
	// Step is the step of the request's way that decided, Rule the rule in it.
	Step, Rule string
	// Detail is one or two sentences for the agent: what is wrong, what to do.
	Detail string

	Toolkit    *Toolkit
	User       string
	Connection *Connection
	Choices    []Choice
	ConnectURL string
	ExpiresAt  time.Time // of ConnectURL
	StatusURL  string

	// RetryAfter is sent where the same request can succeed later by itself.
	RetryAfter time.Duration
	// RateLimit and RateLimitPolicy are the values of these headers on a 429 (IETF
	// draft-ietf-httpapi-ratelimit-headers).
	RateLimit, RateLimitPolicy string
	// Status overrides the table's. Zero: the table's.
	Status int
	// Challenge is the value of WWW-Authenticate on a 401.
	Challenge string
	// Allow is the value of Allow on a 405.
	Allow string

	cause error
}

// New makes a refusal.
func New(code Code, rule, detail string) *Problem {
	return &Problem{Code: code, Rule: rule, Detail: detail}
}

// Because records the cause. It is for the operator's log only.
func (p *Problem) Because(err error) *Problem {
	p.cause = err
	return p
}

// Error implements error; it is for logs.
func (p *Problem) Error() string {
	if p.cause != nil {
		return string(p.Code) + ": " + p.cause.Error()
	}
	return string(p.Code) + ": " + p.Detail
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.cause }

// Of finds the problem in err and gives a copy: one refresh that failed is the
// error of every call that waited for it, and each fills in its own step. An error
// that nobody made a problem of becomes Internal, and its text stays behind.
func Of(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		own := *p
		return &own
	}
	return New(Internal, "unexpected", "Something went wrong inside the gateway. The operator finds it in the log by the request id.").Because(err)
}
