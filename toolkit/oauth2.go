// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/secret"
)

// OAuth2 is a client that is registered with a provider, and the provider's dialect of
// the protocol. The zero value of each field is what the standards say.
type OAuth2 struct {
	// Toolkit is the id of the one that it is of.
	Toolkit string
	// Issuer is compared with the callback's iss (RFC 9207). "": not known.
	Issuer       string
	AuthorizeURL string
	TokenURL     string
	RefreshURL   string // where tokens are renewed; "": TokenURL
	RevokeURL    string // "": the provider has none
	RevokeStyle  RevokeStyle

	// AuthStyle is how the client proves itself at the token endpoint.
	AuthStyle    AuthStyle
	ClientID     string
	ClientSecret secret.String
	// ClientIDParam is the name of the client_id parameter, such as TikTok's client_key.
	ClientIDParam string

	Scopes []string
	// ScopeSeparator joins scopes in requests; a space unless set.
	ScopeSeparator string
	// ScopeParam is the authorize parameter that asks for scopes, such as Slack's
	// user_scope.
	ScopeParam string
	// NoPKCE is for the few providers that refuse a request with PKCE in it.
	NoPKCE bool

	// The parameters to add to the authorize URL, to the exchange of a code, and to
	// a refresh. None can replace one of the protocol's own.
	AuthorizeParams, TokenParams, RefreshParams map[string]string
	// BodyFormat is how token requests are written.
	BodyFormat BodyFormat
	// TokenHeaders are sent with token requests, such as a required API version.
	TokenHeaders map[string]string
	// TokenPath is where in the answer the token stands, such as authed_user; dots
	// go deeper. "": at the top or, if not there, in authed_user or data.
	TokenPath string

	// CallbackHMAC is the callback's parameter that has to hold, in hex, the HMAC-SHA256 of
	// all others, keyed with the client's secret, such as Shopify's hmac. "": none.
	CallbackHMAC string
	// CallbackClaims are further parameters of a callback, and what each has to be.
	CallbackClaims map[string]string

	// Reply are the toolkit's variables whose values a token answer names.
	Reply map[string]Variable

	// RefreshMethod is POST unless set; a GET has its parameters in the address.
	RefreshMethod string
	// RefreshGrantType is refresh_token unless set.
	RefreshGrantType string
	// RefreshTokenParam is the name of the parameter that holds the token; it is
	// refresh_token unless set.
	RefreshTokenParam string
	// RefreshWith is the token that is sent to get a new one.
	RefreshWith Payment
	// LongLivedGrantType exchanges the first token, which lives for an hour, for one
	// that lives long, right after the exchange of the code, such as Instagram's
	// ig_exchange_token. "": there is no such step.
	LongLivedGrantType string
	LongLivedURL       string // where that is done; "": as a refresh
	// RefreshScope: the scopes are sent on a refresh too.
	RefreshScope bool

	// ReconnectErrors are further error codes that end a grant on a refresh, and
	// RetryErrors such as pass. Of an error that is an object, the code counts as
	// well as the type.
	ReconnectErrors, RetryErrors []string

	// TokenLifetime is how long an access token lives where the provider does not say.
	TokenLifetime time.Duration
	// RefreshBuffer is how long before the end of its life a token is renewed.
	// Zero: the smaller of 5 minutes and a share of the lifetime.
	RefreshBuffer time.Duration
	// RefreshUnused is after how long a connection that nobody uses is renewed, so that
	// the provider does not forget its refresh token. Zero: never.
	RefreshUnused time.Duration
	// NoRefresh: tokens are never renewed.
	NoRefresh bool
}

// AuthStyle is how an OAuth client proves itself (RFC 6749 §2.3.1). It is always
// explicit: trying one style after the other sends a code or a refresh token
// twice, and providers that detect reuse then end the grant.
type AuthStyle string

// The styles.
const (
	StyleBasic AuthStyle = "basic" // HTTP Basic, id and secret form-encoded first
	StyleBody  AuthStyle = "body"  // client_id and client_secret among the parameters
	StyleNone  AuthStyle = "none"  // a public client: client_id alone, no secret
)

// BodyFormat is how a token request's parameters are written.
type BodyFormat string

// The formats.
const (
	FormatForm BodyFormat = "form" // as RFC 6749 has it, also where nothing is said
	FormatJSON BodyFormat = "json" // one JSON object
)

// Payment is the token that is given for a new one.
type Payment string

// The payments.
const (
	WithRefreshToken Payment = "refresh_token" // also where nothing is said
	// WithAccessToken: there is no refresh token, and an access token is exchanged
	// for one that lives longer. One whose time has passed buys nothing any more.
	WithAccessToken Payment = "access_token"
)

// TokenEndpoints are the addresses that tokens and the client's secret are sent to.
func (o *OAuth2) TokenEndpoints() []string {
	all := []string{o.TokenURL, o.RefreshURL, o.LongLivedURL, o.RevokeURL}
	return slices.DeleteFunc(all, func(address string) bool { return address == "" })
}

// RevokeStyle is how a provider is told that a grant is taken back.
type RevokeStyle string

// The styles.
const (
	RevokeToken  RevokeStyle = "token"  // RFC 7009, also where nothing is said
	RevokeDelete RevokeStyle = "delete" // DELETE with the access token as JSON, in the client's name, such as GitHub's
	RevokeBearer RevokeStyle = "bearer" // POST with the access token as for a call, such as Slack's
	RevokeJSON   RevokeStyle = "json"   // RFC 7009's parameters as JSON, where token requests are forms, such as Intuit's
	RevokeItself RevokeStyle = "itself" // DELETE with the access token as for a call, which ends by it, such as Zendesk's
)

// Grantor names who grants: the issuer or, where none is known, the token endpoint.
func (o *OAuth2) Grantor() string { return cmp.Or(o.Issuer, o.TokenURL) }

// RenewWith gives the token to send for a new access token. dead: the access token's
// time has passed, or it was refused. Zero: there is no way but to connect again.
func (o *OAuth2) RenewWith(access, refresh secret.String, dead bool) secret.String {
	switch {
	case o.NoRefresh, o.RefreshWith == WithAccessToken && dead:
		return secret.String{}
	case o.RefreshWith == WithAccessToken:
		return access
	}
	return refresh
}

// Within is o asking for no more than what was granted: a scope that the operator
// added since then would have the refresh refused (RFC 6749 §6). Nor does it ask for
// less: what a user has granted beyond that, when a call needed it, would be lost again.
func (o *OAuth2) Within(granted []string) *OAuth2 {
	missing, beyond := o.MissingScopes(granted), LostScopes(granted, o.Scopes)
	if len(missing) == 0 && len(beyond) == 0 {
		return o
	}
	within := *o
	within.Scopes = slices.DeleteFunc(slices.Clone(o.Scopes), func(s string) bool { return slices.Contains(missing, s) })
	within.Scopes = append(within.Scopes, beyond...)
	return &within
}

// Asking is o asking for just these scopes, where there are any.
func (o *OAuth2) Asking(scopes []string) *OAuth2 {
	if len(scopes) == 0 {
		return o
	}
	asking := *o
	asking.Scopes = scopes
	return &asking
}

// MissingScopes are those that are asked for and were not granted. Nobody is told of a
// scope that providers leave out of their answers or give another name.
func (o *OAuth2) MissingScopes(granted []string) []string { return LostScopes(o.Scopes, granted) }

// LostScopes are those in before that after lacks. Nothing at all in after means that
// the provider did not say.
func LostScopes(before, after []string) []string {
	if len(after) == 0 {
		return nil
	}
	var lost []string
	for _, scope := range before {
		same := func(other string) bool { return sameScope(scope, other) }
		if !slices.Contains(aboutTokens, scope) && !slices.ContainsFunc(after, same) {
			lost = append(lost, scope)
		}
	}
	return lost
}

// aboutTokens are OpenID Connect's scopes: they ask for tokens and for names. Microsoft
// leaves offline_access out of its answers, and Google gives email and profile
// addresses for names.
var aboutTokens = []string{"openid", "profile", "email", "offline_access"}

// sameScope also knows a scope by its full address, https://graph.microsoft.com/Mail.Read.
func sameScope(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return a == b || strings.HasSuffix(a, "/"+b) || strings.HasSuffix(b, "/"+a)
}

// refreshMethods are the possible ones.
var refreshMethods = []string{"", http.MethodPost, http.MethodGet}
