// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const tokenLife = 3 * time.Second

// asked makes a call that is refused and gives the link for the user.
func (w *world) asked(user string) string {
	w.t.Helper()
	got := w.call(user)
	var refusal struct {
		Code       string `json:"code"`
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal([]byte(got.body), &refusal); err != nil || got.status != 403 || refusal.Code != "auth_required" {
		w.t.Fatalf("the call is answered %d %s, want 403 auth_required", got.status, got.body)
	}
	if !strings.HasPrefix(refusal.ConnectURL, w.toolgate+"/connect/") {
		w.t.Fatalf("the link is %q", refusal.ConnectURL)
	}
	return refusal.ConnectURL
}

// works expects the call to be answered with Alice's data.
func (w *world) works(user string) {
	w.t.Helper()
	if got := w.call(user); got.status != 200 || !strings.Contains(got.body, `"alice@acme.example"`) {
		w.t.Errorf("the call is answered %d %s, want 200 with Alice's data", got.status, got.body)
	}
}

// signsIn goes from the link to Acme's consent page.
func (p *person) signsIn(link string) {
	p.t.Helper()
	if status := p.opens(link); status != 200 {
		p.t.Fatalf("the link answers %d", status)
	}
	p.presses("Continue to Acme")
	p.do(p.clickOn("label", "Alice"))
	p.presses("Sign in")
	p.sees("wants to use your Acme account", "alice@acme.example")
}

func TestAPersonConnectsOnceAndTheAgentGoesOnWorking(t *testing.T) {
	w := demo(t, t.TempDir(), "--token-life", tokenLife.String())
	alice := newPerson(t, w)

	link := w.asked("alice")
	alice.opens(link)
	alice.sees("Connect Acme?", "Acme", "alice")
	alice.look("connect")
	alice.presses("Continue to Acme")
	alice.sees("Sign in to Acme")
	alice.look("acme-login")
	alice.presses("Sign in")
	alice.sees("wants to use your Acme account", "alice@acme.example")
	alice.look("acme-consent")
	if status := alice.presses("Allow"); status != 200 {
		t.Errorf("the last page answers %d", status)
	}
	connected := time.Now()
	alice.sees("Connected as alice@acme.example")
	w.works("alice")
	if address := finds(alice, chromedp.Location()); address != link {
		t.Errorf("the last page is at %s: what came back from Acme must not stay in the history", address)
	}
	alice.look("connected")

	// Acme's clock runs in the other process and cannot be set from here, so this
	// is the one place where real time has to pass.
	select {
	case <-time.After(time.Until(connected.Add(tokenLife + time.Second))):
	case <-t.Context().Done():
	}
	w.works("alice")
	w.prints("token refreshed")
	w.stopsCleanly(os.Interrupt)

	w = w.again("--token-life", tokenLife.String())
	w.prints("alice is still connected from an earlier run")
	w.works("alice")
	w.stopsCleanly(syscall.SIGTERM)
}
