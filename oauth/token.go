// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Refused: the provider's definite no. Sending the same again cannot help.
type Refused struct {
	// Code is the provider's error code, such as invalid_grant, cut to letters,
	// digits and _ -. Its error_description is not kept: it may quote anything.
	Code   string
	Status int
	ended  bool // it is the grant, as the toolkit knows
}

// Error implements error.
func (e *Refused) Error() string {
	return fmt.Sprintf("the token endpoint refused: %s (HTTP %d)", e.Code, e.Status)
}

// Grant reports whether it is the grant that was refused: the code or the refresh
// token is no good any more. Otherwise it is the client's registration.
func (e *Refused) Grant() bool { return e.ended || grantRefused[e.Code] }

// Unavailable: the provider gave no usable answer. The grant may well be fine.
type Unavailable struct {
	// Unspent: the request surely came to nothing, so the code or the refresh
	// token is as good as before. Otherwise the outcome at the provider is unknown.
	Unspent    bool
	RetryAfter time.Duration // zero: the provider did not say
	cause      error
}

// Error implements error.
func (e *Unavailable) Error() string { return "the token endpoint is unavailable: " + e.cause.Error() }

// Unwrap gives the cause.
func (e *Unavailable) Unwrap() error { return e.cause }

// Exchange turns an authorization code into tokens.
func (c *Client) Exchange(ctx context.Context, o *toolkit.OAuth2, code, verifier, redirectURI string) (Grant, error) {
	params := withExtra(o.TokenParams, map[string]string{
		"grant_type":   "authorization_code",
		"code":         code,
		"redirect_uri": redirectURI,
	})
	if !o.NoPKCE {
		params["code_verifier"] = verifier
	}
	g, err := c.grant(ctx, o, request{address: o.TokenURL, params: params}, verdict{o: o})
	switch {
	case err != nil:
		return g, err
	case o.LongLivedGrantType != "":
		longer := *o
		longer.RefreshGrantType, longer.RefreshURL = o.LongLivedGrantType, cmp.Or(o.LongLivedURL, o.RefreshURL)
		return c.prolonged(ctx, &longer, g), nil
	case o.RefreshWith == toolkit.WithAccessToken && !o.NoRefresh && shortLived(g):
		return c.prolonged(ctx, o, g), nil
	}
	return g, nil
}

// shortLived tells Facebook's tokens of an hour or two from those of 60 days.
func shortLived(g Grant) bool {
	return !g.ExpiresAt.IsZero() && g.ExpiresAt.Sub(g.IssuedAt) < 24*time.Hour
}

// prolonged trades an access token for one that lives long. At once, since one whose
// time has passed is worth nothing, and nobody may call in that hour. Where that does
// not work, there is still the first one.
func (c *Client) prolonged(ctx context.Context, o *toolkit.OAuth2, g Grant) Grant {
	longer, err := c.Refresh(ctx, o, g.AccessToken)
	if err != nil {
		return g
	}
	if longer.Scopes == nil {
		longer.Scopes = g.Scopes
	}
	for name, value := range g.Variables { // which the second answer may leave out
		if _, again := longer.Variables[name]; !again {
			longer.Variables[name] = value
		}
	}
	longer.Strays = append(longer.Strays, g.Strays...)
	return longer
}

// Refresh turns a refresh token, or what this provider has in its place, into new tokens.
func (c *Client) Refresh(ctx context.Context, o *toolkit.OAuth2, token secret.String) (Grant, error) {
	params := withExtra(o.RefreshParams, map[string]string{
		"grant_type": cmp.Or(o.RefreshGrantType, "refresh_token"),
		cmp.Or(o.RefreshTokenParam, "refresh_token"): token.Reveal(),
	})
	if o.RefreshScope && len(o.Scopes) > 0 {
		params["scope"] = scopeText(o)
	}
	address := cmp.Or(o.RefreshURL, o.TokenURL)
	return c.grant(ctx, o, request{o.RefreshMethod, address, params}, verdict{o, true})
}

// withExtra are params and those of extra that do not stand in there already: what
// belongs to the protocol cannot be bent by data.
func withExtra(extra, params map[string]string) map[string]string {
	all := make(map[string]string, len(extra)+len(params)+3)
	maps.Copy(all, extra)
	maps.Copy(all, params)
	return all
}

func (c *Client) grant(ctx context.Context, o *toolkit.OAuth2, r request, v verdict) (Grant, error) {
	res, err := c.send(ctx, o, r)
	if err != nil {
		away := &Unavailable{cause: err}
		if failed, ok := errors.AsType[*sendError](err); ok {
			away.Unspent = failed.unsent
		}
		return Grant{}, away
	}
	return v.read(res, c.now())
}

// read makes something of an endpoint's answer.
func (v verdict) read(res response, now time.Time) (Grant, error) {
	answer := parseAnswer(res.text, place{v.o.TokenPath, v.refresh})
	codes := answer.errorCodes(v.known)
	code := ""
	if len(codes) > 0 {
		code = codes[0]
	}
	ok := code == "" && res.status >= 200 && res.status < 300 && answer.AccessToken != ""
	switch {
	case ok && !answer.usable():
		return Grant{}, &Unavailable{cause: errors.New("an access token that cannot stand in a header")}
	case ok:
		g := answer.grant(now, v.life(answer))
		g.Variables, g.Strays = named(res.text, v.o.Reply)
		return g, nil
	case res.status == http.StatusTooManyRequests || res.status >= 500 || v.passes(codes):
		return Grant{}, &Unavailable{Unspent: unspent(res.status, code), RetryAfter: retryAfter(res.header, now), cause: fmt.Errorf("HTTP %d %s", res.status, code)}
	case code != "" && answer.AccessToken != "" && !v.ends(codes) && !clientRefused[code]:
		// A no that nobody knows, with a token in it: who can tell what became of
		// the one that was sent.
		return Grant{}, &Unavailable{cause: fmt.Errorf("HTTP %d %s, and a token beside it", res.status, code)}
	case code != "":
		return Grant{}, &Refused{Code: code, Status: res.status, ended: v.ends(codes)}
	default:
		// No token and no reason: a proxy's page, a redirect (never followed,
		// it would carry the client's secret along), an answer we cannot read.
		return Grant{}, &Unavailable{Unspent: unspent(res.status, code), RetryAfter: retryAfter(res.header, now), cause: fmt.Errorf("HTTP %d without a token or an error code", res.status)}
	}
}

// life is how long the toolkit says that tokens live. Only of those that can be
// renewed: a guess must not end a token that may be good.
func (v verdict) life(a answer) time.Duration {
	if v.o.NoRefresh || !v.refresh && a.RefreshToken == "" && v.o.RefreshWith != toolkit.WithAccessToken {
		return 0
	}
	return v.o.TokenLifetime
}

// unspent reports whether an answer without a token means that nothing was done. A
// 2xx that cannot be read may have held the new token; a 500, 502 or 504 may be
// from a proxy that lost the real answer.
func unspent(status int, code string) bool {
	switch {
	case code != "" && status < 500:
		return true
	case status >= 500:
		return status == http.StatusServiceUnavailable
	}
	return status >= 300
}

func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(v); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 3600)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return min(at.Sub(now), time.Hour)
	}
	return 0
}
