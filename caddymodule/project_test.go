// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestTheProjectLinkIsOneAddressForEverybody(t *testing.T) {
	w := newWorld(t)
	t.Setenv("BOT_KEY", "bot-key-0123456789")
	w.load(w.caddyfile("", `verify_user caddy_auth {http.auth.user.id}
		project_link bot
		agent bot {
			key {env.BOT_KEY}
			acts_for alice
		}`, signedInSite))
	address := w.public() + "/connect"
	p := newPerson(t)
	if p.get(address); p.status != http.StatusUnauthorized {
		t.Errorf("without a name: %d", p.status)
	}
	p.name = "bob"
	if page := p.get(address); p.status != http.StatusForbidden || !strings.Contains(page, "This page is not for you") {
		t.Errorf("bob, for whom the agent does not act: %d\n%s", p.status, page)
	}
	p.name = "alice"
	page := p.submit(p.get(address), address, "")
	page = p.submit(page, p.at, "")
	page = p.submit(page, p.at, "login")
	page = p.submit(page, p.at, "allow")
	if !strings.Contains(page, "Connected as alice@acme.example") {
		t.Fatalf("at the end:\n%s", page)
	}
	if page := p.get(address); !strings.Contains(page, "Everything is connected") {
		t.Errorf("and after that:\n%s", page)
	}
}
