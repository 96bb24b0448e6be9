// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const billingKey = "the-billing-bots-own-key"

// twoAgents are two programs of one operator's.
var twoAgents = []string{
	"agent helper {\n\t\t\tkey {file.FOLDER/agent}\n\t\t\tacts_for any\n\t\t}",
	"agent billing-bot {\n\t\t\tkey {file.FOLDER/billing}\n\t\t\tacts_for any\n\t\t}",
}

// answered is what an agent gets for alice.
func (w *world) answered(key string) (status int, reason, link string) {
	w.t.Helper()
	r, err := http.NewRequest("GET", w.toolgate+"/acme/v1/me", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Toolgate-Key", key)
	r.Header.Set("X-User-Id", "alice")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	var said struct {
		Connection struct{ Reason string }
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		w.t.Fatalf("%d %s", res.StatusCode, text)
	}
	return res.StatusCode, said.Connection.Reason, said.ConnectURL
}

func TestAPersonDecidesWhichAssistantsUseAnAccount(t *testing.T) {
	w := withApplication(t, twoAgents...)
	_, _, link := w.answered(agentKey)
	alice := newPerson(t, w)
	alice.opens(w.acme + "/app/login?as=alice")
	alice.opens(link)
	alice.presses("Sign in at")
	alice.presses("Continue to Acme")
	alice.do(alice.clickOn("label", "Alice"))
	alice.presses("Sign in")
	alice.presses("Allow")
	alice.sees("Connected as alice@acme.example")

	_, reason, link := w.answered(billingKey)
	if reason != "agent_not_approved" {
		t.Fatalf("the other one: %s", reason)
	}
	alice.opens(link)
	alice.sees("Let billing-bot use Acme?", "alice@acme.example", "helper")
	alice.look("approve")
	alice.presses("Do not allow")
	alice.sees("This link was called off")
	_, _, link = w.answered(billingKey)
	alice.opens(link)
	alice.do(chromedp.KeyEvent(kb.Tab)) // nothing needs a mouse
	alice.goes(chromedp.KeyEvent(kb.Enter))
	alice.sees("Allowed", "billing-bot can use Acme for you from now on")
	alice.look("approved")
	if status, reason, _ := w.answered(billingKey); status != http.StatusOK {
		t.Errorf("once it is allowed: %d %s", status, reason)
	}

	alice.opens(w.toolgate + "/connections")
	alice.sees("Who may use it", "billing-bot", "helper")
	alice.look("mine-agents")
	alice.presses("Take back")
	alice.sees("That assistant does not use this account any more", "not any more")
	alice.look("mine-agents-taken-back")
	if status, reason, _ := w.answered(billingKey); status != http.StatusForbidden || reason != "agent_not_approved" {
		t.Errorf("once it is taken back: %d %s", status, reason)
	}
	if status, _, _ := w.answered(agentKey); status != http.StatusOK {
		t.Errorf("the other one: %d", status)
	}
	alice.do(alice.clickOn("summary", "Rename"))
	alice.do(alice.clickOn("input[name=label]", ""))
	alice.types("My work")
	alice.look("mine-rename")
	alice.goes(alice.clickOn("details button", "Rename"))
	alice.sees("The name was changed.", "My work")
	alice.presses("Connect another account")
	alice.sees("You asked for an account of Acme to be connected.")
	alice.look("another-account")
}
