// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package problem

import "net/http"

// status is the one place where a meaning gets its HTTP status and title.
//
// auth_required is 403: 401 asks for WWW-Authenticate and makes MCP and OAuth
// clients log in to the gateway itself, 407 loses the body in Node's fetch, and
// 409, 424, 428, 429 and 5xx are retried by common SDKs. The only 401s that are
// ours are about the agent's own proof.
var status = map[Code]struct {
	code  int
	title string
}{
	AuthRequired: {http.StatusForbidden, "Connection required"},

	BadRequest:       {http.StatusBadRequest, "Bad request"},
	DuplicateHeader:  {http.StatusBadRequest, "Header given twice"},
	Conflicting:      {http.StatusBadRequest, "Credentials disagree"},
	InvalidUser:      {http.StatusBadRequest, "Invalid user id"},
	UserRequired:     {http.StatusBadRequest, "User required"},
	InvalidPath:      {http.StatusBadRequest, "Invalid path"},
	ToolkitRequired:  {http.StatusBadRequest, "Toolkit required"},
	AmbiguousToolkit: {http.StatusBadRequest, "Ambiguous toolkit"},
	InvalidAccount:   {http.StatusBadRequest, "Invalid account"},
	UnknownAgent:     {http.StatusUnauthorized, "Unknown agent"},
	SessionInvalid:   {http.StatusUnauthorized, "Invalid session"},
	SessionExpired:   {http.StatusUnauthorized, "Session expired"},
	SessionRevoked:   {http.StatusUnauthorized, "Session revoked"},
	UserMismatch:     {http.StatusForbidden, "Not allowed to act for this user"},
	NotLocal:         {http.StatusForbidden, "Only calls from this machine"},
	BrowserRequest:   {http.StatusForbidden, "Not for browsers"},
	ToolkitForbidden: {http.StatusForbidden, "Toolkit not allowed"},
	NotPermitted:     {http.StatusForbidden, "Not permitted"},
	Inactive:         {http.StatusForbidden, "Connection switched off"},
	UnknownToolkit:   {http.StatusNotFound, "Unknown toolkit"},
	NotFound:         {http.StatusNotFound, "Not found"},
	SeveralAccounts:  {http.StatusConflict, "Several connections"},
	MethodRefused:    {http.StatusMethodNotAllowed, "Method not allowed"},
	TooManyLinks:     {http.StatusTooManyRequests, "Too many links"},

	RateLimited: {http.StatusTooManyRequests, "Too many calls"},
	CoolingDown: {http.StatusTooManyRequests, "Provider wants a pause"},
	CircuitOpen: {http.StatusServiceUnavailable, "Provider is failing"},

	ToolkitDraft:       {http.StatusServiceUnavailable, "Toolkit not set up"},
	StorageUnavailable: {http.StatusServiceUnavailable, "Storage unavailable"},
	KeyMissing:         {http.StatusServiceUnavailable, "Encryption key missing"},
	RefreshUnavailable: {http.StatusServiceUnavailable, "Token cannot be renewed right now"},
	TokenRenewed:       {http.StatusServiceUnavailable, "Token renewed, send again"},
	AuditUnavailable:   {http.StatusServiceUnavailable, "Audit log unavailable"},
	ShuttingDown:       {http.StatusServiceUnavailable, "Shutting down"},

	CredentialRejected:  {http.StatusBadGateway, "Operator's credential rejected"},
	UpstreamUnreachable: {http.StatusBadGateway, "Provider unreachable"},
	ResponseTooLarge:    {http.StatusBadGateway, "Answer too large"},
	UpstreamTimeout:     {http.StatusGatewayTimeout, "Provider timed out"},
	Internal:            {http.StatusInternalServerError, "Internal error"},
}

// HTTPStatus is the status that p is answered with.
func (p *Problem) HTTPStatus() int {
	if p.Status != 0 {
		return p.Status
	}
	if s, known := status[p.Code]; known {
		return s.code
	}
	return http.StatusInternalServerError
}

// Title is a short name of p's kind for a person.
func (p *Problem) Title() string { return status[p.Code].title }
