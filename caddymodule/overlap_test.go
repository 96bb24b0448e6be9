// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// newOverlap is a world whose first configuration, "one", has n calls at the provider.
func newOverlap(t *testing.T, n int, refreshes *door) (w *world, calls *door, held []<-chan answer) {
	t.Helper()
	w, calls = newWorld(t), newDoor()
	w.hold(calls, refreshes)
	w.load(w.named("one", w.caddyfile("", "", "")))
	w.connect()
	for range n {
		held = append(held, w.ask(t.Context(), "held"))
	}
	calls.expect(t, n, "one")
	return w, calls, held
}

// elsewhere is the configuration "two", with a store of its own.
func (w *world) elsewhere() string {
	return w.named("two", strings.Replace(w.caddyfile("", "", ""), "connections.db", "other.db", 1))
}

func (w *world) store() string { return filepath.Join(w.dir, "connections.db") }

// restart shows what is saved: no memory is left of what was not.
func (w *world) restart() {
	w.t.Helper()
	if err := caddy.Stop(); err != nil {
		w.t.Fatal(err)
	}
	w.load(w.caddyfile("", "", ""))
}

func TestTwoConfigurationsAtWorkShareOneRefresh(t *testing.T) {
	const each = 25
	w, calls, held := newOverlap(t, each, nil)
	w.reload(w.named("two", w.caddyfile("", "", "")))
	for range each {
		held = append(held, w.ask(t.Context(), "held"))
	}
	calls.expect(t, each, "two")
	w.acme.ExpireAccessTokens()
	close(calls.open)
	w.good(held...)
	w.refreshed(1)
	w.restart()
	w.good(w.ask(t.Context(), "now"))
	w.refreshed(1)
}

// The token's end and a 401 are two ways into the same refresh.
func TestATokenThatEndsDuringAReloadIsRenewedOnce(t *testing.T) {
	const each, life = 25, 1
	w, calls := newWorld(t), newDoor()
	w.hold(calls, nil)
	inner := w.front
	var ends time.Time
	w.front = func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path != "/token" || !bodyHas(r, "grant_type=authorization_code") {
			inner(rw, r, next)
			return
		}
		// The provider says that the token lives for a second; in truth it is an hour.
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var tokens map[string]any
		_ = json.Unmarshal(answer.Body.Bytes(), &tokens)
		tokens["expires_in"] = life
		ends = time.Now().Add(life * time.Second)
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(tokens)
	}
	w.load(w.named("one", w.caddyfile("", "", "")))
	w.connect()
	var held []<-chan answer
	for range each {
		held = append(held, w.ask(t.Context(), "held"))
	}
	calls.expect(t, each, "one")
	w.reload(w.named("two", w.caddyfile("", "", "")))
	time.Sleep(time.Until(ends.Add(50 * time.Millisecond))) // the token's end is a moment, not an event
	w.acme.ExpireAccessTokens()
	close(calls.open)
	for range each {
		held = append(held, w.ask(t.Context(), "held"))
	}
	w.good(held...)
	w.refreshed(1)
}

// The answer to a call comes when its configuration is long gone.
func TestACallOfAnOldConfigurationSavesTheTokenThatItRenews(t *testing.T) {
	for name, next := range map[string]func(w *world) string{
		"the same store": func(w *world) string { return w.named("two", w.caddyfile("", "", "")) },
		"another store":  (*world).elsewhere,
		"no Toolgate any more": func(*world) string {
			return "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n}\n"
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, calls, held := newOverlap(t, 3, nil)
			w.load(next(w))
			w.acme.ExpireAccessTokens()
			close(calls.open)
			w.good(held...)
			w.refreshed(1)
			w.restart()
			w.good(w.ask(t.Context(), "now"))
			w.refreshed(1)
		})
	}
}

func TestTheOldStoreClosesAfterItsLastRequest(t *testing.T) {
	w, calls, held := newOverlap(t, 2, nil)
	w.reload(w.elsewhere())
	if a := <-w.ask(t.Context(), "now"); a.status != http.StatusForbidden || !strings.Contains(a.body, "no_connection") {
		t.Errorf("the other store has no connection: %d %s, %v", a.status, a.body, a.err)
	}
	if !hasOpen(t, w.store()) {
		t.Error("the old store was closed while requests need it")
	}
	close(calls.open)
	w.good(held...)
	eventually(t, "the old store is closed", func() bool { return !hasOpen(t, w.store()) })
	w.reload(w.named("one", w.caddyfile("", "", "")))
	w.good(w.ask(t.Context(), "now"))
	eventually(t, "the other store is closed", func() bool { return !hasOpen(t, filepath.Join(w.dir, "other.db")) })
	w.refreshed(0)
}

func TestAReloadThereAndBackFindsTheStoreInUse(t *testing.T) {
	w, calls, held := newOverlap(t, 2, nil)
	w.reload(w.elsewhere())
	w.reload(w.named("three", w.caddyfile("", "", "")))
	held = append(held, w.ask(t.Context(), "held"))
	calls.expect(t, 1, "three")
	w.acme.ExpireAccessTokens()
	close(calls.open)
	w.good(held...)
	w.refreshed(1)
}

func TestAReloadInTheMiddleOfARefreshLosesNothing(t *testing.T) {
	refreshes := newDoor()
	w, calls, _ := newOverlap(t, 0, refreshes)
	close(calls.open)
	w.acme.ExpireAccessTokens()
	first := w.ask(t.Context(), "now")
	refreshes.expect(t, 1, "")
	w.reload(w.named("two", w.caddyfile("", "", "")))
	second := w.ask(t.Context(), "held") // refused with 401 too
	calls.expect(t, 1, "two")
	close(refreshes.open)
	w.good(first, second)
	w.refreshed(1)
	w.restart()
	w.good(w.ask(t.Context(), "now"))
	w.refreshed(1)
}

// Nobody waits for the refresh any more: neither a request nor a configuration.
func TestARefreshThatEverybodyLeftIsSaved(t *testing.T) {
	refreshes := newDoor()
	w, calls, _ := newOverlap(t, 0, refreshes)
	close(calls.open)
	w.acme.ExpireAccessTokens()
	ctx, hangUp := context.WithCancel(t.Context())
	gone := w.ask(ctx, "now")
	refreshes.expect(t, 1, "")
	w.reload(w.elsewhere())
	hangUp()
	<-gone
	back := make(chan struct{})
	go func() { // it may have to wait for the store
		defer close(back)
		w.load(w.named("three", w.caddyfile("", "", "")))
	}()
	close(refreshes.open)
	<-back
	w.handedOver()
	w.good(w.ask(t.Context(), "now"))
	w.refreshed(1)
}

// A provider that asks to be left alone is, also by the next configuration.
func TestAReloadForgetsNothingThatIsKnownOfAToken(t *testing.T) {
	w, calls, _ := newOverlap(t, 0, nil)
	close(calls.open)
	inner := w.front
	var refused atomic.Int64
	w.front = func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == "/token" {
			refused.Add(1)
			rw.Header().Set("Retry-After", "60")
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		inner(rw, r, next)
	}
	w.acme.ExpireAccessTokens()
	for range 3 {
		if a := <-w.ask(t.Context(), "now"); a.err != nil || a.status < 500 {
			t.Errorf("%d %s, %v", a.status, a.body, a.err)
		}
		w.reload(w.named("two", w.caddyfile("", "", "")))
	}
	if n := refused.Load(); n != 1 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

// Another directive may hold a request for a while. It comes to us after Cleanup, when
// the old store is closed.
func TestARequestThatComesAfterCleanupIsServed(t *testing.T) {
	before := newDoor()
	waiting.Store(before)
	w, calls, _ := newOverlap(t, 0, nil)
	close(calls.open)
	one := w.named("one", w.caddyfile("order test_wait first", "", "test_wait"))
	w.reload(one)
	late := w.ask(t.Context(), "now")
	before.expect(t, 1, "")
	w.reload(w.elsewhere())
	eventually(t, "the old store is closed", func() bool { return !hasOpen(t, w.store()) })
	w.acme.ExpireAccessTokens()
	close(before.open)
	w.good(late)
	eventually(t, "the old store is closed again", func() bool { return !hasOpen(t, w.store()) })
	w.restart()
	w.good(w.ask(t.Context(), "now"))
	w.refreshed(1)
}

// waiting is the door of the directive test_wait.
var waiting atomic.Pointer[door]

type waitHandler struct{}

func (waitHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_wait", New: func() caddy.Module { return waitHandler{} }}
}

func (waitHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	waiting.Load().wait(r)
	return next.ServeHTTP(w, r)
}

func init() {
	caddy.RegisterModule(waitHandler{})
	httpcaddyfile.RegisterHandlerDirective("test_wait", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return waitHandler{}, nil
	})
}
