// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
)

func TestAUserConnectsAndSeesWhichAccount(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	link := w.link(alice)
	p := b.get(link)
	p.want(t, http.StatusOK, "Connect Acme?")
	for _, text := range []string{"support-bot", "user-1", "offline_access", "acme.example", "15 more minutes"} {
		if !strings.Contains(p.text, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
	p = b.connect(link, "alice")
	p.want(t, http.StatusOK, "Connected as alice@acme.example")
	if p.address != link {
		t.Errorf("the last address is %s: a code must not stay in the history", p.address)
	}
	w.connectedAs(t, "alice@acme.example")
	if got := w.audit.text(); got != "link_started, connected" {
		t.Errorf("audit: %s", got)
	}
	if got := w.acme.Stats().TokenRequests; got != 1 {
		t.Errorf("%d token requests", got)
	}
}

// connectedAs checks the stored connection, with a call that its token must pay for.
func (w *world) connectedAs(t *testing.T, label string) {
	t.Helper()
	conn := w.connection()
	if conn.Status != connection.Active || conn.AccountLabel != label || !strings.HasPrefix(conn.ID, "conn_") {
		t.Errorf("stored: %+v", conn)
	}
	if conn.RefreshToken.IsZero() || !conn.ExpiresAt.Equal(w.clock.now().Add(time.Hour)) || strings.Join(conn.Scopes, " ") != "offline_access read" {
		t.Errorf("stored: %+v", conn)
	}
	want := connection.Grantee{Issuer: acmeURL, ClientID: "toolgate", Hosts: []string{acmeURL}}
	if got := conn.Granted; got.Issuer != want.Issuer || got.ClientID != want.ClientID || strings.Join(got.Hosts, " ") != acmeURL {
		t.Errorf("granted for %+v, want %+v", got, want)
	}
	if last := w.told[len(w.told)-1]; last.Version != conn.Version || !last.AccessToken.Equal(conn.AccessToken) {
		t.Errorf("told of version %d, stored is %d", last.Version, conn.Version)
	}
	r, _ := http.NewRequest(http.MethodGet, acmeURL+"/v1/me", nil)
	r.Header.Set("Authorization", "Bearer "+conn.AccessToken.Reveal())
	if res, err := w.RoundTrip(r); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("a call with the stored token: %v %v", res, err)
	}
}

func TestConnectingAgainRenewsTheSameConnection(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(w)
	b.connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	first := w.connection()
	w.clock.pass(time.Hour)
	newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	second := w.connection()
	if second.ID != first.ID || !second.CreatedAt.Equal(first.CreatedAt) || second.Version <= first.Version {
		t.Errorf("was %+v, is %+v", first, second)
	}
	if second.AccessToken.Equal(first.AccessToken) {
		t.Error("the old token is still there")
	}
	w.connectedAs(t, "alice@acme.example")
}

func TestAConnectionThatEndedIsActiveAgain(t *testing.T) {
	w := newWorld(t)
	_, err := w.vault.Save(t.Context(), connection.Connection{
		Key: aliceKey, ID: "conn_old", Status: connection.Expired, Reason: connection.RefreshRejected,
		RefreshToken: secret.New("spent"), Intent: &connection.Intent{ID: "i", Since: w.clock.now()}, CreatedAt: w.clock.now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	newBrowser(w).connect(w.link(alice), "alice")
	conn := w.connection()
	if conn.ID != "conn_old" || conn.Status != connection.Active || conn.Reason != "" || conn.Intent != nil {
		t.Errorf("stored: %+v", conn)
	}
}

func TestTheAccountIsNamedAsFarAsTheProviderSays(t *testing.T) {
	long := strings.Repeat("é", 500)
	for _, c := range []struct {
		name, answer string
		status       int
		heading      string
	}{
		{"its name", `{"user":{"email":"a@b.example"}}`, 200, "Connected as a@b.example"},
		{"markup", `{"user":{"email":"<script>alert(1)</script>"}}`, 200, "Connected as <script>alert(1)</script>"},
		{"control characters", `{"user":{"email":"a\u0000\u202e\nb"}}`, 200, "Connected as a\ufffd0000\ufffd202e\ufffd000ab"},
		{"a novel", `{"user":{"email":"` + long + `"}}`, 200, "Connected as " + long[:2*87] + "\ufffd" + hashed(long)[:32]},
		{"a number", `{"user":{"email":7}}`, 200, "Acme is connected"},
		{"another shape", `{"user":[]}`, 200, "Acme is connected"},
		{"nothing", ``, 200, "Acme is connected"},
		{"an error", `{"user":{"email":"a@b.example"}}`, 500, "Acme is connected"},
		{"too much", `{"user":{"email":"a"},"x":"` + strings.Repeat("x", 1<<20) + `"}`, 200, "Acme is connected"},
		{"no answer", ``, 0, "Acme is connected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(cfg *connect.Config) {
				e := cfg.Toolkits["acme"]
				e.Toolkit.Identity.Field = "user.email"
				e.Upstream = upstream(func(*http.Request) (*http.Response, error) {
					if c.status == 0 {
						return nil, errors.New("the line is dead")
					}
					return &http.Response{StatusCode: c.status, Body: io.NopCloser(strings.NewReader(c.answer))}, nil
				})
				cfg.Toolkits["acme"] = e
			})
			newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, c.heading)
			if w.connection().Status != connection.Active {
				t.Error("not connected")
			}
		})
	}
}

func TestTheIdentityCallIsLikeAnyOtherCallOfTheToolkit(t *testing.T) {
	var seen *http.Request
	w := newWorld(t)
	e := w.cfg.Toolkits["acme"]
	e.Upstream = upstream(func(r *http.Request) (*http.Response, error) {
		seen = r
		return w.RoundTrip(r)
	})
	w.reload(func(cfg *connect.Config) { cfg.Toolkits["acme"] = e })
	newBrowser(w).connect(w.link(alice), "alice")
	if seen.URL.String() != acmeURL+"/v1/me" || seen.Header.Get("X-Api-Version") != "7" {
		t.Errorf("asked %s with %v", seen.URL, seen.Header)
	}
}

func TestTheGrantIsKeptBeforeTheAccountIsAsked(t *testing.T) {
	w := newWorld(t)
	e := w.cfg.Toolkits["acme"]
	e.Upstream = upstream(func(*http.Request) (*http.Response, error) {
		// A process that dies here has lost a label, no more.
		if w.connection().Status != connection.Active || len(w.told) != 1 {
			t.Error("the account is asked before the grant is kept")
		}
		return nil, errors.New("the line is dead")
	})
	w.reload(func(cfg *connect.Config) { cfg.Toolkits["acme"] = e })
	newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, "Acme is connected")
}

func TestALabelDoesNotOverwriteWhatCameMeanwhile(t *testing.T) {
	w := newWorld(t)
	e := w.cfg.Toolkits["acme"]
	e.Upstream = upstream(func(r *http.Request) (*http.Response, error) {
		renewed := w.connection()
		renewed.AccessToken = secret.New("renewed")
		if _, err := w.vault.Save(t.Context(), renewed); err != nil {
			t.Error(err)
		}
		return w.RoundTrip(r)
	})
	w.reload(func(cfg *connect.Config) { cfg.Toolkits["acme"] = e })
	newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	if got := w.connection().AccessToken.Reveal(); got != "renewed" {
		t.Errorf("the token is %q: the label brought an old one back", got)
	}
}

func TestAProviderThatNamesNoScopesGaveWhatWasAsked(t *testing.T) {
	w := newWorld(t, func(cfg *connect.Config) { cfg.Exchanger = granting })
	b := newBrowser(w)
	b.get(comeBack(t, b.toProvider(w.link(alice)).address, "code", "c"))
	if got := strings.Join(w.connection().Scopes, " "); got != "read offline_access" {
		t.Errorf("scopes: %s", got)
	}
}

// granting is a token endpoint that always says yes.
var granting = exchanger(func(context.Context, string, string) (oauth.Grant, error) {
	return oauth.Grant{AccessToken: secret.New("access-token-marker"), RefreshToken: secret.New("refresh-token-marker")}, nil
})

func TestABrowserThatIsClosedHalfWayLosesNothing(t *testing.T) {
	ctx, hangUp := context.WithCancel(t.Context())
	w := newWorld(t, func(cfg *connect.Config) {
		cfg.Exchanger = exchanger(func(ctx context.Context, code, verifier string) (oauth.Grant, error) {
			hangUp()
			if err := ctx.Err(); err != nil {
				return oauth.Grant{}, err
			}
			return granting(ctx, code, verifier)
		})
	})
	b := newBrowser(w)
	link := w.link(alice)
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, comeBack(t, b.toProvider(link).address, "code", "c"), nil)
	b.addCookies(r)
	if _, err := w.RoundTrip(r); err != nil {
		t.Fatal(err)
	}
	if got := w.connection().AccessToken.Reveal(); got != "access-token-marker" {
		t.Errorf("stored %q", got)
	}
	b.get(link).want(t, http.StatusOK, "Acme is connected")
}

func TestAnAccountThatIsNotExpectedIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.cfg.Toolkits["acme"].Toolkit.ExpectAccount = []string{"alice@acme.example"}
	b := newBrowser(w)
	p := b.connect(w.link(alice), "bob")
	p.want(t, http.StatusOK, "Connect Acme?")
	if !strings.Contains(p.text, "not the one that is expected") || strings.Contains(p.text, "bob") {
		t.Errorf("the page:\n%s", p.text)
	}
	w.notConnected()
	w.wantReported("failed other_account")
	if n := w.acme.Stats().Revocations; n != 1 {
		t.Errorf("%d grants were given back", n)
	}
	if got := w.audit.text(); got != "link_started, connect_failed other_account" {
		t.Errorf("audit: %s", got)
	}
	newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	if n := w.acme.Stats().Revocations; n != 1 {
		t.Errorf("%d grants were given back", n)
	}
}
