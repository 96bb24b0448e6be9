// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
)

// gives makes the token endpoint give this, without asking Acme.
func gives(g oauth.Grant) func(*connect.Config) {
	return func(cfg *connect.Config) {
		real := cfg.Exchanger
		cfg.Exchanger = exchanger(func(ctx context.Context, code, verifier string) (oauth.Grant, error) {
			// Acme's own answer is spent for the token that its API knows.
			real, err := real.Exchange(ctx, cfg.Toolkits["acme"].Toolkit.OAuth, code, verifier, connect.RedirectURI(cfg.PublicURL, "acme"))
			if err != nil {
				return real, err
			}
			g.AccessToken, g.IssuedAt = real.AccessToken, real.IssuedAt
			return g, nil
		})
	}
}

// Google lets users untick scopes.
func TestScopesThatTheUserDidNotGrantAreNamed(t *testing.T) {
	w := newWorld(t, gives(oauth.Grant{RefreshToken: secret.New("r"), Scopes: []string{"read"}}))
	w.cfg.Toolkits["acme"].Toolkit.OAuth.Scopes = []string{"read", "write", "offline_access"}
	b := newBrowser(w)
	b.get(b.consent(w.link(alice), "alice")).want(t, http.StatusOK, "Connected as alice@acme.example")
	w.wantReported("connected")
	w.wantReported("scopes_missing write")
	if conn := w.connection(); !slices.Equal(conn.Scopes, []string{"read"}) {
		t.Errorf("scopes %q", conn.Scopes)
	}
	answer := w.wantStatus(t, connection.Active, "")
	if !slices.Equal(answer.Scopes, []string{"read"}) || !slices.Equal(answer.ScopesMissing, []string{"write"}) {
		t.Errorf("scopes %q, missing %q", answer.Scopes, answer.ScopesMissing)
	}
}

func TestScopesThatTheProviderDoesNotNameAreAsAskedFor(t *testing.T) {
	w := newWorld(t, gives(oauth.Grant{RefreshToken: secret.New("r")}))
	b := newBrowser(w)
	b.get(b.consent(w.link(alice), "alice")).want(t, http.StatusOK, "Connected as alice@acme.example")
	if answer := w.wantStatus(t, connection.Active, ""); len(answer.ScopesMissing) != 0 || !slices.Equal(answer.Scopes, w.cfg.Toolkits["acme"].Toolkit.OAuth.Scopes) {
		t.Errorf("%+v", answer)
	}
	if slices.ContainsFunc(w.reported(), func(s string) bool { return strings.HasPrefix(s, "scopes_missing") }) {
		t.Errorf("reported %q", w.reported())
	}
}

// Google gives a refresh token at the first consent alone.
func TestASecondConsentWithoutARefreshTokenKeepsTheFirst(t *testing.T) {
	for why, c := range map[string]struct {
		change func(*connection.Connection)
		want   string
	}{
		"the same account":           {func(*connection.Connection) {}, "first"},
		"an account without a name":  {func(c *connection.Connection) { c.AccountLabel = "" }, ""},
		"another place":              {func(c *connection.Connection) { c.Variables = map[string]string{"realm": "2"} }, ""},
		"a grant that has ended":     {func(c *connection.Connection) { c.Status = connection.Expired }, ""},
		"a grant to another client":  {func(c *connection.Connection) { c.Granted.ClientID = "another" }, ""},
		"a grant of somebody else's": {func(c *connection.Connection) { c.Granted.Issuer = "https://evil.example" }, ""},
	} {
		w := newWorld(t, gives(oauth.Grant{RefreshToken: secret.New("first")}))
		b := newBrowser(w)
		b.get(b.consent(w.link(alice), "alice")).want(t, http.StatusOK, "Connected as alice@acme.example")
		conn := w.connection()
		c.change(&conn)
		if _, err := w.vault.Save(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		w.reload(func(cfg *connect.Config) {
			cfg.Exchanger = &oauth.Client{Transport: w, Now: w.clock.now}
			gives(oauth.Grant{})(cfg)
		})
		w.clock.pass(time.Hour)
		b = newBrowser(w)
		b.get(b.consent(w.link(alice), "alice")).want(t, http.StatusOK, "Connected as alice@acme.example")
		if got := w.connection().RefreshToken.Reveal(); got != c.want {
			t.Errorf("%s: the refresh token is %q", why, got)
		}
	}
}

// QuickBooks sends its realmId along, and others what they like.
func TestACallbackMayCarryMore(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	callback := b.consent(w.link(alice), "alice") + "&realmId=123&scope=read&hmac=x"
	b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
}

func TestATokenThatHasEndedAndIsNotRenewedIsShownSo(t *testing.T) {
	w := newWorld(t, gives(oauth.Grant{RefreshToken: secret.New("r"), ExpiresAt: newClock().now().Add(time.Hour)}))
	b := newBrowser(w)
	b.get(b.consent(w.link(alice), "alice")).want(t, http.StatusOK, "Connected as alice@acme.example")
	w.clock.pass(2 * time.Hour)
	w.wantStatus(t, connection.Active, "") // the next call renews it
	w.cfg.Toolkits["acme"].Toolkit.OAuth.NoRefresh = true
	w.wantStatus(t, connection.Expired, connection.NoRefreshToken)
}

func TestAConnectionWhoseTokenIsNotSavedIsShownAsDegraded(t *testing.T) {
	unsaved := false
	w := newWorld(t, gives(oauth.Grant{RefreshToken: secret.New("r")}), func(cfg *connect.Config) {
		cfg.Unsaved = func(k connection.Key) bool { return unsaved && k.User == alice.User && k.Toolkit == "acme" }
	})
	b := newBrowser(w)
	b.get(b.consent(w.link(alice), "alice")).want(t, http.StatusOK, "Connected as alice@acme.example")
	for _, unsaved = range []bool{false, true} {
		if answer := w.wantStatus(t, connection.Active, ""); answer.Degraded != unsaved {
			t.Errorf("not saved %v: degraded %v", unsaved, answer.Degraded)
		}
	}
}

// The user consents again, at a provider that gives no second refresh token, while a
// write fails or somebody else writes the record, such as `keys reseal`.
func TestARefreshTokenThatStaysInUseIsNeverOutOfTheStore(t *testing.T) {
	for name, happens := range map[string]func(w *world, key string) error{
		"a write fails": func(*world, string) error { return store.ErrUnavailable },
		"somebody else writes": func(w *world, key string) error {
			r, err := w.store.Store.Get(t.Context(), key)
			if err == nil {
				r.Version++
				err = w.store.Store.Put(t.Context(), r)
			}
			return err
		},
	} {
		for nth := 1; nth <= 3; nth++ {
			w := newWorld(t)
			b := newBrowser(w)
			b.connect(w.link(alice), "alice")
			first := w.connection().RefreshToken
			w.reload(gives(oauth.Grant{}))
			writes := 0
			w.store.failWith(func(op, key string) error {
				if op != "put" || !strings.HasPrefix(key, "connection/") {
					return nil
				}
				if conn := w.connection(); !conn.RefreshToken.Equal(first) {
					t.Errorf("%s at write %d: the refresh token is out of the store", name, nth)
				}
				if writes++; writes == nth {
					return happens(w, key)
				}
				return nil
			})
			b.connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
			w.store.failWith(nil)
			if conn := w.connection(); !conn.RefreshToken.Equal(first) || conn.AccountLabel != "alice@acme.example" {
				t.Errorf("%s at write %d: %s, %q", name, nth, conn.RefreshToken.Reveal(), conn.AccountLabel)
			}
		}
	}
}

func TestAnAccountIsNamedThoughSomebodyElseWrites(t *testing.T) {
	w := newWorld(t)
	writes := 0
	w.store.failWith(func(op, key string) error {
		if op == "put" && strings.HasPrefix(key, "connection/") {
			if writes++; writes == 2 {
				r, err := w.store.Store.Get(t.Context(), key)
				if err == nil {
					r.Version++
					err = w.store.Store.Put(t.Context(), r)
				}
				return err
			}
		}
		return nil
	})
	newBrowser(w).connect(w.link(alice), "alice")
	if conn := w.connection(); conn.AccountLabel != "alice@acme.example" {
		t.Errorf("named %q", conn.AccountLabel)
	}
}

func TestALabelIsNotPutOnAnotherAccount(t *testing.T) {
	w := newWorld(t, func(cfg *connect.Config) {
		e := cfg.Toolkits["acme"]
		real := e.Upstream
		e.Upstream = upstream(func(r *http.Request) (*http.Response, error) {
			w := real.(*world) // while the provider is asked, the user connects as bob elsewhere
			conn := w.connection()
			conn.AccessToken, conn.AccountLabel = secret.New("bobs"), "bob"
			if _, err := w.vault.Save(t.Context(), conn); err != nil {
				t.Error(err)
			}
			return real.RoundTrip(r)
		})
		cfg.Toolkits["acme"] = e
	})
	newBrowser(w).connect(w.link(alice), "alice")
	if conn := w.connection(); conn.AccountLabel != "bob" {
		t.Errorf("bob's token is called %q", conn.AccountLabel)
	}
}
