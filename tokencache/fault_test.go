// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// expired gives a gateway whose token's time has passed.
func expired(t *testing.T, w *world) *Source {
	t.Helper()
	w.connect(key("ada"))
	g := w.gateway()
	w.token(g, key("ada"))
	time.Sleep(2 * time.Hour)
	return g
}

func TestAPassingFaultNeverAsksToConnect(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.before = func(int, string) error { return away(true, 0) }
		var asked []time.Duration
		for start := time.Now(); time.Since(start) < 5*time.Minute; time.Sleep(100 * time.Millisecond) {
			before := w.provider.count()
			p := w.refused(g, key("ada"), problem.RefreshUnavailable)
			if p.RetryAfter <= 0 || p.RetryAfter > time.Minute {
				t.Fatalf("Retry-After %v", p.RetryAfter)
			}
			if w.provider.count() > before {
				asked = append(asked, time.Since(start))
			}
		}
		for i, want := range []int{0, 1, 3, 7, 15, 31, 63, 123, 183, 243} {
			if i >= len(asked) || asked[i] != time.Duration(want)*time.Second {
				t.Fatalf("asked after %v: attempt %d should be after %d s", asked, i, want)
			}
		}
		w.wantCalls(10, "3000 calls are no reason to ask more")
		if w.stored(key("ada")).Status != connection.Active || w.stored(key("ada")).Intent != nil {
			t.Error("the connection has changed")
		}
		w.provider.before = nil
		time.Sleep(time.Minute)
		w.token(g, key("ada"))
		// It starts from the beginning with the next fault.
		w.provider.before = func(int, string) error { return away(true, 0) }
		time.Sleep(2 * time.Hour)
		if p := w.refused(g, key("ada"), problem.RefreshUnavailable); p.RetryAfter != time.Second {
			t.Errorf("Retry-After %v after a refresh that worked", p.RetryAfter)
		}
	})
}

func TestTheProvidersRetryAfterIsObeyed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.before = func(int, string) error { return away(true, 10*time.Minute) }
		for _, want := range []time.Duration{10 * time.Minute, 6 * time.Minute, 2 * time.Minute} {
			if p := w.refused(g, key("ada"), problem.RefreshUnavailable); p.RetryAfter != want {
				t.Errorf("Retry-After %v, want %v", p.RetryAfter, want)
			}
			time.Sleep(4 * time.Minute)
		}
		w.wantCalls(1, "as it asked")
	})
}

func TestWhileATokenEndpointRestsAnothersLuckIsSeen(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.before = func(call int, _ string) error {
			if call == 1 {
				return away(true, time.Hour)
			}
			return nil
		}
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		w.token(w.gateway(), key("ada"))
		w.token(g, key("ada"))
		w.wantCalls(2, "the second was the other gateway's")
	})
}

func TestConnectingAgainEndsTheRest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.before = func(int, string) error { return away(true, time.Hour) }
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		g.Put(w.connect(key("ada")))
		w.token(g, key("ada"))
	})
}

func TestInvalidGrantExpiresTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.before = func(int, string) error { return invalidGrant }
		for range 10 {
			w.unusable(g, key("ada"), connection.Expired, connection.RefreshRejected)
		}
		w.unusable(w.gateway(), key("ada"), connection.Expired, connection.RefreshRejected)
		w.wantCalls(1, "a definite no is asked for once")
		if c := w.stored(key("ada")); c.Status != connection.Expired || c.Intent != nil {
			t.Errorf("stored: %s, intent %v", c.Status, c.Intent)
		}
		if len(w.told(Ended)) != 1 {
			t.Errorf("told %v", w.told(Ended))
		}
	})
}

func TestInvalidGrantDoesNotOverwriteWhatAUserDid(t *testing.T) {
	for _, status := range []connection.Status{connection.Inactive, connection.Revoked} {
		bubble(t, func(t *testing.T, w *world) {
			g := expired(t, w)
			w.provider.before = func(int, string) error {
				w.change(key("ada"), func(c *connection.Connection) { c.Status, c.Reason = status, "by hand" })
				return invalidGrant
			}
			w.unusable(g, key("ada"), status, "by hand")
			if got := w.stored(key("ada")).Status; got != status {
				t.Errorf("stored: %s", got)
			}
		})
	}
}

func TestInvalidGrantForATokenThatWasReplacedIsNoEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.before = func(int, string) error {
			w.change(key("ada"), func(c *connection.Connection) { // renewed elsewhere, and that has expired too
				c.AccessToken, c.RefreshToken, c.ExpiresAt = secret.New("a2"), secret.New("r2"), time.Now().Add(-time.Second)
			})
			return invalidGrant
		}
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		if got := w.stored(key("ada")).Status; got != connection.Active {
			t.Errorf("stored: %s", got)
		}
	})
}

func TestInvalidGrantSurvivesALabelThatChanges(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		changed := false
		w.provider.before = func(int, string) error {
			w.store.breaks(func(op, _ string) error {
				if op == "put" && !changed { // between the look and the write
					changed = true
					w.change(key("ada"), func(c *connection.Connection) { c.AccountLabel = "new" })
				}
				return nil
			})
			return invalidGrant
		}
		w.unusable(g, key("ada"), connection.Expired, connection.RefreshRejected)
		if c := w.stored(key("ada")); c.AccountLabel != "new" || c.Status != connection.Expired {
			t.Errorf("stored: %q, %s", c.AccountLabel, c.Status)
		}
	})
}

func TestARefusedClientIsTheOperatorsBusiness(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.before = func(int, string) error { return invalidClient }
		for range 20 {
			p := w.refused(g, key("ada"), problem.CredentialRejected)
			if p.RetryAfter != 0 || p.HTTPStatus() != 502 {
				t.Errorf("Retry-After %v, status %d: sending again mends nothing", p.RetryAfter, p.HTTPStatus())
			}
			time.Sleep(10 * time.Millisecond)
		}
		w.wantCalls(1, "the endpoint rests")
		if c := w.stored(key("ada")); c.Status != connection.Active || c.Intent != nil {
			t.Errorf("stored: %s, intent %v", c.Status, c.Intent)
		}
		w.provider.before = nil
		time.Sleep(time.Minute)
		w.token(g, key("ada")) // mended
		if len(w.told(Misplaced)) != 1 || len(w.told(Interrupted)) != 0 {
			t.Errorf("told %v", w.events)
		}
	})
}

func TestAStoreThatIsDownNeverAsksToConnect(t *testing.T) {
	for _, op := range []string{"get", "put", "lease"} {
		bubble(t, func(t *testing.T, w *world) {
			g := expired(t, w)
			w.store.down(op)
			for range 3 {
				w.refused(g, key("ada"), problem.StorageUnavailable)
				if op == "get" {
					w.refused(w.gateway(), key("ada"), problem.StorageUnavailable)
				}
			}
			w.wantCalls(0, "nothing is spent that cannot be saved")
			w.store.up()
			w.token(g, key("ada"))
		})
	}
}

func TestALongWaitForTheLeaseDoesNotShortenTheTokenRequest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.provider.delay = 25 * time.Second
		if _, err := w.store.Store.Lease(t.Context(), leaseName(key("ada")), leaseLife); err != nil {
			t.Fatal(err) // somebody took the lease and died
		}
		start := time.Now()
		w.token(g, key("ada"))
		if took := time.Since(start); took < leaseLife || took > leaseLife+30*time.Second {
			t.Errorf("took %v", took)
		}
		w.wantCalls(1, "in full, though the lease took long")
	})
}

func TestAKeyThatIsMissingIsNamed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.connect(key("ada"))
		ring, err := seal.ParseRing(strings.Repeat("fedcba9876543210", 4))
		if err != nil {
			t.Fatal(err)
		}
		old, err := seal.ParseRing(strings.Repeat("0123456789abcdef", 4))
		if err != nil {
			t.Fatal(err)
		}
		w.vault = vault.New(w.store, ring)
		p := w.refused(w.gateway(), key("ada"), problem.KeyMissing)
		if !strings.Contains(p.Detail, old.PrimaryID()) {
			t.Errorf("%q does not name %s", p.Detail, old.PrimaryID())
		}
	})
}

func TestFaultsOfOneUserDoNotTouchAnother(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		other := connection.Key{Tenant: "blue", User: "ada", Toolkit: "acme"}
		w.connect(other)
		time.Sleep(2 * time.Hour)
		w.provider.before = func(_ int, token string) error {
			if strings.HasPrefix(token, "acme.") {
				return away(true, time.Hour)
			}
			return nil
		}
		w.refused(g, key("ada"), problem.RefreshUnavailable)
		w.token(g, other)
	})
}

func TestAConflictWithoutEndIsAPassingFault(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := expired(t, w)
		w.store.breaks(func(op, _ string) error {
			if op == "put" {
				return store.ErrConflict
			}
			return nil
		})
		p := w.refused(g, key("ada"), problem.RefreshUnavailable)
		if !errors.Is(p, store.ErrConflict) {
			t.Errorf("because of %v", errors.Unwrap(p))
		}
		w.wantCalls(0, "the intent could not be written")
	})
}
