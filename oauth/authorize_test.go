// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"testing"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/toolkit"
)

func authorize(t *testing.T, o *toolkit.OAuth2, verifier string) *url.URL {
	t.Helper()
	text, err := oauth.AuthorizeURL(o, "https://gw.example/callback/acme", "state-1", verifier)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestTheAuthorizeURLHasAllThatIsAsked(t *testing.T) {
	verifier := oauth.NewVerifier()
	sum := sha256.Sum256([]byte(verifier))
	u := authorize(t, &toolkit.OAuth2{
		AuthorizeURL: "https://id.example/authorize?tenant=a%26b&keep=1", ClientID: "client 1&x",
		Scopes: []string{"read", "write:all"}, ScopeSeparator: ",",
		// What belongs to the protocol cannot be bent by data.
		AuthorizeParams: map[string]string{"access_type": "offline", "response_type": "token", "code_challenge_method": "plain", "state": "x", "redirect_uri": "https://evil.example"},
	}, verifier)
	want := url.Values{
		"tenant": {"a&b"}, "keep": {"1"}, "access_type": {"offline"}, "response_type": {"code"}, "client_id": {"client 1&x"},
		"redirect_uri": {"https://gw.example/callback/acme"}, "state": {"state-1"}, "scope": {"read,write:all"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if u.Query().Encode() != want.Encode() || u.Scheme+"://"+u.Host+u.Path != "https://id.example/authorize" {
		t.Errorf("got %s", u)
	}
}

func TestScopesAreJoinedBySpacesAndLeftOutWhereThereAreNone(t *testing.T) {
	o := &toolkit.OAuth2{AuthorizeURL: "https://id.example/authorize", ClientID: "c", Scopes: []string{"a", "b"}}
	if got := authorize(t, o, "v").Query().Get("scope"); got != "a b" {
		t.Errorf("scope %q", got)
	}
	o.Scopes = nil
	if authorize(t, o, "v").Query().Has("scope") {
		t.Error("an empty scope asks for nothing at some providers")
	}
}

func TestVerifiersAreLongAndNeverAlike(t *testing.T) {
	a, b := oauth.NewVerifier(), oauth.NewVerifier()
	if a == b || len(a) < 43 || len(a) > 128 {
		t.Errorf("%q, %q", a, b)
	}
}
