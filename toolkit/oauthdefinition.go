// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/secret"
)

// OAuthDefinition is the provider's part of an OAuth client and, from the
// configuration, the operator's. The fields are explained at [OAuth2].
type OAuthDefinition struct {
	Issuer       string `json:"issuer,omitempty"`
	AuthorizeURL string `json:"authorize_url,omitempty"`
	TokenURL     string `json:"token_url,omitempty"`
	RefreshURL   string `json:"refresh_url,omitempty"`
	RevokeURL    string `json:"revoke_url,omitempty"` // {client_id} is put in

	RevokeStyle RevokeStyle `json:"revoke_style,omitempty"`

	AuthStyle     AuthStyle `json:"auth_style,omitempty"`
	ClientIDParam string    `json:"client_id_param,omitempty"`

	ScopeSeparator string `json:"scope_separator,omitempty"`
	ScopeParam     string `json:"scope_param,omitempty"`
	PKCE           *bool  `json:"pkce,omitempty"` // nil: on

	AuthorizeParams map[string]string `json:"authorize_params,omitempty"`
	TokenParams     map[string]string `json:"token_params,omitempty"`
	RefreshParams   map[string]string `json:"refresh_params,omitempty"`
	BodyFormat      BodyFormat        `json:"body_format,omitempty"`
	TokenHeaders    map[string]string `json:"token_headers,omitempty"`
	TokenPath       string            `json:"token_path,omitempty"`

	CallbackHMAC   string            `json:"callback_hmac,omitempty"`
	CallbackClaims map[string]string `json:"callback_claims,omitempty"`

	RefreshMethod     string  `json:"refresh_method,omitempty"`
	RefreshGrantType  string  `json:"refresh_grant_type,omitempty"`
	RefreshTokenParam string  `json:"refresh_token_param,omitempty"`
	RefreshWith       Payment `json:"refresh_with,omitempty"`
	RefreshScope      *bool   `json:"refresh_scope,omitempty"` // nil: off

	LongLivedGrantType string `json:"long_lived_grant_type,omitempty"`
	LongLivedURL       string `json:"long_lived_url,omitempty"`

	ReconnectErrors []string `json:"reconnect_errors,omitempty"`
	RetryErrors     []string `json:"retry_errors,omitempty"`

	TokenLifetime Duration `json:"token_lifetime,omitzero"`
	RefreshBuffer Duration `json:"refresh_buffer,omitzero"`
	RefreshUnused Duration `json:"refresh_unused,omitzero"`

	ClientID     string        `json:"-"`
	ClientSecret secret.String `json:"-"`
	Scopes       []string      `json:"-"`
	AutoRefresh  *bool         `json:"-"` // nil: on
}

// Duration is a time.Duration that is written as "90s" or "12h".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads, of more than nothing.
func (d *Duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	if err != nil || value <= 0 {
		return fmt.Errorf("%q is not a duration such as 90s or 12h", text)
	}
	*d = Duration(value)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (o OAuthDefinition) over(over OAuthDefinition) OAuthDefinition {
	over.Issuer = cmp.Or(over.Issuer, o.Issuer)
	over.AuthorizeURL = cmp.Or(over.AuthorizeURL, o.AuthorizeURL)
	if over.TokenURL == "" || over.TokenURL == o.TokenURL {
		// Else the tokens of the operator's own server would go to the catalogue's.
		over.RefreshURL = cmp.Or(over.RefreshURL, o.RefreshURL)
		over.LongLivedURL = cmp.Or(over.LongLivedURL, o.LongLivedURL)
	}
	over.TokenURL = cmp.Or(over.TokenURL, o.TokenURL)
	over.RevokeURL = cmp.Or(over.RevokeURL, o.RevokeURL)
	over.RevokeStyle = cmp.Or(over.RevokeStyle, o.RevokeStyle)
	over.AuthStyle = cmp.Or(over.AuthStyle, o.AuthStyle)
	over.ClientIDParam = cmp.Or(over.ClientIDParam, o.ClientIDParam)
	over.ScopeSeparator = cmp.Or(over.ScopeSeparator, o.ScopeSeparator)
	over.ScopeParam = cmp.Or(over.ScopeParam, o.ScopeParam)
	over.PKCE = cmp.Or(over.PKCE, o.PKCE)
	over.AuthorizeParams = merged(o.AuthorizeParams, over.AuthorizeParams)
	over.TokenParams = merged(o.TokenParams, over.TokenParams)
	over.RefreshParams = merged(o.RefreshParams, over.RefreshParams)
	over.BodyFormat = cmp.Or(over.BodyFormat, o.BodyFormat)
	over.TokenHeaders = merged(o.TokenHeaders, over.TokenHeaders)
	over.TokenPath = cmp.Or(over.TokenPath, o.TokenPath)
	over.CallbackHMAC = cmp.Or(over.CallbackHMAC, o.CallbackHMAC)
	over.CallbackClaims = merged(o.CallbackClaims, over.CallbackClaims)
	over.RefreshMethod = cmp.Or(over.RefreshMethod, o.RefreshMethod)
	over.RefreshGrantType = cmp.Or(over.RefreshGrantType, o.RefreshGrantType)
	over.RefreshTokenParam = cmp.Or(over.RefreshTokenParam, o.RefreshTokenParam)
	over.RefreshWith = cmp.Or(over.RefreshWith, o.RefreshWith)
	over.RefreshScope = cmp.Or(over.RefreshScope, o.RefreshScope)
	over.LongLivedGrantType = cmp.Or(over.LongLivedGrantType, o.LongLivedGrantType)
	over.ReconnectErrors = slices.Concat(o.ReconnectErrors, over.ReconnectErrors)
	over.RetryErrors = slices.Concat(o.RetryErrors, over.RetryErrors)
	over.TokenLifetime = cmp.Or(over.TokenLifetime, o.TokenLifetime)
	over.RefreshUnused = cmp.Or(over.RefreshUnused, o.RefreshUnused)
	over.RefreshBuffer = cmp.Or(over.RefreshBuffer, o.RefreshBuffer)
	over.AutoRefresh = cmp.Or(over.AutoRefresh, o.AutoRefresh)
	return over
}

func (d Definition) oauth(t *Toolkit) error {
	o := d.OAuth
	if err := o.check(t); err != nil {
		return err
	}
	t.OAuth = &OAuth2{
		Toolkit: t.ID, Issuer: o.Issuer, AuthorizeURL: o.AuthorizeURL, TokenURL: o.TokenURL, RefreshURL: o.RefreshURL,
		RevokeURL: strings.ReplaceAll(o.RevokeURL, "{client_id}", url.PathEscape(o.ClientID)), RevokeStyle: o.RevokeStyle,
		AuthStyle: cmp.Or(o.AuthStyle, StyleBasic), ClientID: o.ClientID, ClientSecret: o.ClientSecret, ClientIDParam: o.ClientIDParam,
		Scopes: o.Scopes, ScopeSeparator: cmp.Or(o.ScopeSeparator, " "), ScopeParam: o.ScopeParam, NoPKCE: o.PKCE != nil && !*o.PKCE,
		AuthorizeParams: o.AuthorizeParams, TokenParams: o.TokenParams, RefreshParams: o.RefreshParams,
		BodyFormat: o.BodyFormat, TokenHeaders: canonical(o.TokenHeaders), TokenPath: o.TokenPath,
		CallbackHMAC: o.CallbackHMAC, CallbackClaims: o.CallbackClaims,
		RefreshMethod: o.RefreshMethod, RefreshGrantType: o.RefreshGrantType, RefreshTokenParam: o.RefreshTokenParam,
		RefreshWith: o.RefreshWith, RefreshScope: o.RefreshScope != nil && *o.RefreshScope,
		LongLivedGrantType: o.LongLivedGrantType, LongLivedURL: o.LongLivedURL,
		ReconnectErrors: o.ReconnectErrors, RetryErrors: o.RetryErrors,
		TokenLifetime: time.Duration(o.TokenLifetime), RefreshBuffer: time.Duration(o.RefreshBuffer), RefreshUnused: time.Duration(o.RefreshUnused), NoRefresh: o.AutoRefresh != nil && !*o.AutoRefresh,
	}
	for _, text := range []*string{&t.OAuth.Issuer, &t.OAuth.AuthorizeURL, &t.OAuth.TokenURL, &t.OAuth.RefreshURL, &t.OAuth.LongLivedURL, &t.OAuth.RevokeURL} {
		*text = plainHost(*text)
	}
	t.require("client_secret", t.OAuth.AuthStyle == StyleNone || !o.ClientSecret.IsZero())
	t.require("client_id", o.ClientID != "")
	return nil
}

func (o OAuthDefinition) check(t *Toolkit) error {
	for _, e := range []struct {
		name, text string
		required   bool
	}{
		{"authorize_url", o.AuthorizeURL, true}, {"token_url", o.TokenURL, true},
		{"refresh_url", o.RefreshURL, false}, {"long_lived_url", o.LongLivedURL, false}, {"revoke_url", strings.ReplaceAll(o.RevokeURL, "{client_id}", "id"), false},
	} {
		if e.text == "" {
			if e.required {
				return fmt.Errorf("it needs %s in its oauth2 block", e.name)
			}
			continue
		}
		if err := t.checkEndpoint(e.name, e.text); err != nil {
			return err
		}
	}
	if strings.ContainsAny(o.Issuer, "{}") {
		if err := t.checkEndpoint("issuer", o.Issuer); err != nil {
			return err
		}
	}
	if err := t.checkCallback(o); err != nil {
		return err
	}
	switch {
	case !slices.Contains([]AuthStyle{"", StyleBasic, StyleBody, StyleNone}, o.AuthStyle):
		return fmt.Errorf("%q is not an auth_style: basic, body, none", o.AuthStyle)
	case !slices.Contains([]BodyFormat{"", FormatForm, FormatJSON}, o.BodyFormat):
		return fmt.Errorf("%q is not a body_format: form, json", o.BodyFormat)
	case !slices.Contains([]RevokeStyle{"", RevokeToken, RevokeJSON, RevokeDelete, RevokeBearer, RevokeItself}, o.RevokeStyle):
		return fmt.Errorf("%q is not a revoke_style: token, json, delete, bearer, itself", o.RevokeStyle)
	case !slices.Contains(refreshMethods, o.RefreshMethod):
		return fmt.Errorf("%q is not a refresh_method: POST, GET", o.RefreshMethod)
	case !slices.Contains([]Payment{"", WithRefreshToken, WithAccessToken}, o.RefreshWith):
		return fmt.Errorf("%q is not what to refresh_with: refresh_token, access_token", o.RefreshWith)
	case o.LongLivedURL != "" && o.LongLivedGrantType == "":
		return errors.New("long_lived_url needs long_lived_grant_type")
	case o.TokenPath != "" && slices.Contains(strings.Split(o.TokenPath, "."), ""):
		return fmt.Errorf("token_path %q: names with single dots between them, please", o.TokenPath)
	}
	return checkHeaderMap(o.TokenHeaders, append([]string{"Content-Type"}, ownHeaders...))
}
