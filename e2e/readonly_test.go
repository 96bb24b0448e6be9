// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// writes is what an agent gets that changes something for alice.
func (w *world) writes() (status int, body string) {
	w.t.Helper()
	r, err := http.NewRequest("POST", w.toolgate+"/acme/v1/me", strings.NewReader("{}"))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Toolgate-Key", agentKey)
	r.Header.Set("X-User-Id", "alice")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

func TestAPersonAllowsReadingOnly(t *testing.T) {
	w := withApplication(t, append([]string{"reads GET HEAD"}, twoAgents...)...)
	_, _, link := w.answered(agentKey)
	alice := newPerson(t, w)
	alice.opens(w.acme + "/app/login?as=alice")
	alice.opens(link)
	alice.presses("Sign in at")
	alice.sees("Reading only", "change nothing")
	alice.do(alice.clickOn("label", "Reading only"))
	alice.look("reads")
	alice.presses("Continue to Acme")
	alice.do(alice.clickOn("label", "Alice"))
	alice.presses("Sign in")
	alice.presses("Allow")
	alice.sees("Connected as alice@acme.example", "Reading only")
	alice.look("reads-done")
	if status, body := w.writes(); status != http.StatusForbidden || !strings.Contains(body, `"rule":"read_only"`) {
		t.Errorf("a call that changes something: %d %s", status, body)
	}
	if status, _, _ := w.answered(agentKey); status != http.StatusOK {
		t.Errorf("a call that reads: %d", status)
	}
	alice.opens(w.toolgate + "/connections")
	alice.sees("Reading only", "Allow changes too")
	alice.look("reads-mine")
	alice.presses("Allow changes too")
	alice.sees("can change things with this account again")
	if status, body := w.writes(); strings.Contains(body, "read_only") {
		t.Errorf("once that is allowed: %d %s", status, body)
	}
	_, _, link = w.answered(billingKey)
	alice.opens(link)
	alice.sees("Let billing-bot use Acme?", "for all who use this connection")
	alice.do(alice.clickOn("label", "Reading only"))
	alice.look("reads-approve")
	alice.presses("Allow")
	alice.sees("Allowed", "Reading only")
	if status, _ := w.writes(); status != http.StatusForbidden {
		t.Errorf("the first agent, for which it holds too: %d", status)
	}
}
