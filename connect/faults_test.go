// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

const (
	sorry   = "That did not work just now"
	confirm = "Connect Acme?"
)

func TestWhatTheProviderRefusesIsSaidInOurWords(t *testing.T) {
	for _, c := range []struct{ code, notice, reason string }{
		{"access_denied", "You declined, so nothing was connected.", "denied"},
		{"invalid_scope", "Only whoever runs this service can mend that.", "misconfigured"},
		{"unauthorized_client", "Only whoever runs this service can mend that.", "misconfigured"},
		{"server_error", "The other service has a problem at the moment.", "unavailable"},
		{"temporarily_unavailable", "The other service has a problem at the moment.", "unavailable"},
		{"<script>alert(1)</script>", "That did not work.", "failed"},
		{strings.Repeat("x", 10_000), "That did not work.", "failed"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld(t)
			b, link := newBrowser(w), w.link(alice)
			p := b.get(comeBack(t, b.toProvider(link).address, "error", c.code, "iss", acmeURL,
				"error_description", "<img src=x onerror=alert(1)>call 555-EVIL", "error_uri", "https://evil.example"))
			p.want(t, http.StatusOK, confirm)
			if p.address != link || !strings.Contains(p.text, c.notice) {
				t.Errorf("at %s:\n%s", p.address, p.text)
			}
			for _, foreign := range []string{"evil", "EVIL", "onerror", "xxxxx", "script"} {
				if strings.Contains(p.text, foreign) {
					t.Errorf("the page says %q", foreign)
				}
			}
			if got := w.audit.text(); got != "link_started, connect_failed "+c.reason {
				t.Errorf("audit: %s", got)
			}
			w.wantReported("denied " + c.reason)
			w.notConnected()
			// Somebody else with the link is not told, and the user may try again.
			if p := newBrowser(w).get(link); strings.Contains(p.text, c.notice) {
				t.Error("another browser is told")
			}
			b.connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
		})
	}
}

func TestAUserWhoDeclinesAtAcmeMayChangeTheirMind(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	p := b.get(b.answer(b.toProvider(link), "alice", "deny"))
	if p.want(t, http.StatusOK, confirm); !strings.Contains(p.text, "You declined") {
		t.Error("the page does not say what happened")
	}
	b.connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	if p := b.get(link); strings.Contains(p.text, "You declined") {
		t.Error("the notice is still there")
	}
}

func TestACallbackWithNeitherCodeNorErrorFails(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	p := b.get(comeBack(t, b.toProvider(link).address))
	if p.want(t, http.StatusOK, confirm); !strings.Contains(p.text, "That did not work.") {
		t.Error("the page does not say that it failed")
	}
	w.notConnected()
}

func TestAnErrorCountsMoreThanACode(t *testing.T) {
	w := newWorld(t)
	b, link := newBrowser(w), w.link(alice)
	b.get(comeBack(t, b.toProvider(link).address, "code", "c", "error", "access_denied")).want(t, http.StatusOK, confirm)
	if w.acme.Stats().TokenRequests != 0 {
		t.Error("the code was spent")
	}
}

func TestATokenEndpointThatGivesNothingConnectsNothing(t *testing.T) {
	for _, c := range []struct {
		name, notice, reason string
		err                  error
	}{
		{"refuses the code", "That did not work.", "failed", &oauth.Refused{Code: "invalid_grant", Status: 400}},
		{"refuses the client", "Only whoever runs this service can mend that.", "misconfigured", &oauth.Refused{Code: "invalid_client", Status: 401}},
		{"is down", "The other service has a problem at the moment.", "unavailable", fmt.Errorf("exchanging: %w", &oauth.Unavailable{})},
		{"is odd", "That did not work.", "failed", errors.New("odd")},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			w := newWorld(t, func(cfg *connect.Config) {
				cfg.Exchanger = exchanger(func(context.Context, string, string) (oauth.Grant, error) {
					asked++
					return oauth.Grant{}, c.err
				})
			})
			b, link := newBrowser(w), w.link(alice)
			callback := comeBack(t, b.toProvider(link).address, "code", "c")
			for range 2 { // and once more, with the back button
				p := b.get(callback)
				if p.want(t, http.StatusOK, confirm); p.address != link || !strings.Contains(p.text, c.notice) {
					t.Errorf("at %s:\n%s", p.address, p.text)
				}
			}
			if asked != 1 {
				t.Errorf("the code was sent %d times", asked)
			}
			w.wantReported("failed " + c.reason)
			w.notConnected()
		})
	}
}

// TestAStoreThatFailsLosesNothing lets each access to the store fail, one at a time,
// from the first press of the button to the last page.
func TestAStoreThatFailsLosesNothing(t *testing.T) {
	for _, c := range []struct {
		fault   string
		started bool   // the flow is under way when the store begins to fail
		again   string // what the same callback leads to when the store works again
	}{
		{"get link", false, ""}, {"put link", false, ""}, {"put flow", false, ""},
		{"get flow", true, "Connected as alice@acme.example"},
		{"get link", true, "Connected as alice@acme.example"},
		{"put flow", true, "Connected as alice@acme.example"},
		{"put link", true, confirm}, // the state is spent, to be on the safe side
		{"get connection", true, confirm},
		{"put connection", true, confirm},
	} {
		t.Run(fmt.Sprintf("%s, started %v", c.fault, c.started), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // saving is tried for seconds
				w := newWorld(t)
				b, link := newBrowser(w), w.link(alice)
				form, callback := b.get(link), ""
				if c.started {
					callback = b.consent(link, "alice")
				}
				op, kind, _ := strings.Cut(c.fault, " ")
				w.store.failing(op, kind)
				p := &page{}
				if c.started {
					p = b.get(callback)
				} else {
					p = b.press(form)
				}
				p.want(t, http.StatusServiceUnavailable, sorry)
				if p.header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
				w.wantNothingHalf(t)
				if c.started {
					b.get(callback).want(t, http.StatusOK, c.again)
				}
				if c.again != "Connected as alice@acme.example" {
					newBrowser(w).connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
				}
			})
		})
	}
}

func (w *world) wantNothingHalf(t *testing.T) {
	t.Helper()
	w.store.works()
	w.notConnected()
	if len(w.told) != 0 {
		t.Error("somebody was told of a connection")
	}
	for _, e := range w.events {
		if e.Err != nil && !errors.Is(e.Err, store.ErrUnavailable) {
			t.Errorf("reported %+v", e)
		}
	}
}

func TestAStoreThatStumblesIsTriedAgain(t *testing.T) {
	for _, fault := range []string{"get connection", "put connection", "put link"} {
		t.Run(fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				e := w.cfg.Exchanger
				w.reload(func(cfg *connect.Config) {
					cfg.Exchanger = exchanger(func(ctx context.Context, code, verifier string) (oauth.Grant, error) {
						w.store.stumble(fault, 4)
						return e.Exchange(ctx, cfg.Toolkits["acme"].Toolkit.OAuth, code, verifier, connect.RedirectURI(cfg.PublicURL, "acme"))
					})
				})
				newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
				w.connectedAs(t, "alice@acme.example")
			})
		})
	}
}

// stumble makes an operation fail for a number of times.
func (s *spyStore) stumble(fault string, times int) {
	op, kind, _ := strings.Cut(fault, " ")
	s.failWith(func(o, key string) error {
		if times == 0 || o != op || !strings.HasPrefix(key, kind+"/") {
			return nil
		}
		times--
		return fmt.Errorf("%w: stumbled", store.ErrUnavailable)
	})
}

func TestAGrantThatIsKeptIsShownEvenIfTheLinkCannotSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b, link := newBrowser(w), w.link(alice)
		callback := b.consent(link, "alice")
		w.reload(func(cfg *connect.Config) {
			cfg.Connected = func(connection.Connection) { w.store.failing("put", "link") }
		})
		b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
		w.wantReported("trouble conclude")
		w.store.works()
		if w.connection().RefreshToken.IsZero() {
			t.Error("nothing was kept")
		}
	})
}

func TestARefreshThatComesBetweenIsReadAgain(t *testing.T) {
	w := newWorld(t)
	newBrowser(w).connect(w.link(alice), "alice")
	b := newBrowser(w)
	callback := b.consent(w.link(alice), "alice")
	conflicts := 2
	w.store.failWith(func(op, key string) error {
		if op == "put" && strings.HasPrefix(key, "connection/") && conflicts > 0 {
			conflicts--
			w.store.bump(key)
		}
		return nil
	})
	b.get(callback).want(t, http.StatusOK, "Connected as alice@acme.example")
	if conflicts != 0 {
		t.Errorf("%d conflicts are left: nothing was read again", conflicts)
	}
}

func TestWithoutAuditNothingIsDone(t *testing.T) {
	full := errors.New("the disk is full")
	t.Run("no flow begins", func(t *testing.T) {
		w := newWorld(t)
		b, link := newBrowser(w), w.link(alice)
		w.audit.fail = func(audit.Event) error { return full }
		b.press(b.get(link)).want(t, http.StatusServiceUnavailable, sorry)
		if w.store.count("flow") != 0 {
			t.Error("a flow was begun")
		}
		w.wantReported("trouble audit")
	})
	t.Run("no grant is kept", func(t *testing.T) {
		w := newWorld(t)
		b, link := newBrowser(w), w.link(alice)
		callback := b.consent(link, "alice")
		w.audit.fail = func(audit.Event) error { return full }
		b.get(callback).want(t, http.StatusServiceUnavailable, sorry)
		w.notConnected()
		w.audit.fail = nil
		if p := b.get(link); !strings.Contains(p.text, "we could not save the access") {
			t.Error("the page does not say what happened")
		}
		b.connect(link, "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	})
}

func TestANewGrantTakesThePlaceOfARecordThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	name := vault.Name("connection", aliceKey.Tenant, aliceKey.User, aliceKey.Toolkit, "")
	if err := w.vault.Put(t.Context(), vault.Document{Name: name, Plain: []byte("{}"), Version: 1}); err != nil {
		t.Fatal(err)
	}
	newBrowser(w).connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
	w.connectedAs(t, "alice@acme.example")
}
