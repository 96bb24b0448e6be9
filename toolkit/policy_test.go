// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

func TestOAuthEndpointsOnTheAPIsHostAreKnown(t *testing.T) {
	for _, c := range []struct {
		base, token, revoke string
		want                []string
	}{
		{"https://api.acme.example/v2", "https://id.acme.example/token", "", nil},
		{"https://acme.example", "https://acme.example/oauth/token", "https://acme.example/oauth/revoke", []string{"* /oauth/revoke", "* /oauth/token"}},
		{"https://acme.example/api", "https://acme.example/oauth/token", "https://acme.example/api/revoke?x=1", []string{"* /revoke"}},
		{"https://ACME.example:443", "https://acme.example/token", "", []string{"* /token"}},
		{"https://acme.example", "https://id.acme.example/token", "https://acme.example/apps/{client_id}/token", []string{"* /apps/{client_id}/token"}},
		{"https://acme.example", "https://files.acme.example/up/token", "", []string{"* /~files/token"}},
	} {
		d := toolkit.Definition{
			ID: "acme", BaseURL: c.base, Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth}, Hosts: map[string]string{"files": "https://files.acme.example/up"},
			OAuth: toolkit.OAuthDefinition{AuthorizeURL: "https://id.acme.example/a", TokenURL: c.token, RevokeURL: c.revoke},
		}
		tk, err := d.Toolkit() // a draft, whose client id is not known yet
		if err != nil || !slices.Equal(tk.CredentialPaths, c.want) {
			t.Errorf("%s, %s, %s: %v, %v", c.base, c.token, c.revoke, tk.CredentialPaths, err)
		}
	}
	github, _ := toolkit.Builtin("github")
	tk, err := github.Over(toolkit.Definition{OAuth: toolkit.OAuthDefinition{ClientID: "x", ClientSecret: secret.New("y")}}).Toolkit()
	if err != nil || !slices.Equal(tk.CredentialPaths, []string{"* /applications/{client_id}/token"}) || len(tk.Throttling.Signs) != 4 {
		t.Errorf("github: %v, %+v, %v", tk.CredentialPaths, tk.Throttling, err)
	}
}

func TestWhatIsWrittenComesOverTheCatalogue(t *testing.T) {
	base := toolkit.Definition{
		ID: "acme", BaseURL: "https://acme.example", Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}, CredentialPaths: []string{"POST /a"},
		Reading: toolkit.Reading{Methods: []string{"GET"}}, Throttling: toolkit.Throttling{Signs: []toolkit.Throttle{{Status: 403, Header: "x-limited"}}, PerPath: true},
	}
	tk, err := base.Over(toolkit.Definition{CredentialPaths: []string{"POST /b"}, Times: toolkit.Times{Idle: time.Second}, Sizes: toolkit.Sizes{Request: 1}}).Toolkit()
	if err != nil || !slices.Equal(tk.CredentialPaths, []string{"POST /a", "POST /b"}) || !tk.Reading.Known() || !tk.Throttling.PerPath || tk.Throttling.Signs[0].Header != "X-Limited" || tk.Times.Idle != time.Second || tk.Sizes.Request != 1 {
		t.Errorf("%+v, %v", tk, err)
	}
	tk, err = base.Over(toolkit.Definition{Reading: toolkit.Reading{GraphQL: []string{"/g"}}, Throttling: toolkit.Throttling{Signs: []toolkit.Throttle{{Status: 429}}, Shared: true}}).Toolkit()
	if err != nil || tk.Reading.Methods != nil || len(tk.Throttling.Signs) != 1 || tk.Throttling.Signs[0].Status != 429 || !tk.Throttling.Shared {
		t.Errorf("%+v, %v", tk, err)
	}
}

func TestSignsOfALimitThatMeanNothingAreRefused(t *testing.T) {
	for want, sign := range map[string]toolkit.Throttle{
		"from 400 to 599":   {Status: 200, Header: "x"},
		"alone is no sign":  {Status: 403},
		"names of headers":  {Status: 403, Header: "x y"},
		"names of headers ": {Status: 429, Reset: "x y"},
		"is written":        {Status: 429, Unit: "minutes"},
		"up to an hour":     {Status: 429, PauseSeconds: 3601},
	} {
		d := toolkit.Definition{ID: "acme", BaseURL: "https://acme.example", Auth: toolkit.AuthDefinition{Kind: toolkit.NoAuth}, Throttling: toolkit.Throttling{Signs: []toolkit.Throttle{sign}}}
		if _, err := d.Toolkit(); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%+v: %v, want %q", sign, err, want)
		}
	}
}
