// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestAUserComesBackToTheApplication(t *testing.T) {
	w := newWorld(t)
	t.Setenv("BOT_KEY", "bot-key-0123456789")
	app := w.origin + "/extra/app?from=chat"
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "the application: %s, referrer %q", r.URL.RawQuery, r.Referer())
	})
	w.load(w.caddyfile("", `agent bot {
			key {env.BOT_KEY}
			acts_for alice
			callback_urls `+app+`
		}`, ""))
	call := func(address string) (int, string) {
		return w.call("GET", "/acme/v1/me", "X-Toolgate-Key", "bot-key-0123456789", "X-Toolgate-Callback", address)
	}
	if status, body := call(app + "x"); status != http.StatusBadRequest || !strings.Contains(body, "callback_urls") {
		t.Errorf("another address: %d %s", status, body)
	}
	_, body := call(app)
	_, rest, _ := strings.Cut(body, `"connect_url":"`)
	link, _, _ := strings.Cut(rest, `"`)
	p := newPerson(t)
	page := p.submit(p.get(link), link, "")
	page = p.submit(page, p.at, "login")
	if page = p.submit(page, p.at, "allow"); page != `the application: from=chat&status=connected&toolkit=acme, referrer ""` {
		t.Errorf("at the end:\n%s", page)
	}
	if status, body := call(app); status != http.StatusOK {
		t.Errorf("the call: %d %s", status, body)
	}
}
