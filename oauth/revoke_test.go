// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

const accessToken = "marker-access-token"

func TestEachStyleTakesAGrantBackInItsWay(t *testing.T) {
	for _, c := range []struct {
		style           toolkit.RevokeStyle
		access, refresh string
		sent            string // "": nothing
	}{
		{"", accessToken, refreshToken, "POST https://id.example/revoke Basic aWQ6cw== application/x-www-form-urlencoded token=" + refreshToken + "&token_type_hint=refresh_token"},
		{toolkit.RevokeToken, accessToken, "", "POST https://id.example/revoke Basic aWQ6cw== application/x-www-form-urlencoded token=" + accessToken + "&token_type_hint=access_token"},
		{toolkit.RevokeDelete, accessToken, refreshToken, `DELETE https://id.example/revoke Basic aWQ6cw== application/json {"access_token":"` + accessToken + `"}`},
		{toolkit.RevokeBearer, accessToken, refreshToken, "POST https://id.example/revoke Bearer " + accessToken + "  "},
		{toolkit.RevokeItself, accessToken, refreshToken, "DELETE https://id.example/revoke Bearer " + accessToken + "  "},
		{toolkit.RevokeJSON, accessToken, refreshToken, `POST https://id.example/revoke Basic aWQ6cw== application/json {"token":"` + refreshToken + `","token_type_hint":"refresh_token"}`},
		{toolkit.RevokeJSON, accessToken, "", `POST https://id.example/revoke Basic aWQ6cw== application/json {"token":"` + accessToken + `","token_type_hint":"access_token"}`},
		{toolkit.RevokeBearer, "", refreshToken, ""},
		{toolkit.RevokeItself, "", refreshToken, ""},
		{toolkit.RevokeDelete, "", refreshToken, ""},
	} {
		sent := ""
		client := &oauth.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			sent += fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body)
			return &http.Response{StatusCode: 204, Header: http.Header{}, Body: http.NoBody}, nil
		})}
		o := &toolkit.OAuth2{RevokeURL: "https://id.example/revoke", RevokeStyle: c.style, ClientID: "id", ClientSecret: secret.New("s")}
		if err := client.Revoke(t.Context(), o, secret.New(c.access), secret.New(c.refresh)); err != nil || sent != c.sent {
			t.Errorf("%q: %v, sent\n%s, want\n%s", c.style, err, sent, c.sent)
		}
	}
	client := &oauth.Client{Transport: transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("nobody asked") })}
	if err := client.Revoke(t.Context(), &toolkit.OAuth2{}, secret.New("a"), secret.New("r")); err != nil {
		t.Errorf("without an endpoint: %v", err)
	}
}

func TestAGrantThatIsNotKnownAnyMoreIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		style  toolkit.RevokeStyle
		status int
		text   string
		ok     bool
	}{
		{"", 200, "", true}, {"", 400, `{"error":"invalid_token"}`, true}, {"", 400, `{"error":"invalid_request"}`, false}, {"", 401, `{"error":"invalid_client"}`, false},
		{"", 503, "", false}, {"", 307, "", false}, {"", 404, "", false},
		{toolkit.RevokeDelete, 204, "", true}, {toolkit.RevokeDelete, 404, `{"message":"Not Found"}`, true}, {toolkit.RevokeDelete, 401, "", false}, {toolkit.RevokeDelete, 422, "", false},
		{toolkit.RevokeBearer, 200, `{"ok":true,"revoked":true}`, true}, {toolkit.RevokeBearer, 200, `{"ok":false,"error":"token_revoked"}`, true},
		{toolkit.RevokeItself, 204, "", true}, {toolkit.RevokeItself, 401, "", true}, {toolkit.RevokeItself, 403, "", false}, {toolkit.RevokeItself, 404, "", false},
		{toolkit.RevokeJSON, 200, "", true}, {toolkit.RevokeJSON, 400, `{"error":"invalid_token"}`, true}, {toolkit.RevokeJSON, 401, "", false},
		{toolkit.RevokeBearer, 200, `{"ok":false,"error":"ratelimited"}`, false}, {toolkit.RevokeBearer, 401, "", true}, {toolkit.RevokeBearer, 500, "", false},
	} {
		client := &oauth.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: c.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.text))}, nil
		})}
		err := client.Revoke(t.Context(), &toolkit.OAuth2{RevokeURL: "https://id.example/revoke", RevokeStyle: c.style}, secret.New(accessToken), secret.New(refreshToken))
		if (err == nil) != c.ok {
			t.Errorf("%q, %d %s: %v", c.style, c.status, c.text, err)
		}
	}
}

func TestNoErrorOfARevocationQuotesAToken(t *testing.T) {
	for _, style := range []toolkit.RevokeStyle{toolkit.RevokeToken, toolkit.RevokeJSON, toolkit.RevokeDelete, toolkit.RevokeBearer, toolkit.RevokeItself} {
		for _, answer := range []func(*http.Request) (*http.Response, error){
			func(r *http.Request) (*http.Response, error) {
				return nil, errors.New("no way with " + accessToken + refreshToken)
			},
			func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 500, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"error":"` + accessToken + ` hunter2"}`))}, nil
			},
		} {
			client := &oauth.Client{Transport: transport(answer)}
			err := client.Revoke(t.Context(), &toolkit.OAuth2{RevokeURL: "https://id.example/revoke", RevokeStyle: style}, secret.New(accessToken), secret.New(refreshToken))
			if err == nil || strings.Contains(err.Error(), "marker") || strings.Contains(err.Error(), refreshToken) {
				t.Errorf("%q: %v", style, err)
			}
		}
	}
}

// A transport chooses the way by it, and two toolkits may have the same address.
func TestEveryTokenRequestIsOfItsToolkit(t *testing.T) {
	var of []string
	c := oauth.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		of = append(of, oauth.ToolkitOf(r.Context()))
		return nil, errors.New("away")
	})}
	o := &toolkit.OAuth2{Toolkit: "acme", TokenURL: "https://acme.example/t", RevokeURL: "https://acme.example/r", AuthStyle: toolkit.StyleNone}
	_, _ = c.Exchange(t.Context(), o, "code", "", "")
	_, _ = c.Refresh(t.Context(), o, secret.New("refresh"))
	for _, style := range []toolkit.RevokeStyle{toolkit.RevokeToken, toolkit.RevokeJSON, toolkit.RevokeDelete, toolkit.RevokeBearer, toolkit.RevokeItself} {
		own := *o
		own.RevokeStyle = style
		_ = c.Revoke(t.Context(), &own, secret.New("access"), secret.New("refresh"))
	}
	if len(of) != 7 || strings.Join(slices.Compact(of), " ") != "acme" {
		t.Errorf("requests of %q", of)
	}
}
