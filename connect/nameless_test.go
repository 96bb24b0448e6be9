// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/toolkit"
)

// passing are faults of the call that names the account.
var passing = map[string]func(*http.Request) (*http.Response, error){
	"500":      answering(http.StatusInternalServerError, `{"email":"alice@acme.example"}`),
	"503":      answering(http.StatusServiceUnavailable, ""),
	"429":      answering(http.StatusTooManyRequests, ""),
	"408":      answering(http.StatusRequestTimeout, ""),
	"no way":   func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
	"too slow": func(*http.Request) (*http.Response, error) { return nil, context.DeadlineExceeded },
}

func (w *world) naming(toolkitID string, answer func(*http.Request) (*http.Response, error)) {
	e := w.cfg.Toolkits[toolkitID]
	e.Upstream = upstream(answer)
	w.reload(func(cfg *connect.Config) { cfg.Toolkits[toolkitID] = e })
}

const tryAgain = "could not be asked just now whose account this is"

// While nobody knows whose account it is, the one that is connected is neither lost nor
// made another's.
func TestAReconnectThatCannotBeComparedJustNowChangesNothing(t *testing.T) {
	for name, fault := range passing {
		t.Run(name, func(t *testing.T) {
			w, _ := connected(t)
			before := w.connection()
			w.naming("acme", fault)
			b, link := newBrowserAs(w, alice.User), w.link(alice)
			p := b.connect(link, "bob")
			p.want(t, http.StatusOK, "Connect Acme?")
			p.says(t, tryAgain)
			if now := w.connection(); now.Version != before.Version || !now.AccessToken.Equal(before.AccessToken) {
				t.Errorf("was %+v and is %+v", before, now)
			}
			w.wantReported("failed account_unknown")
			if n := w.acme.Stats().Revocations; n != 0 {
				t.Errorf("%d grants were revoked, and what is connected may live on them", n)
			}
			w.naming("acme", w.RoundTrip)
			newBrowserAs(w, alice.User).connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
		})
	}
}

func TestAnAnswerThatNamesNobodyIsNoFaultThatPasses(t *testing.T) {
	w, _ := connected(t)
	w.naming("acme", answering(http.StatusNotFound, ""))
	newBrowserAs(w, alice.User).connect(w.link(alice), "alice").want(t, http.StatusOK, "Acme is connected")
}

func TestAFirstConnectionDoesNotWaitForItsName(t *testing.T) {
	w := newWorld(t)
	w.naming("acme", passing["503"])
	newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, "Acme is connected")
}

// Whoever is expected may have signed in.
func TestExpectAccountRefusesNobodyForAFaultThatPasses(t *testing.T) {
	w := newWorld(t)
	w.cfg.Toolkits["acme"].Toolkit.ExpectAccount = []string{"alice@acme.example"}
	w.naming("acme", passing["503"])
	p := newBrowser(w).connect(w.link(alice), "alice")
	p.says(t, tryAgain)
	w.notConnected()
}

func TestAKeyWhoseAccountCannotBeComparedJustNowChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		expect []string
		there  bool
		kept   bool
	}{
		"the first one":           {nil, false, true},
		"one is there":            {nil, true, false},
		"a certain one is wanted": {[]string{"ada@acme.example"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, threeToolkits(t), behindASite)
			e := w.cfg.Toolkits["keys"]
			e.Toolkit.Probe, e.Toolkit.Identity, e.Toolkit.ExpectAccount = "/probe", &toolkit.Identity{Path: "/me", Field: "email"}, c.expect
			w.reload(func(cfg *connect.Config) { cfg.Toolkits["keys"] = e })
			b := newBrowserAs(w, alice.User)
			if c.there {
				b.press(b.get(w.linkFor(alice, "keys")), "key.key", goodKey)
			}
			key := connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: "keys"}
			before, _ := w.vault.Load(t.Context(), key)
			w.naming("keys", func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/me") {
					return says(http.StatusBadGateway, ""), nil
				}
				return says(http.StatusOK, ""), nil
			})
			p := b.press(b.get(w.linkFor(alice, "keys")), "key.key", goodKey)
			now, err := w.vault.Load(t.Context(), key)
			if kept := err == nil && now.Version != before.Version; kept != c.kept {
				t.Errorf("kept: %v, %v\n%s", kept, err, p.text)
			}
			if !c.kept {
				p.says(t, tryAgain)
			}
		})
	}
}

// Another browser connects an account while the key is being looked at.
func TestAKeyIsNotPutInThePlaceOfAnAccountThatCameMeanwhile(t *testing.T) {
	w := newWorld(t, threeToolkits(t), behindASite)
	e := w.cfg.Toolkits["keys"]
	e.Toolkit.Probe, e.Toolkit.Identity = "/probe", &toolkit.Identity{Path: "/me", Field: "email"}
	w.reload(func(cfg *connect.Config) { cfg.Toolkits["keys"] = e })
	b, link := newBrowserAs(w, alice.User), w.linkFor(alice, "keys")
	key := connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: "keys"}
	w.naming("keys", func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/me") {
			return says(http.StatusBadGateway, ""), nil
		}
		return says(http.StatusOK, ""), nil
	})
	p := b.get(link)
	issuer, _ := e.Toolkit.Grantee()
	w.store.before("put", "connection", func() {
		_, err := w.vault.Save(t.Context(), connection.Connection{
			Key: key, ID: "conn_first", Status: connection.Active, AccountLabel: "bob@acme.example", Granted: connection.Grantee{Issuer: issuer},
		})
		if err != nil {
			t.Error(err)
		}
	})
	b.press(p, "key.key", goodKey).says(t, tryAgain)
	if c, err := w.vault.Load(t.Context(), key); err != nil || c.ID != "conn_first" || c.Version != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
