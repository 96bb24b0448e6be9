// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/toolkit"
)

// strays is a world in which only alice's account is expected, and bob signs in while the
// provider cannot be told that his grant is not kept.
func strays(t *testing.T) (w *world, tried *[]string, away *bool) {
	tried, away = new([]string), new(bool)
	*away = true
	w = newWorld(t, behindASite, func(cfg *connect.Config) {
		cfg.Revoker = revoker(func(access, _ string) error {
			*tried = append(*tried, access)
			if *away {
				return errors.New("it is away")
			}
			return nil
		})
	})
	w.cfg.Toolkits["acme"].Toolkit.ExpectAccount = []string{"alice@acme.example"}
	return w, tried, away
}

func TestAGrantThatIsNotKeptIsGivenBackLaterWhereTheProviderIsAway(t *testing.T) {
	for _, style := range []toolkit.RevokeStyle{"", toolkit.RevokeDelete} {
		w, tried, away := strays(t)
		w.cfg.Toolkits["acme"].Toolkit.OAuth.RevokeStyle = style
		p := newBrowserAs(w, alice.User).connect(w.link(alice), "bob")
		if p.want(t, http.StatusOK, "Connect Acme?"); !strings.Contains(p.text, "not the one that is expected here") {
			t.Errorf("the page says\n%s", p.text)
		}
		w.notConnected()
		w.wantReported("revocation_pending")
		if w.store.count("revocation") != 1 || len(*tried) != 1 {
			t.Fatalf("%d on paper, tried %d times", w.store.count("revocation"), len(*tried))
		}
		if strings.Contains(w.store.dump(), (*tried)[0]) {
			t.Error("the token is there for everybody to read")
		}
		for range 2 {
			w.clock.pass(revokePause)
			if done, left, err := w.service.RetryRevocations(t.Context()); done != 0 || left != 1 || err != nil {
				t.Errorf("while it is away: %d done, %d left, %v", done, left, err)
			}
		}
		// The right account is connected meanwhile, by the same client, and loses nothing.
		newBrowserAs(w, alice.User).connect(w.link(alice), "alice").want(t, http.StatusOK, "Connected as alice@acme.example")
		*away = false
		w.clock.pass(3 * revokePause)
		if done, left, err := w.service.RetryRevocations(t.Context()); done != 1 || left != 0 || err != nil {
			t.Errorf("%d done, %d left, %v", done, left, err)
		}
		if all := slices.Compact(*tried); len(all) != 1 || len(*tried) != 4 || w.store.count("revocation") != 0 {
			t.Errorf("%d tokens were tried %d times, %d are left", len(all), len(*tried), w.store.count("revocation"))
		}
		if w.connection().AccessToken.Reveal() == (*tried)[0] {
			t.Error("the one that is connected was revoked")
		}
	}
}

// Of one client and one account, most providers have one grant, which the retry would end.
func TestAGrantThatWasNotKeptStaysWhereItCameToBeNeeded(t *testing.T) {
	for name, style := range map[string]toolkit.RevokeStyle{"the whole grant": "", "that token alone": toolkit.RevokeDelete} {
		w, tried, away := strays(t)
		w.cfg.Toolkits["acme"].Toolkit.OAuth.RevokeStyle = style
		newBrowserAs(w, alice.User).connect(w.link(alice), "bob")
		w.cfg.Toolkits["acme"].Toolkit.ExpectAccount = nil
		newBrowserAs(w, alice.User).connect(w.link(alice), "bob").want(t, http.StatusOK, "Connected as bob@acme.example")
		*away = false
		w.clock.pass(3 * revokePause)
		if done, left, err := w.service.RetryRevocations(t.Context()); done != 1 || left != 0 || err != nil || w.store.count("revocation") != 0 {
			t.Errorf("%s: %d done, %d left, %v", name, done, left, err)
		}
		if len(*tried) != 1 {
			t.Errorf("%s: %d tries", name, len(*tried))
		}
	}
}

func TestAGrantThatCannotBeNotedIsGivenBackAtOnce(t *testing.T) {
	w, tried, away := strays(t)
	*away = false
	w.store.failing("put", "revocation")
	newBrowserAs(w, alice.User).connect(w.link(alice), "bob").want(t, http.StatusOK, "Connect Acme?")
	if len(*tried) != 1 {
		t.Errorf("%d tries", len(*tried))
	}
}
