// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package signin tells who sits at a browser: by signing in with an OpenID provider, or
// by the token of a site where people are signed in already.
package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/secret"
)

// OIDC is a sign-in with an OpenID provider (OpenID Connect Core 1.0, authorization code
// with PKCE). It implements [connect.SignIn]. Nothing is asked of the provider before
// the first person comes.
type OIDC struct {
	Issuer       *url.URL
	ClientID     string
	ClientSecret secret.String // zero: a public client
	Scopes       []string      // besides openid
	Claims       Claims
	// Transport carries the requests. Nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	mu       sync.Mutex
	provider *provider
	fault    error     // of the last discovery
	until    time.Time // when it is tried again
}

// provider is what discovery found.
type provider struct {
	*oidc.Provider
	style oauth2.AuthStyle
}

// requestLimit bounds each request to the provider: a person waits.
const requestLimit = 15 * time.Second

// Place implements [connect.SignIn].
func (o *OIDC) Place() *url.URL { return o.Issuer }

// Begin implements [connect.SignIn].
func (o *OIDC) Begin(ctx context.Context, t *connect.Trip) (string, error) {
	p, err := o.discover(ctx)
	if err != nil {
		return "", err
	}
	t.Nonce, t.Verifier = oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	return o.client(p, t).AuthCodeURL(t.State, oidc.Nonce(t.Nonce), oauth2.S256ChallengeOption(t.Verifier)), nil
}

// Finish implements [connect.SignIn].
func (o *OIDC) Finish(ctx context.Context, query url.Values, t connect.Trip) (string, error) {
	p, err := o.discover(ctx)
	if err != nil {
		return "", err
	}
	switch iss := query["iss"]; {
	case len(iss) > 1 || len(iss) == 1 && iss[0] != o.Issuer.String(): // RFC 9207
		return "", fmt.Errorf("%w: another issuer answered", connect.ErrNotRecognised)
	case query.Get("error") == "server_error" || query.Get("error") == "temporarily_unavailable":
		return "", errors.New("the OpenID provider has a problem")
	case query.Has("error") || len(query["code"]) != 1:
		return "", fmt.Errorf("%w: the provider gave no code", connect.ErrNotRecognised)
	}
	ctx, cancel := context.WithTimeout(o.context(ctx), requestLimit)
	defer cancel()
	tokens, err := o.client(p, &t).Exchange(ctx, query.Get("code"), oauth2.VerifierOption(t.Verifier))
	if err != nil {
		return "", exchangeError(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	token, err := p.VerifierContext(ctx, &oidc.Config{ClientID: o.ClientID, SupportedSigningAlgs: algorithms, Now: o.Now}).Verify(ctx, raw)
	if err != nil {
		return "", fmt.Errorf("the id_token: %w", err)
	}
	return o.recognise(token, t.Nonce)
}

// recognise checks what go-oidc leaves to its user.
func (o *OIDC) recognise(token *oidc.IDToken, nonce string) (string, error) {
	claims, err := exactly(token, o.now())
	if err != nil {
		return "", err
	}
	azp, given := claims["azp"]
	switch {
	case nonce == "" || token.Nonce != nonce:
		return "", fmt.Errorf("%w: the id_token is of another sign-in", connect.ErrNotRecognised)
	case given && azp != o.ClientID || !given && len(token.Audience) > 1: // Core §3.1.3.7
		return "", fmt.Errorf("%w: the id_token was made for another client", connect.ErrNotRecognised)
	}
	return o.Claims.user(claims)
}

// exchangeError leaves out what the provider wrote: it may quote the code.
func exchangeError(err error) error {
	if no, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return fmt.Errorf("the OpenID provider's token endpoint answered %d %s", no.Response.StatusCode, plain(no.ErrorCode))
	}
	return errors.New("the OpenID provider's token endpoint cannot be reached")
}

// plain is code if it looks like one.
func plain(code string) string {
	for _, c := range code {
		if c != '_' && (c < 'a' || c > 'z') {
			return ""
		}
	}
	return code[:min(len(code), 64)]
}

func (o *OIDC) client(p *provider, t *connect.Trip) *oauth2.Config {
	endpoint := p.Endpoint()
	endpoint.AuthStyle = p.style
	return &oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(), Endpoint: endpoint, RedirectURL: t.Back,
		Scopes: append([]string{oidc.ScopeOpenID}, o.Scopes...),
	}
}

// discoverAgain is the time between two tries of discovery that fail: people who come at
// once would otherwise wait for each other's.
const discoverAgain = time.Second

// discover reads the provider's metadata once.
func (o *OIDC) discover(ctx context.Context) (*provider, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider != nil {
		return o.provider, nil
	}
	if o.now().Before(o.until) {
		return nil, o.fault
	}
	if o.provider, o.fault = o.read(ctx); o.fault != nil {
		o.until = o.now().Add(discoverAgain)
	}
	return o.provider, o.fault
}

// read asks the provider. Not on the account of whoever came first and has gone again.
func (o *OIDC) read(ctx context.Context) (*provider, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(o.context(ctx)), requestLimit)
	defer cancel()
	found, err := oidc.NewProvider(ctx, o.Issuer.String())
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %w", o.Issuer, err)
	}
	var metadata struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := found.Claims(&metadata); err != nil {
		return nil, fmt.Errorf("the metadata of %s: %w", o.Issuer, err)
	}
	return &provider{found, o.style(metadata.Methods)}, nil
}

func (o *OIDC) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// style is how the client proves itself. Left to x/oauth2 it would be found out by
// trying, and each try sends the code.
func (o *OIDC) style(supported []string) oauth2.AuthStyle {
	if o.ClientSecret.IsZero() || len(supported) > 0 && !slices.Contains(supported, "client_secret_basic") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

func (o *OIDC) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, plainClient(o.Transport))
}

// plainClient follows no redirect: it would carry the client's secret along.
func plainClient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, Timeout: requestLimit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
