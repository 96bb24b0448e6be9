// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

func TestGrantsAreReadInEveryShape(t *testing.T) {
	at := time.Date(2026, 11, 20, 6, 30, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		format custody.Format
		text   string
		want   custody.Grant
	}{
		"the least": {custody.JSONLines, `{"user":"ada","access_token":"at"}`, custody.Grant{User: "ada", AccessToken: secret.New("at")}},
		"everything": {
			custody.JSONLines,
			`{"user":"ada","toolkit":"github","tenant":"acme","access_token":"at","refresh_token":"rt","expires_at":"2026-11-20T07:30:00+01:00","scopes":["a","b"],"account":"ada@example.com"}`,
			custody.Grant{User: "ada", Toolkit: "github", Tenant: "acme", AccessToken: secret.New("at"), RefreshToken: secret.New("rt"), ExpiresAt: at, Scopes: []string{"a", "b"}, Account: "ada@example.com"},
		},
		"times in seconds, scopes as one text": {
			custody.JSONLines, fmt.Sprintf(`{"user":"ada","refresh_token":"rt","expires_at":%d,"scopes":"a b,c"}`, at.Unix()),
			custody.Grant{User: "ada", RefreshToken: secret.New("rt"), ExpiresAt: at, Scopes: []string{"a", "b", "c"}},
		},
		"times in milliseconds, and what is null": {
			custody.JSONLines, fmt.Sprintf(`{"user":"ada","access_token":"at","refresh_token":null,"expires_at":%d,"scopes":null}`, at.UnixMilli()),
			custody.Grant{User: "ada", AccessToken: secret.New("at"), ExpiresAt: at},
		},
		"Nango with an end user": {
			custody.Nango,
			`{"id":1,"connection_id":"c1","provider_config_key":"github-prod","provider":"github","end_user":{"id":"ada","email":"ada@example.com"},"metadata":null,
			  "credentials":{"type":"OAUTH2","access_token":"at","refresh_token":"rt","expires_at":"2026-11-20T06:30:00.000Z","raw":{"scope":"a b","token_type":"bearer"}}}`,
			custody.Grant{User: "ada", Toolkit: "github-prod", AccessToken: secret.New("at"), RefreshToken: secret.New("rt"), ExpiresAt: at, Scopes: []string{"a", "b"}, Account: "ada@example.com"},
		},
		"Nango with tags": {
			custody.Nango, `{"connection_id":"c1","end_user":null,"tags":{"end_user_id":"ada"},"credentials":{"type":"OAUTH2","access_token":"at","raw":{"refresh_token":"rt"}}}`,
			custody.Grant{User: "ada", AccessToken: secret.New("at"), RefreshToken: secret.New("rt")},
		},
		"Nango without a user": {
			custody.Nango, `{"connection_id":"ada","credentials":{"type":"OAUTH2","access_token":"at"}}`, custody.Grant{User: "ada", AccessToken: secret.New("at")},
		},
	} {
		got, err := custody.ParseGrant(c.format, []byte(c.text))
		if err != nil || shown(got) != shown(c.want) {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", name, shown(got), err, shown(c.want))
		}
	}
}

func shown(g custody.Grant) string {
	return fmt.Sprintf("%q %q %q %q %q %q %v %q", g.Tenant, g.User, g.Toolkit, g.Account, g.AccessToken.Reveal(), g.RefreshToken.Reveal(), g.ExpiresAt, g.Scopes)
}

func TestABadGrantIsNamedAndNotQuoted(t *testing.T) {
	for text, want := range map[string]string{
		`hunter2`:                                                                                    "not a JSON object",
		`{"user":"ada","access_token":"hunter2"`:                                                     "not a JSON object",
		`["hunter2"]`:                                                                                "wrong type",
		`{"user":"ada","acces_token":"hunter2"}`:                                                     `the field "acces_token" is not known`,
		`{"access_token":"hunter2"}`:                                                                 "user is missing",
		`{"user":"hunter2 x","access_token":"hunter2"}`:                                              "user cannot be",
		`{"user":"ada","tenant":"a/b","access_token":"x"}`:                                           "tenant cannot be",
		`{"user":"ada","refresh_token":""}`:                                                          "neither access_token nor refresh_token",
		`{"user":"ada","access_token":"hunter2\\nX: y"}`:                                             "no header can carry",
		`{"user":"ada","access_token":["hunter2"]}`:                                                  "access_token has the wrong type",
		`{"user":"ada","access_token":"x","expires_at":"hunter2"}`:                                   "expires_at is neither",
		`{"user":"ada","access_token":"x","expires_at":12}`:                                          "expires_at is neither",
		`{"user":"ada","access_token":"x","expires_at":"9999-12-31T23:59:59-01:00"}`:                 "expires_at is in no year from 1 to 9999",
		`{"user":"ada","access_token":"x","expires_at":"0001-01-01T00:00:00+01:00"}`:                 "expires_at is in no year from 1 to 9999",
		`{"user":"ada","access_token":"x","scopes":{"hunter2":1}}`:                                   "scopes is neither",
		`{"user":"ada","access_token":"x"} {"user":"hunter2"}`:                                       "more than one",
		`{"user":"ada","access_token":"` + strings.Repeat("x", vault.MaxToken+1) + `"}`:              "a token has more than 65536 bytes",
		`{"user":"ada","refresh_token":"` + strings.Repeat("x", vault.MaxToken+1) + `"}`:             "a token has more than 65536 bytes",
		`{"user":"ada","hunter2-is-my-token":"refresh_token"}`:                                       "whose name does not look like one",
		`{"user":"ada","hunter2":1}`:                                                                 "whose name does not look like one",
		`{"user":"ada","hunter_hunter_hunter_hunter":"a field of the letters of one, and too long"}`: "whose name does not look like one",
		`{"` + strings.Repeat("hunter2", 10) + `":1}`:                                                "whose name does not look like one",
	} {
		_, err := custody.ParseGrant(custody.JSONLines, []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"connection_id":"ada"}`: "credentials is missing",
		`{"connection_id":"ada","credentials":{"type":"API_KEY","apiKey":"hunter2"}}`:                       "not OAUTH2",
		`{"credentials":{"type":"OAUTH2","access_token":"hunter2"}}`:                                        "user is missing",
		`{"connection_id":"ada","credentials":{"type":"OAUTH2","access_token":{"hunter2":1}}}`:              "wrong type",
		`{"connection_id":"ada","credentials":{"type":"OAUTH2","access_token":"x","expires_at":"hunter2"}}`: "expires_at",
		`hunter2`: "not a JSON object",
	} {
		_, err := custody.ParseGrant(custody.Nango, []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestFilesAreSplitIntoGrants(t *testing.T) {
	for name, c := range map[string]struct {
		format custody.Format
		text   string
		want   []string
	}{
		"nothing":                    {custody.JSONLines, "", nil},
		"only space":                 {custody.JSONLines, " \n\n", nil},
		"lines":                      {custody.JSONLines, "\n{1}\r\n\n{2}", []string{"2:{1}", "4:{2}"}},
		"a mark at the start":        {custody.JSONLines, "\ufeff{1}\n", []string{"1:{1}"}},
		"a list":                     {custody.JSONLines, ` [ {"a":1}, {"a":2} ] `, []string{`1:{"a":1}`, `2:{"a":2}`}},
		"a bad line among good":      {custody.JSONLines, "{1}\n[x\n{2}\n", []string{"1:{1}", "2:[x", "3:{2}"}},
		"objects over several lines": {custody.Nango, "{\n\"a\": 1\n}\n{\"a\":2}", []string{"1:{\n\"a\": 1\n}", `2:{"a":2}`}},
	} {
		var got []string
		err := custody.Split(c.format, strings.NewReader(c.text), func(n custody.Numbered) error {
			got = append(got, fmt.Sprintf("%d:%s", n.Number, n.Text))
			return nil
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, text := range []string{"[1", "[1,]", "[hunter2]"} {
		err := custody.Split(custody.JSONLines, strings.NewReader(text), func(custody.Numbered) error { return nil })
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
	long := `{"user":"` + strings.Repeat("x", 3<<20) + `"}`
	for name, text := range map[string]string{
		"lines": "{\"a\":1}\n" + long + "\n{\"a\":3}", "the last line": "{\"a\":1}\n" + long + "\n", "the last line, cut": "{\"a\":1}\n" + long, "a list": `[{"a":1},` + long + `,{"a":3}]`,
	} {
		var got []string
		seen := 0
		err := custody.Split(custody.JSONLines, strings.NewReader(text), func(n custody.Numbered) error {
			if seen++; n.Number != 2 {
				got = append(got, string(n.Text))
			} else if _, err := custody.ParseGrant(custody.JSONLines, n.Text); !errors.Is(err, custody.ErrTooLong) {
				t.Errorf("%s: %v", name, err)
			}
			return nil
		})
		want := []string{`{"a":1}`, `{"a":3}`}[:1+strings.Count(text, "3}")]
		if err != nil || seen != len(want)+1 || !slices.Equal(got, want) {
			t.Errorf("%s: the others are %q, %v", name, got, err)
		}
	}
}

func bringer(v custody.Vault) *custody.Bringer {
	at := time.Date(2026, 11, 20, 6, 30, 0, 0, time.UTC)
	return &custody.Bringer{Vault: v, Now: func() time.Time { return at }, Toolkit: &toolkit.Toolkit{
		ID: "github", BaseURL: &url.URL{Scheme: "https", Host: "api.github.example"},
		OAuth: &toolkit.OAuth2{TokenURL: "https://github.example/token", ClientID: "client", Scopes: []string{"repo"}},
	}}
}

func TestAGrantBecomesAConnectionOfTheConfiguredClient(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oldKey))
	b := bringer(v)
	recorded := 0
	b.Record = func(connection.Connection) error { recorded++; return nil }
	outcome, _, err := b.Bring(t.Context(), custody.Grant{User: "ada", Tenant: "acme", AccessToken: secret.New("at"), RefreshToken: secret.New("rt"), ExpiresAt: b.Now().Add(time.Hour)})
	if outcome != custody.Created || err != nil || recorded != 1 {
		t.Fatalf("%s, %v, %d recorded", outcome, err, recorded)
	}
	c, err := v.Load(t.Context(), of("ada"))
	if err != nil || c.Status != connection.Active || c.AccessToken.Reveal() != "at" || c.RefreshToken.Reveal() != "rt" || !c.Usable(b.Now()) {
		t.Errorf("%+v, %v", c, err)
	}
	if c.Granted.ClientID != "client" || c.Granted.Issuer != "https://github.example/token" || !slices.Equal(c.Granted.Hosts, []string{"https://api.github.example"}) {
		t.Errorf("granted to %+v", c.Granted)
	}
}

func TestAGrantHasToSayWhereItIsGood(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oldKey))
	b := bringer(v)
	b.Tenant, b.Toolkit.BaseURL.Host = "acme", "{instance}"
	b.Toolkit.Variables = map[string]toolkit.Variable{"instance": {From: toolkit.FromReply, Field: "instance_url", Hosts: []toolkit.HostPattern{"*.salesforce.com"}}}
	for _, line := range []string{
		`{"user":"ada","access_token":"hunter2"}`,
		`{"user":"ada","access_token":"hunter2","variables":{"instance":"hunter2.example"}}`,
		`{"user":"ada","access_token":"hunter2","variables":{"hunter2":"na1.salesforce.com"}}`,
		`{"user":"ada","access_token":"hunter2","variables":{"instance":"na1.salesforce.com","hunter2":"hunter2"}}`,
	} {
		g, err := custody.ParseGrant(custody.JSONLines, []byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = b.Bring(t.Context(), g); !errors.Is(err, custody.ErrVariables) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", line, err)
		}
	}
	g, err := custody.ParseGrant(custody.JSONLines, []byte(`{"user":"ada","access_token":"at","variables":{"instance":"https://NA1.salesforce.com"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Bring(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	c, err := v.Load(t.Context(), of("ada"))
	if err != nil || c.Variables["instance"] != "na1.salesforce.com" || !slices.Equal(c.Granted.Hosts, []string{"https://{instance}"}) {
		t.Errorf("%+v, %v", c, err)
	}
}

// What came over is of the server that its user has named, as if it had been connected here.
func TestAGrantIsOfTheServerThatItsUserHasNamed(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oldKey))
	b := bringer(v)
	b.Tenant = "acme"
	var err error
	b.Toolkit, err = toolkit.Definition{
		ID: b.Toolkit.ID, BaseURL: "https://{shop}.shops.example",
		Variables: map[string]toolkit.VariableDefinition{"shop": {From: toolkit.FromUser, Ask: "Shop"}},
		Auth:      toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth:     toolkit.OAuthDefinition{AuthorizeURL: "https://{shop}.shops.example/a", TokenURL: "https://{shop}.shops.example/t", ClientID: "client"},
	}.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		`{"user":"ada","access_token":"hunter2"}`:                                      "",
		`{"user":"ada","access_token":"hunter2","variables":{"shop":"evil.example/"}}`: "",
		`{"user":"ada","access_token":"hunter2","variables":{"shop":"North"}}`:         "north",
	} {
		g, err := custody.ParseGrant(custody.JSONLines, []byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = b.Bring(t.Context(), g); errors.Is(err, custody.ErrVariables) != (want == "") {
			t.Errorf("%s: %v", line, err)
		}
	}
	c, err := v.Load(t.Context(), of("ada"))
	if err != nil || c.Variables["shop"] != "north" || c.Granted.Issuer != "https://north.shops.example/t" || c.Granted.ClientID != "client" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestAConnectionThatIsThereIsKept(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oldKey))
	save(t, v, "ada")
	b := bringer(v)
	b.Tenant = "acme"
	g := custody.Grant{User: "ada", AccessToken: secret.New("imported")}
	if outcome, _, err := b.Bring(t.Context(), g); outcome != custody.Kept || err != nil {
		t.Errorf("%s, %v", outcome, err)
	}
	wantToken(t, v, "ada", "token of ada")
	b.Force, b.DryRun = true, true
	if outcome, _, err := b.Bring(t.Context(), g); outcome != custody.Replaced || err != nil {
		t.Errorf("%s, %v", outcome, err)
	}
	wantToken(t, v, "ada", "token of ada")
	b.DryRun = false
	if outcome, c, err := b.Bring(t.Context(), g); outcome != custody.Replaced || err != nil || c.ID != "conn_ada" {
		t.Errorf("%s, %v, %s", outcome, err, c.ID)
	}
	wantToken(t, v, "ada", "imported")
}

func TestAMalformedRecordIsReplacedByAForcedImportAndByNoOther(t *testing.T) {
	s := memstore.New(nil)
	v := vault.New(s, ring(t, oldKey))
	malformed(t, s, "ada")
	b := bringer(v)
	b.Tenant = "acme"
	g := custody.Grant{User: "ada", AccessToken: secret.New("imported")}
	if outcome, _, err := b.Bring(t.Context(), g); !errors.Is(err, vault.ErrMalformed) {
		t.Errorf("without force: %s, %v", outcome, err)
	}
	b.Force = true
	if outcome, c, err := b.Bring(t.Context(), g); outcome != custody.Replaced || err != nil || c.ID == "" || c.Version != 2 {
		t.Errorf("%s, %+v, %v", outcome, c, err)
	}
	wantToken(t, v, "ada", "imported")
}

func TestAnEndedConnectionIsReplaced(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oldKey))
	if _, err := v.Save(t.Context(), connection.Connection{Key: of("ada"), Status: connection.Expired, Reason: connection.RefreshRejected}); err != nil {
		t.Fatal(err)
	}
	b := bringer(v)
	b.Tenant = "acme"
	if outcome, _, err := b.Bring(t.Context(), custody.Grant{User: "ada", AccessToken: secret.New("imported")}); outcome != custody.Replaced || err != nil {
		t.Errorf("%s, %v", outcome, err)
	}
	wantToken(t, v, "ada", "imported")
}

func TestARefreshTokenAloneIsEnough(t *testing.T) {
	b := bringer(vault.New(memstore.New(nil), ring(t, oldKey)))
	_, c, err := b.Bring(t.Context(), custody.Grant{User: "ada", RefreshToken: secret.New("rt")})
	if err != nil || !c.Stale(b.Now()) || c.Tenant != "default" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWhatCannotBeRecordedIsNotBrought(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oldKey))
	b := bringer(v)
	full := errors.New("the disk is full")
	b.Record = func(connection.Connection) error { return full }
	if _, _, err := b.Bring(t.Context(), custody.Grant{User: "ada", Tenant: "acme", AccessToken: secret.New("at")}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if _, err := v.Load(t.Context(), of("ada")); !errors.Is(err, connection.ErrNotConnected) {
		t.Errorf("%v", err)
	}
}

// An import is for all agents, as what was connected elsewhere is for nobody's in particular;
// but what its user has said here is not undone by one.
func TestAnImportLeavesToUsersWhichAgentsUseTheirConnections(t *testing.T) {
	v := vault.New(memstore.New(nil), ring(t, oldKey))
	b := bringer(v)
	b.Force = true
	bring := func() connection.Connection {
		t.Helper()
		if _, _, err := b.Bring(t.Context(), custody.Grant{User: "ada", Tenant: "acme", AccessToken: secret.New("at")}); err != nil {
			t.Fatal(err)
		}
		c, err := v.Load(t.Context(), of("ada"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := bring()
	if c.Agents != nil || !c.Admits("anybody", true) {
		t.Errorf("it is for %q", c.Agents)
	}
	c.ReadOnly = true
	if _, err := v.Save(t.Context(), c.Bar("bot", []string{"bot", "clerk"})); err != nil {
		t.Fatal(err)
	}
	if c = bring(); !slices.Equal(c.Agents, []string{"clerk"}) || !slices.Equal(c.Barred, []string{"bot"}) || !c.ReadOnly {
		t.Errorf("brought in again it is for %q and not for %q, for reading only: %v", c.Agents, c.Barred, c.ReadOnly)
	}
	// What an operator has set up was for nobody, and no user has said so.
	staged := connection.Connection{Key: of("bob"), ID: "conn_bob", Status: connection.Added, Agents: []string{}}
	if _, err := v.Save(t.Context(), staged); err != nil {
		t.Fatal(err)
	}
	b.Force = false
	if outcome, c, err := b.Bring(t.Context(), custody.Grant{User: "bob", Tenant: "acme", AccessToken: secret.New("at")}); err != nil || outcome != custody.Replaced || c.ID != "conn_bob" || c.Status != connection.Active || c.Agents != nil {
		t.Errorf("where it was set up: %s, %+v, %v", outcome, c, err)
	}
}
