// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

func twoFields(names ...string) toolkit.Auth {
	a := toolkit.Auth{Kind: toolkit.APIKey, PerUser: true}
	for _, name := range names {
		a.Fields = append(a.Fields, toolkit.Field{Name: name, Header: name})
	}
	return a
}

// withKey makes the toolkit one of users' own keys, and saves one.
func (w *world) withKey(k connection.Key, auth toolkit.Auth, key string) {
	w.toolkit = &toolkit.Toolkit{ID: "acme", Name: "Acme", Auth: auth}
	issuer, client := w.toolkit.Grantee()
	w.save(connection.Connection{
		Key: k, ID: "conn_1", Status: connection.Active, AccessToken: secret.New(key),
		Granted: connection.Grantee{Issuer: issuer, ClientID: client},
	})
}

func TestAUsersKeyHasNoEndAndIsNeverRenewed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.withKey(key("ada"), twoFields("a", "b"), `{"a":"1","b":"2"}`)
		g := w.gateway()
		for range 3 {
			time.Sleep(1000 * time.Hour)
			if conn := w.token(g, key("ada")); conn.AccessToken.Reveal() != `{"a":"1","b":"2"}` {
				t.Errorf("got %s", conn.AccessToken.Reveal())
			}
		}
		conn := w.token(g, key("ada"))
		_, err := g.Renew(t.Context(), w.toolkit, conn)
		wantUnusable(t, err, connection.Active, connection.ProviderRejected)
		w.wantCalls(0, "there is no token endpoint")
	})
}

// Another form of the same toolkit would put the parts of one key where another belongs.
func TestAKeyInAnotherFormIsNotUsed(t *testing.T) {
	for name, c := range map[string]struct {
		auth toolkit.Auth
		want bool
	}{
		"the same fields":     {twoFields("a", "b"), true},
		"in another order":    {twoFields("b", "a"), true},
		"another field":       {twoFields("a", "c"), false},
		"one more":            {twoFields("a", "b", "c"), false},
		"one key":             {twoFields("a"), false},
		"a name and password": {toolkit.Auth{Kind: toolkit.Basic, PerUser: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.withKey(key("ada"), twoFields("a", "b"), `{"a":"1","b":"2"}`)
			_, err := w.gateway().Token(t.Context(), &toolkit.Toolkit{ID: "acme", Auth: c.auth}, key("ada"))
			if c.want && err != nil {
				t.Error(err)
			} else if !c.want {
				wantUnusable(t, err, connection.Active, connection.GrantMoved)
			}
		})
	}
}

func TestAnOAuthTokenIsNoKeyAndAKeyNoToken(t *testing.T) {
	w := newWorld(t)
	oauth := w.toolkit
	w.connect(key("ada"))
	_, err := w.gateway().Token(t.Context(), &toolkit.Toolkit{ID: "acme", Auth: twoFields("a")}, key("ada"))
	wantUnusable(t, err, connection.Active, connection.GrantMoved)
	w.withKey(key("bob"), twoFields("a"), "1")
	_, err = w.gateway().Token(t.Context(), oauth, key("bob"))
	wantUnusable(t, err, connection.Active, connection.GrantMoved)
}
