// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Revoke takes a grant back at the provider, where it has a way. A grant that the
// provider does not know any more counts as taken back.
func (c *Client) Revoke(ctx context.Context, o *toolkit.OAuth2, access, refresh secret.String) error {
	if o.RevokeURL == "" {
		return nil
	}
	var res response
	var err error
	switch o.RevokeStyle {
	case toolkit.RevokeDelete, toolkit.RevokeBearer, toolkit.RevokeItself:
		if access.IsZero() {
			return nil
		}
		res, err = c.revokeAccess(ctx, o, access)
	default:
		// The refresh token, if there is one: its end is the grant's (RFC 7009 §2.1).
		params := map[string]string{"token": refresh.Reveal(), "token_type_hint": "refresh_token"}
		if refresh.IsZero() {
			params = map[string]string{"token": access.Reveal(), "token_type_hint": "access_token"}
		}
		own := *o
		if o.RevokeStyle == toolkit.RevokeJSON {
			own.BodyFormat = toolkit.FormatJSON
		}
		res, err = c.send(ctx, &own, request{address: o.RevokeURL, params: params})
	}
	if err != nil {
		return err
	}
	return revoked(o.RevokeStyle, res)
}

// gone are the codes for a token that has ended by itself.
var gone = map[string]bool{"invalid_token": true, "token_revoked": true, "token_expired": true, "invalid_auth": true, "not_authed": true, "account_inactive": true}

// revoked reads the answer. Slack says no with HTTP 200.
func revoked(style toolkit.RevokeStyle, res response) error {
	codes := parseAnswer(res.text, place{}).errorCodes(func(string) bool { return false })
	switch {
	case len(codes) > 0 && gone[codes[0]]:
		return nil
	case style == toolkit.RevokeDelete && res.status == http.StatusNotFound:
		return nil
	case (style == toolkit.RevokeBearer || style == toolkit.RevokeItself) && res.status == http.StatusUnauthorized:
		return nil
	case res.status >= 300 || len(codes) > 0 && style == toolkit.RevokeBearer:
		return fmt.Errorf("the revocation endpoint answered no, with HTTP %d", res.status)
	}
	return nil
}

// revokeAccess is for the styles that are none of OAuth's.
func (c *Client) revokeAccess(ctx context.Context, o *toolkit.OAuth2, access secret.String) (response, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, ofToolkit{}, o.Toolkit), c.timeout())
	defer cancel()
	method, body := http.MethodDelete, []byte(nil)
	switch o.RevokeStyle {
	case toolkit.RevokeBearer:
		method = http.MethodPost
	case toolkit.RevokeDelete:
		body, _ = json.Marshal(map[string]string{"access_token": access.Reveal()}) // a string: cannot fail
	}
	req, err := http.NewRequestWithContext(ctx, method, o.RevokeURL, bytes.NewReader(body))
	if err != nil {
		return response{}, &sendError{"making the request", true, err}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "toolgate")
	if o.RevokeStyle == toolkit.RevokeDelete {
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth(o.ClientID, o.ClientSecret.Reveal())
	} else {
		req.Header.Set("Authorization", "Bearer "+access.Reveal())
	}
	r := request{address: o.RevokeURL, params: map[string]string{"access_token": access.Reveal()}} // for what errors quote
	res, err := c.transport().RoundTrip(req)
	if err != nil {
		return response{}, &sendError{"calling " + req.URL.Host, false, r.bare(err)}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return response{}, &sendError{"reading the answer of " + req.URL.Host, false, r.bare(err)}
	}
	return response{res.StatusCode, res.Header, text}, nil
}
