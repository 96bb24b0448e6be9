// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// An operator seals everything anew while a refresh token is on its way to the
// provider: what comes back is saved all the same.
func TestSealingAnewDoesNotLoseARefreshThatIsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.provider.delay = 3 * time.Second
		time.Sleep(2 * time.Hour)
		oldKey, newKey := strings.Repeat("0123456789abcdef", 4), strings.Repeat("fedcba9876543210", 4)
		gateways, err := seal.ParseRing(oldKey + "\n" + newKey) // it knows the new key, and seals with the old one
		if err != nil {
			t.Fatal(err)
		}
		operators, err := seal.ParseRing(newKey + "\n" + oldKey)
		if err != nil {
			t.Fatal(err)
		}
		w.vault = vault.New(w.store, gateways)
		got := make(chan string, 1)
		g := w.gateway()
		go func() { got <- w.token(g, key("ada")).AccessToken.Reveal() }()
		time.Sleep(time.Second)
		done, err := custody.New(w.store.Store, operators, nil).Reseal(t.Context(), custody.Step{})
		if err != nil || done.Resealed != 1 {
			t.Fatalf("%+v, %v", done, err)
		}
		fresh := <-got
		w.wantCalls(1, "the refresh token was spent once")
		if c := w.stored(key("ada")); c.AccessToken.Reveal() != fresh || !strings.HasSuffix(fresh, "/2") || c.Intent != nil {
			t.Errorf("the call got %s, and %s is stored", fresh, c.AccessToken.Reveal())
		}
	})
}

func TestARefreshKeepsWhatALaterVersionHasAdded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		w.change(key("ada"), func(c *connection.Connection) { c.Beyond = secret.New(`{"proof_key":"x"}`) })
		time.Sleep(2 * time.Hour)
		w.token(w.gateway(), key("ada"))
		w.wantCalls(1, "the token had ended")
		if got := w.stored(key("ada")).Beyond.Reveal(); got != `{"proof_key":"x"}` {
			t.Errorf("it is %q", got)
		}
	})
}
