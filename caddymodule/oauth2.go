// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/toolkit"
)

// OAuth2 is the operator's client at the provider, and how the provider speaks OAuth
// where that is not as the standards have it. For what the catalogue knows, the client
// is enough.
type OAuth2 struct {
	// The client id that the provider gave, best as a placeholder.
	ClientID string `json:"client_id,omitempty"`

	// The client secret, as a placeholder.
	ClientSecret string `json:"client_secret,omitempty"`

	// The scopes to ask users for.
	Scopes []string `json:"scopes,omitempty"`

	// `false`: tokens are never renewed. The token endpoint is called when a user
	// connects and never again, neither ahead of a token's end nor after a 401; the
	// user then has to connect again. Default: true.
	AutoRefresh *bool `json:"auto_refresh,omitempty"`

	// How long before its end a token is renewed, at most half its life. Default: the
	// smaller of 5 minutes and a tenth to a fifth of its life or, where the access
	// token itself is exchanged for a new one, half its life.
	RefreshBuffer caddy.Duration `json:"refresh_buffer,omitempty"`

	// After how long a connection that nobody uses is renewed. Providers forget a
	// refresh token that is not used, some after 30 days or 90, and the user would
	// have to connect again: choose two thirds of that. Renewals are spread over the
	// last fifth of this time, one per second at most. Access that nobody uses stays
	// alive with it. Default: never.
	RefreshUnused caddy.Duration `json:"refresh_unused,omitempty"`

	// How long access tokens live, where the provider does not say or says nothing
	// sensible. It counts only for tokens that can be renewed. Default: such a token
	// is used until the provider refuses it.
	TokenLifetime caddy.Duration `json:"token_lifetime,omitempty"`

	// The authorization server's issuer. It is compared with the `iss` that comes
	// back (RFC 9207), where the provider sends one.
	Issuer string `json:"issuer,omitempty"`

	// Where users sign in and consent. Default: the catalogue's.
	AuthorizeURL string `json:"authorize_url,omitempty"`

	// Where codes and refresh tokens are exchanged. Default: the catalogue's.
	TokenURL string `json:"token_url,omitempty"`

	// Where tokens are renewed, if not at `token_url`. Default: the catalogue's.
	RefreshURL string `json:"refresh_url,omitempty"`

	// Where tokens are revoked (RFC 7009). Default: the catalogue's or none.
	RevokeURL string `json:"revoke_url,omitempty"`

	// How they are revoked: `token` (RFC 7009), `json` (the same as JSON, such as
	// Intuit's), `delete` (DELETE with the access token as JSON, such as GitHub's),
	// `bearer` (POST with the access token as for a call, such as Slack's) or `itself`
	// (DELETE with it, such as Zendesk's). Default: the catalogue's, or `token`.
	RevokeStyle string `json:"revoke_style,omitempty"`

	// How the client proves itself at the token endpoint: `basic`, `body` or, for
	// a client without a secret, `none`. Default: the catalogue's, or `basic`.
	AuthStyle string `json:"auth_style,omitempty"`

	// How token requests are written: `form` or `json`. Default: the catalogue's, or
	// `form`.
	BodyFormat string `json:"body_format,omitempty"`

	// The name of the parameter `client_id`, in the authorize URL and in token
	// requests, where the provider has another. Default: the catalogue's.
	ClientIDParam string `json:"client_id_param,omitempty"`

	// What joins scopes in requests. Default: the catalogue's, or a space.
	ScopeSeparator string `json:"scope_separator,omitempty"`

	// The authorize parameter that asks for the scopes, such as Slack's `user_scope`.
	// Default: the catalogue's, or `scope`.
	ScopeParam string `json:"scope_param,omitempty"`

	// `false`: no PKCE, for a provider that refuses requests with it. Default: the
	// catalogue's, or true.
	PKCE *bool `json:"pkce,omitempty"`

	// Parameters to add to the authorize URL, such as `access_type offline`. They
	// cannot replace the protocol's own.
	AuthorizeParams map[string]string `json:"authorize_params,omitempty"`

	// Parameters to add when a code is exchanged.
	TokenParams map[string]string `json:"token_params,omitempty"`

	// Parameters to add when a token is renewed.
	RefreshParams map[string]string `json:"refresh_params,omitempty"`

	// Headers to send with token requests, such as a required API version.
	TokenHeaders map[string]string `json:"token_headers,omitempty"`

	// Where in the token answer's JSON the token stands, such as `authed_user`; dots
	// go deeper. Default: the catalogue's, or at the top and, if there is none, in
	// `authed_user` or `data`.
	TokenPath string `json:"token_path,omitempty"`

	// A parameter of the callback that has to hold, in hex, the HMAC-SHA256 of all others,
	// sorted, keyed with `client_secret`, such as Shopify's `hmac`. A callback without it
	// ends the sign-in before its code is exchanged. Default: the catalogue's or none.
	CallbackHMAC string `json:"callback_hmac,omitempty"`

	// Parameters that a callback has to bring once, and what each has to be. Variables that
	// users say may stand there in braces, such as Shopify's `shop`, which is
	// `{shop}.myshopify.com`. A callback with another value ends the sign-in before its
	// code is exchanged.
	CallbackClaims map[string]string `json:"callback_claims,omitempty"`

	// The method of a refresh: `POST`, or `GET` with the parameters in the address.
	// Default: the catalogue's, or `POST`.
	RefreshMethod string `json:"refresh_method,omitempty"`

	// The `grant_type` of a refresh, such as `fb_exchange_token`. Default: the
	// catalogue's, or `refresh_token`.
	RefreshGrantType string `json:"refresh_grant_type,omitempty"`

	// The parameter of a refresh that holds the token. Default: the catalogue's, or
	// `refresh_token`.
	RefreshTokenParam string `json:"refresh_token_param,omitempty"`

	// What is sent to get a new access token: `refresh_token`, or `access_token` for a
	// provider that has no refresh tokens and exchanges the access token itself. It
	// is then never tried once the token's time has passed. Default: the
	// catalogue's, or `refresh_token`.
	RefreshWith string `json:"refresh_with,omitempty"`

	// The `grant_type` with which the first token, which lives for an hour, is exchanged
	// for one that lives long, right after the user has connected, such as Instagram's
	// `ig_exchange_token`. The token goes into the parameter `refresh_token_param`.
	// Default: the catalogue's, or there is no such step.
	LongLivedGrantType string `json:"long_lived_grant_type,omitempty"`

	// Where that is done. Default: the catalogue's, or where tokens are renewed.
	LongLivedURL string `json:"long_lived_url,omitempty"`

	// Send the scopes on a refresh too, as some of Microsoft's tokens need it: those
	// that were granted, of the ones above. Default: the catalogue's, or false.
	RefreshScope *bool `json:"refresh_scope,omitempty"`

	// Further error codes of the provider's with which, on a refresh, a connection
	// ends and the user has to connect again. They add to the catalogue's.
	ReconnectErrors []string `json:"reconnect_errors,omitempty"`

	// Further error codes of the token endpoint's that pass by themselves. They add to
	// the catalogue's.
	RetryErrors []string `json:"retry_errors,omitempty"`

	// How the API says, in another way than by 401, that a token is no good: the
	// status of such an answer, a field of its JSON, and the values that it has then,
	// such as 200, `error`, and `token_expired`. The token is renewed then as after a
	// 401. Answers of that status wait until 16 KiB of their JSON have come, or all
	// of it; others go through as they come. Default: the catalogue's.
	RefusedWhen *toolkit.Sign `json:"refused_when,omitempty"`

	// How the API says, in another way than 403 with `error="insufficient_scope"` in
	// WWW-Authenticate, that a call needs a scope which the user has not granted: the status
	// of such an answer, a field of its JSON and the value that it has then, the field that
	// names the scopes, and maybe the one with those that were granted, such as 200, `error`,
	// `missing_scope`, `needed` and `provided`. The agent then gets a link for what is
	// missing. Answers of that status wait as for `refused_when`. Default: the catalogue's.
	ScopeMissingWhen *toolkit.ScopeSign `json:"scope_missing_when,omitempty"`

	// The header that the token goes into on calls, if not `Authorization`, such as
	// Shopify's `X-Shopify-Access-Token`. Default: the catalogue's.
	Header string `json:"header,omitempty"`

	// What stands before the token, with its space, such as `Zoho-oauthtoken `.
	// Default: the catalogue's, or `Bearer ` in Authorization and nothing elsewhere.
	Prefix *string `json:"prefix,omitempty"`
}

// parse reads the block:
//
//	oauth2 {
//		issuer                <url>
//		authorize_url         <url>
//		token_url             <url>
//		refresh_url           <url>
//		revoke_url            <url>
//		revoke_style          token | json | delete | bearer | itself
//		client_id             <text>
//		client_secret         <placeholder>
//		client_id_param       <name>
//		auth_style            basic | body | none
//		body_format           form | json
//		scopes                <scope>...
//		scope_separator       <text>
//		scope_param           <name>
//		pkce                  on | off
//		authorize_param       <name> <value>
//		token_param           <name> <value>
//		token_header          <name> <value>
//		token_path            <path>
//		token_lifetime        <duration>
//		auto_refresh          on | off
//		refresh_buffer        <duration>
//		refresh_unused        <duration>
//		callback_hmac         <parameter>
//		callback_claim        <parameter> <text>
//		refresh_param         <name> <value>
//		refresh_scope         on | off
//		refresh_method        POST | GET
//		refresh_grant_type    <text>
//		refresh_token_param   <name>
//		refresh_with          refresh_token | access_token
//		long_lived_grant_type <text>
//		long_lived_url        <url>
//		reconnect_errors      <code>...
//		retry_errors          <code>...
//		refused_when          <status> <field> <value>...
//		scope_missing_when    <status> <field> <value> <needed> [<provided>]
//		header                <name>
//		prefix                <text>
//	}
func (o *OAuth2) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return errUsage
	}
	return parseBlock(d, "oauth2", options{
		"issuer":                {"issuer <url>", text(&o.Issuer)},
		"authorize_url":         {"authorize_url <url>", text(&o.AuthorizeURL)},
		"token_url":             {"token_url <url>", text(&o.TokenURL)},
		"refresh_url":           {"refresh_url <url>", text(&o.RefreshURL)},
		"revoke_url":            {"revoke_url <url>", text(&o.RevokeURL)},
		"revoke_style":          {"revoke_style token, json, delete, bearer or itself", oneOf(&o.RevokeStyle, "token", "json", "delete", "bearer", "itself")},
		"client_id":             {"client_id {env.NAME}", text(&o.ClientID)},
		"client_secret":         {"client_secret {env.NAME}", placeholder(&o.ClientSecret)},
		"client_id_param":       {"client_id_param <name>, such as client_id_param client_key", text(&o.ClientIDParam)},
		"auth_style":            {"auth_style basic, body or none", oneOf(&o.AuthStyle, "basic", "body", "none")},
		"body_format":           {"body_format form or body_format json", oneOf(&o.BodyFormat, "form", "json")},
		"scopes":                {"scopes <scope>...", texts(&o.Scopes)},
		"scope_separator":       {"scope_separator <text>", text(&o.ScopeSeparator)},
		"scope_param":           {"scope_param <name>, such as scope_param user_scope", text(&o.ScopeParam)},
		"pkce":                  {"pkce on or pkce off", onOff(&o.PKCE)},
		"authorize_param*":      {"authorize_param <name> <value>", pair(&o.AuthorizeParams)},
		"token_param*":          {"token_param <name> <value>", pair(&o.TokenParams)},
		"token_header*":         {"token_header <name> <value>", pair(&o.TokenHeaders)},
		"token_path":            {"token_path <path>, such as token_path authed_user", text(&o.TokenPath)},
		"token_lifetime":        {"token_lifetime <duration>, such as token_lifetime 12h", duration(&o.TokenLifetime)},
		"auto_refresh":          {"auto_refresh on or auto_refresh off", onOff(&o.AutoRefresh)},
		"refresh_buffer":        {"refresh_buffer <duration>, such as refresh_buffer 5m", duration(&o.RefreshBuffer)},
		"refresh_unused":        {"refresh_unused <duration>, such as refresh_unused 20d", duration(&o.RefreshUnused)},
		"callback_hmac":         {"callback_hmac <parameter>, such as callback_hmac hmac", text(&o.CallbackHMAC)},
		"callback_claim*":       {"callback_claim <parameter> <text>, such as callback_claim shop {shop}.example.com", pair(&o.CallbackClaims)},
		"refresh_param*":        {"refresh_param <name> <value>", pair(&o.RefreshParams)},
		"refresh_scope":         {"refresh_scope on or refresh_scope off", onOff(&o.RefreshScope)},
		"refresh_method":        {"refresh_method POST or refresh_method GET", oneOf(&o.RefreshMethod, "POST", "GET")},
		"refresh_grant_type":    {"refresh_grant_type <text>, such as refresh_grant_type fb_exchange_token", text(&o.RefreshGrantType)},
		"refresh_token_param":   {"refresh_token_param <name>, such as refresh_token_param fb_exchange_token", text(&o.RefreshTokenParam)},
		"refresh_with":          {"refresh_with refresh_token or refresh_with access_token", oneOf(&o.RefreshWith, "refresh_token", "access_token")},
		"long_lived_grant_type": {"long_lived_grant_type <text>, such as long_lived_grant_type ig_exchange_token", text(&o.LongLivedGrantType)},
		"long_lived_url":        {"long_lived_url <url>", text(&o.LongLivedURL)},
		"reconnect_errors":      {"reconnect_errors <code>..., such as reconnect_errors unauthorized_client", texts(&o.ReconnectErrors)},
		"retry_errors":          {"retry_errors <code>...", texts(&o.RetryErrors)},
		"refused_when":          {"refused_when <status> <field> <value>..., such as refused_when 200 error token_expired", sign(&o.RefusedWhen)},
		"scope_missing_when":    {"scope_missing_when <status> <field> <value> <field with the scopes> [<field with those granted>], such as scope_missing_when 200 error missing_scope needed provided", scopeSign(&o.ScopeMissingWhen)},
		"header":                {"header <name>, such as header X-Shopify-Access-Token", text(&o.Header)},
		"prefix":                {`prefix <text>, such as prefix "Zoho-oauthtoken "`, optionalText(&o.Prefix)},
	})
}

func (o *OAuth2) define(d *toolkit.Definition, s *settings) {
	d.Auth.Kind, d.Auth.Header, d.Auth.Prefix, d.Auth.Refused = toolkit.OAuth, o.Header, o.Prefix, o.RefusedWhen
	d.Auth.ScopeMissing = o.ScopeMissingWhen
	d.OAuth = toolkit.OAuthDefinition{
		Issuer: s.address("issuer", o.Issuer), AuthorizeURL: s.address("authorize_url", o.AuthorizeURL), TokenURL: s.address("token_url", o.TokenURL),
		RefreshURL: s.address("refresh_url", o.RefreshURL), RevokeURL: s.address("revoke_url", o.RevokeURL), RevokeStyle: toolkit.RevokeStyle(o.RevokeStyle),
		ClientID: s.plain("client_id", o.ClientID), ClientSecret: s.secret("client_secret", o.ClientSecret), ClientIDParam: o.ClientIDParam,
		AuthStyle: toolkit.AuthStyle(o.AuthStyle), BodyFormat: toolkit.BodyFormat(o.BodyFormat),
		Scopes: o.Scopes, ScopeSeparator: o.ScopeSeparator, ScopeParam: o.ScopeParam, PKCE: o.PKCE,
		AuthorizeParams: o.AuthorizeParams, TokenParams: o.TokenParams, RefreshParams: o.RefreshParams,
		TokenHeaders: s.plainEach("token_header", o.TokenHeaders), TokenPath: o.TokenPath,
		RefreshMethod: o.RefreshMethod, RefreshGrantType: o.RefreshGrantType, RefreshTokenParam: o.RefreshTokenParam,
		RefreshWith: toolkit.Payment(o.RefreshWith), RefreshScope: o.RefreshScope,
		LongLivedGrantType: o.LongLivedGrantType, LongLivedURL: s.address("long_lived_url", o.LongLivedURL),
		CallbackHMAC: o.CallbackHMAC, CallbackClaims: o.CallbackClaims,
		ReconnectErrors: o.ReconnectErrors, RetryErrors: o.RetryErrors,
		AutoRefresh: o.AutoRefresh, RefreshBuffer: toolkit.Duration(time.Duration(o.RefreshBuffer)), RefreshUnused: toolkit.Duration(time.Duration(o.RefreshUnused)),
		TokenLifetime: toolkit.Duration(time.Duration(o.TokenLifetime)),
	}
}
