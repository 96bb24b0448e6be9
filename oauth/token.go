// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// maxAnswer is the largest token answer that is read, in bytes.
const maxAnswer = 1 << 20

// Refused: the provider's definite no. Sending the same again cannot help.
type Refused struct {
	// Code is the provider's error code, such as invalid_grant, cut to letters,
	// digits and _ -. Its error_description is not kept: it may quote anything.
	Code   string
	Status int
}

// Error implements error.
func (e *Refused) Error() string {
	return fmt.Sprintf("the token endpoint refused: %s (HTTP %d)", e.Code, e.Status)
}

// Grant reports whether it is the grant that was refused: the code or the refresh
// token is no good any more. Otherwise it is the client's registration.
func (e *Refused) Grant() bool { return grantRefused[e.Code] }

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
	return c.grant(ctx, o, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {redirectURI},
		"code_verifier": {verifier},
	})
}

// Refresh turns a refresh token into new tokens.
func (c *Client) Refresh(ctx context.Context, o *toolkit.OAuth2, refreshToken secret.String) (Grant, error) {
	return c.grant(ctx, o, url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {refreshToken.Reveal()},
	})
}

// Revoke ends a token at the provider (RFC 7009), where it has an endpoint for it.
func (c *Client) Revoke(ctx context.Context, o *toolkit.OAuth2, token secret.String, hint string) error {
	if o.RevokeURL == "" {
		return nil
	}
	status, _, _, err := c.post(ctx, o, o.RevokeURL, url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}})
	if err == nil && status >= 300 {
		err = fmt.Errorf("the revocation endpoint answered %d", status)
	}
	return err
}

func (c *Client) grant(ctx context.Context, o *toolkit.OAuth2, form url.Values) (Grant, error) {
	status, header, text, err := c.post(ctx, o, o.TokenURL, form)
	if err != nil {
		return Grant{}, &Unavailable{Unspent: neverLeft(err), cause: err}
	}
	answer := parseAnswer(text)
	code := answer.errorCode()
	switch {
	case code == "" && status >= 200 && status < 300 && answer.AccessToken != "" && !inHeader(string(answer.AccessToken)):
		// Saved, it would fail every call, and nobody would be asked to connect.
		return Grant{}, &Unavailable{cause: errors.New("an access token that cannot stand in a header")}
	case code == "" && status >= 200 && status < 300 && answer.AccessToken != "":
		return answer.grant(c.now()), nil
	case status == http.StatusTooManyRequests || status >= 500 || passing[code]:
		return Grant{}, &Unavailable{Unspent: unspent(status, code), RetryAfter: retryAfter(header, c.now()), cause: fmt.Errorf("HTTP %d %s", status, code)}
	case code != "":
		return Grant{}, &Refused{Code: code, Status: status}
	default:
		// No token and no reason: a proxy's page, a redirect (never followed,
		// it would carry the client's secret along), an answer we cannot read.
		return Grant{}, &Unavailable{Unspent: unspent(status, code), RetryAfter: retryAfter(header, c.now()), cause: fmt.Errorf("HTTP %d without a token or an error code", status)}
	}
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

// neverLeft reports whether there was not even a connection.
func neverLeft(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// post sends one form. It never follows a redirect and never tries again. Transport
// may send a POST once more only where not one byte of it had been written or, over
// HTTP/2, the server says that it did nothing (RFC 9113 §8.7).
func (c *Client) post(ctx context.Context, o *toolkit.OAuth2, address string, form url.Values) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	basic := ""
	switch o.AuthStyle {
	case toolkit.StyleBody:
		form.Set("client_id", o.ClientID)
		form.Set("client_secret", o.ClientSecret.Reveal())
	case toolkit.StyleNone:
		form.Set("client_id", o.ClientID)
	default:
		// Form-encoded first (RFC 6749 §2.3.1): a raw % or + is another secret.
		pair := url.QueryEscape(o.ClientID) + ":" + url.QueryEscape(o.ClientSecret.Reveal())
		basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, nil, errors.New("the token endpoint's address cannot be used")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json") // GitHub answers a form otherwise
	req.Header.Set("User-Agent", "toolgate")
	if basic != "" {
		req.Header.Set("Authorization", basic)
	}
	res, err := c.transport().RoundTrip(req)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("calling %s: %w", req.URL.Host, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("reading the answer of %s: %w", req.URL.Host, err)
	}
	if len(text) > maxAnswer {
		return 0, nil, nil, fmt.Errorf("the answer of %s is larger than 1 MiB", req.URL.Host)
	}
	return res.StatusCode, res.Header, text, nil
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

// inHeader reports whether a token can stand in a header: visible ASCII alone (RFC 6750
// §2.1 allows less).
func inHeader(token string) bool {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return false
		}
	}
	return true
}
