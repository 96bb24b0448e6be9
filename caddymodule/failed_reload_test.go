// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/toolgate/toolgate/tokencache/seal"
)

// brokenConfigurations fail in different ways. Each has another agent, status and
// life of links too, none of which may have an effect.
func (w *world) brokenConfigurations() map[string]string {
	w.t.Setenv("STRANGER_KEY", "tgk_stranger_0123456789abcdef0123456789")
	w.t.Setenv("ANOTHER_KEY", seal.NewKey())
	w.t.Setenv("FTP_URL", "ftp://localhost")
	const stranger = "agent stranger {\nkey {env.STRANGER_KEY}\nacts_for any\n}\nauth_required_status 401\nlink_life 1m\n"
	with := func(global, option string) string { return w.caddyfile(global, stranger+option, "") }
	usual := w.caddyfile("", "", "")
	site := usual[strings.LastIndex(usual, "\nhttp://localhost"):]
	return map[string]string{
		"our Provision":                    with("", "agent bot {\n\t\t\ttoolkits nowhere\n\t\t}"),
		"our Provision, before the store":  strings.Replace(with("", ""), "public_url "+w.public(), "public_url {env.FTP_URL}", 1),
		"another app's Provision":          with("test_fails provision", ""),
		"another app's Start":              with("test_fails start", ""),
		"the key is not set":               with("", "encryption_key {env.NOT_SET}"),
		"another key than the store's":     with("", "encryption_key {env.ANOTHER_KEY}"),
		"a store that cannot be opened":    strings.Replace(with("", ""), "connections.db", "no/such\x00/file", 1),
		"another store, and then no start": strings.Replace(with("test_fails start", ""), "connections.db", "other.db", 1),
		"a directory in place of the log":  strings.Replace(with("", ""), "/audit.log", "", 1),
		"an address that is taken":         with("", "") + "\nhttp://" + strings.TrimPrefix(w.origin, "http://") + " {\nbind 127.0.0.1\n}\n",
		"a site without the global option": "{\nadmin off\npersist_config off\n}\n" + site,
	}
}

func TestAFailedReloadLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	w.reload(w.caddyfile("", "link_life 6m", ""))
	before := w.rest()
	for why, broken := range w.brokenConfigurations() {
		duringStart = func() {}
		if err := w.tryLoad(broken); err == nil {
			t.Errorf("%s: this loads:\n%s", why, broken)
		}
		w.handedOver()
		w.good(w.ask(t.Context(), "v1/me?")) // without a key
		if status, body := w.call("GET", "/acme/v1/me", "X-User-Id", "bob"); status != http.StatusForbidden {
			t.Errorf("%s: bob, who is not connected: %d %s", why, status, body)
		}
	}
	w.reload(w.caddyfile("", "link_life 7m", "")) // closes the connections of these calls
	w.backTo(before)
	w.refreshed(0)
}

// Caddy starts its apps in random order. The HTTP app may take calls for a new
// configuration that fails a moment later in another app.
func TestAConfigurationThatFailsServesNobody(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	broken := w.brokenConfigurations()["another app's Start"]
	first := 0
	duringStart = func() {
		if caddy.ListenerUsage("tcp", w.address) == 2 {
			first++ // the HTTP app came before
		}
		for range 20 {
			w.good(w.ask(t.Context(), "v1/me?"))
		}
	}
	for tries := 0; first < 3 && tries < 60; tries++ {
		if err := w.tryLoad(broken); err == nil {
			t.Fatal("this loads")
		}
		w.handedOver()
	}
	if first < 3 {
		t.Error("the HTTP app was never started first")
	}
}

// In the same random order, a call may come before our own Start, when nothing runs yet
// that could serve it.
func TestACallMayComeBeforeStart(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	if !hasOpen(t, w.store()) {
		t.Fatal("the store is not open")
	}
	early := 0
	duringStart = func() {
		if caddy.ListenerUsage("tcp", w.address) == 1 && !hasOpen(t, w.store()) {
			early++ // the HTTP app has started, and we have not
			w.good(w.ask(t.Context(), "v1/me?"))
		}
	}
	for tries := 0; early == 0 && tries < 200; tries++ {
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the listener is closed", func() bool { return caddy.ListenerUsage("tcp", w.address) == 0 })
		w.load(w.caddyfile("test_fails nowhere", "", ""))
	}
	if early == 0 {
		t.Error("we were always started first")
	}
}

// duringStart is what failingApp does before it fails.
var duringStart func()

// failingApp is another app of Caddy's.
type failingApp struct {
	In string `json:"in"`
}

func (*failingApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "test_fails", New: func() caddy.Module { return new(failingApp) }}
}

func (a *failingApp) Provision(ctx caddy.Context) error {
	if a.In != "provision" {
		return nil
	}
	if _, err := ctx.App("toolgate"); err != nil { // which has its references then
		return err
	}
	return errors.New("as told")
}

func (a *failingApp) Start() error {
	duringStart()
	if a.In == "nowhere" {
		return nil
	}
	return errors.New("as told")
}

func (a *failingApp) Stop() error { return nil }

func init() {
	caddy.RegisterModule(new(failingApp))
	httpcaddyfile.RegisterGlobalOption("test_fails", func(d *caddyfile.Dispenser, _ any) (any, error) {
		d.Next()
		d.NextArg()
		text, err := json.Marshal(failingApp{d.Val()})
		return httpcaddyfile.App{Name: "test_fails", Value: text}, err
	})
}
