// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// idToken is one as the token endpoint sends it, with a signature that nobody looks at.
func idToken(claims any) string {
	text, _ := json.Marshal(claims)
	return "e30." + base64.RawURLEncoding.EncodeToString(text) + ".c2ln"
}

// idWorld is a provider that names the account in an ID token, and has no call for it.
func idWorld(t *testing.T, field, token string) *world {
	w := newWorld(t, func(cfg *connect.Config) {
		cfg.Exchanger = exchanger(func(ctx context.Context, code, verifier string) (oauth.Grant, error) {
			g, err := granting(ctx, code, verifier)
			g.IDToken = secret.New(token)
			return g, err
		})
	})
	tk := w.cfg.Toolkits["acme"].Toolkit
	tk.Identity = &toolkit.Identity{IDToken: true, Field: field}
	return w
}

func TestAnIDTokenNamesTheAccount(t *testing.T) {
	now := newClock().now()
	good := map[string]any{
		"iss": acmeURL, "aud": "toolgate", "exp": now.Add(time.Hour).Unix(), "sub": "1234", "email": "alice@acme.example", "email_verified": true,
		"preferred_username": "alice", "org": map[string]any{"name": "Acme"},
	}
	with := func(more map[string]any) string {
		all := maps.Clone(good)
		maps.Copy(all, more)
		maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
		return idToken(all)
	}
	for name, c := range map[string]struct{ field, token, label string }{
		"an address":                {"email", with(nil), "alice@acme.example"},
		"verified, in words":        {"email", with(map[string]any{"email_verified": "true"}), "alice@acme.example"},
		"an address of one's own":   {"email", with(map[string]any{"email_verified": false}), ""},
		"nobody says it is theirs":  {"email", with(map[string]any{"email_verified": nil}), ""},
		"another claim":             {"preferred_username", with(map[string]any{"email_verified": false}), "alice"},
		"deeper":                    {"org.name", with(nil), "Acme"},
		"a claim that is not there": {"upn", with(nil), ""},
		"two audiences":             {"sub", with(map[string]any{"aud": []string{"other", "toolgate"}, "azp": "toolgate"}), "1234"},
		"two, made for another":     {"sub", with(map[string]any{"aud": []string{"other", "toolgate"}, "azp": "other"}), ""},
		"a list of one":             {"sub", with(map[string]any{"aud": []string{"toolgate"}}), "1234"},
		"another client":            {"sub", with(map[string]any{"aud": "other"}), ""},
		"no audience":               {"sub", with(map[string]any{"aud": nil}), ""},
		"another issuer":            {"sub", with(map[string]any{"iss": "https://evil.example"}), ""},
		"ended":                     {"sub", with(map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), ""},
		"ended just now, elsewhere": {"sub", with(map[string]any{"exp": now.Add(-30 * time.Second).Unix()}), "1234"},
		"without an end":            {"sub", with(map[string]any{"exp": nil}), ""},
		"an end beyond all numbers": {"sub", with(map[string]any{"exp": 1e300}), "1234"},
		"none":                      {"sub", "", ""},
		"no token":                  {"sub", "a.b", ""},
		"no JSON":                   {"sub", "a.Yg.c", ""},
		"huge":                      {"sub", idToken(map[string]any{"sub": strings.Repeat("x", 1<<20)}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := idWorld(t, c.field, c.token)
			b := newBrowser(w)
			b.get(comeBack(t, b.toProvider(w.link(alice)).address, "code", "c", "iss", acmeURL))
			if got := w.connection().AccountLabel; got != c.label {
				t.Errorf("the account is %q, want %q", got, c.label)
			}
			if n := w.acme.Stats().APICalls; n != 0 {
				t.Errorf("%d calls for it", n)
			}
		})
	}
}

// Who signs in as another person at the provider has that person's ID token.
func TestExpectAccountGoesByTheIDToken(t *testing.T) {
	for email, kept := range map[string]bool{"alice@acme.example": true, "bob@acme.example": false, "": false} {
		w := idWorld(t, "email", idToken(map[string]any{
			"iss": acmeURL, "aud": "toolgate", "exp": newClock().now().Add(time.Hour).Unix(), "email": email, "email_verified": true,
		}))
		w.cfg.Toolkits["acme"].Toolkit.ExpectAccount = []string{"alice@acme.example"}
		b := newBrowser(w)
		link := w.link(alice)
		b.get(comeBack(t, b.toProvider(link).address, "code", "c", "iss", acmeURL))
		p := b.get(link)
		if kept {
			p.want(t, http.StatusOK, "Connected as alice@acme.example")
			continue
		}
		if !strings.Contains(p.text, "not the one that is expected") {
			t.Errorf("%q: the page:\n%s", email, p.text)
		}
		w.notConnected()
	}
}

// rawIDToken is one whose claims are written by hand.
func rawIDToken(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

// To encoding/json a field's name is the same in capitals, and of two the last one counts.
// At a provider where people name claims of their own, one could be another person then.
func TestTheClaimsOfAnIDTokenAreReadToTheLetter(t *testing.T) {
	ends := strconv.FormatInt(newClock().now().Add(time.Hour).Unix(), 10)
	head := `"iss":"` + acmeURL + `","aud":"toolgate","exp":` + ends
	for name, c := range map[string]struct{ field, claims, label string }{
		"as it should be":          {"sub", `{` + head + `,"sub":"y"}`, "y"},
		"another one, first":       {"sub", `{"Sub":"x",` + head + `,"sub":"y"}`, "y"},
		"another one, last":        {"sub", `{` + head + `,"sub":"y","Sub":"x"}`, "y"},
		"only another one":         {"sub", `{` + head + `,"Sub":"x"}`, ""},
		"twice":                    {"sub", `{` + head + `,"sub":"y","sub":"x"}`, ""},
		"twice, escaped":           {"sub", `{` + head + `,"sub":"y","s\u0075b":"x"}`, ""},
		"another claim twice":      {"sub", `{` + head + `,"sub":"y","a":1,"a":1}`, ""},
		"twice, deeper":            {"org.name", `{` + head + `,"org":{"name":"y","name":"x"}}`, ""},
		"deeper":                   {"org.name", `{` + head + `,"org":{"Name":"x","name":"y"}}`, "y"},
		"another issuer":           {"sub", `{"iss":"https://evil.example","Iss":"` + acmeURL + `","aud":"toolgate","exp":` + ends + `,"sub":"y"}`, ""},
		"another audience":         {"sub", `{"iss":"` + acmeURL + `","aud":"other","AUD":"toolgate","exp":` + ends + `,"sub":"y"}`, ""},
		"over":                     {"sub", `{"iss":"` + acmeURL + `","aud":"toolgate","exp":1,"Exp":` + ends + `,"sub":"y"}`, ""},
		"an end of another kind":   {"sub", `{"iss":"` + acmeURL + `","aud":"toolgate","exp":"` + ends + `","sub":"y"}`, ""},
		"verified by another name": {"email", `{` + head + `,"email":"y@acme.example","email_verified":false,"Email_Verified":true}`, ""},
		"something behind it":      {"sub", `{` + head + `,"sub":"y"}{}`, ""},
		"a list":                   {"sub", `[{` + head + `,"sub":"y"}]`, ""},
		"cut":                      {"sub", `{` + head + `,"sub":"y"`, ""},
		"nested without end":       {"sub", `{` + head + `,"sub":"y","a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, ""},
		"an audience that is none": {"sub", `{"iss":"` + acmeURL + `","aud":["toolgate",7],"exp":` + ends + `,"sub":"y"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := idWorld(t, c.field, rawIDToken(c.claims))
			b := newBrowser(w)
			b.get(comeBack(t, b.toProvider(w.link(alice)).address, "code", "c", "iss", acmeURL))
			if got := w.connection().AccountLabel; got != c.label {
				t.Errorf("the account is %q, want %q", got, c.label)
			}
		})
	}
}
