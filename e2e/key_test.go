// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestAPersonEntersAKey(t *testing.T) {
	acme := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Acme-Key") != "good-key" || r.Header.Get("X-Acme-App") != "good-app" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"email":"alice@acme.example"}`)
	}))
	defer acme.Close()
	w := configured(t, acme.URL, "", `api_key per_user {
				field key "API key" {
					header X-Acme-Key
				}
				field app "Application key" {
					header X-Acme-App
				}
				help "Both are in your settings, below Developer."
				help_url ACME/help
			}
			identity /v1/me email`)
	alice := newPerson(t, w)
	link := w.asked("alice")
	alice.opens(link)
	alice.sees("Connect Acme?", "API key", "Application key", "Both are in your settings", "Where do I find this?", "is checked with")
	alice.look("key")

	// From the keyboard: the first field, the second, and Enter.
	alice.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("good-key"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("typo"))
	alice.goes(chromedp.KeyEvent(kb.Enter))
	alice.sees("does not accept what you entered")
	if left := finds(alice, chromedp.Evaluate[string](`[...document.querySelectorAll("input:not([type=hidden])")].map((e) => e.value).join("")`)); left != "" {
		t.Errorf("the form still holds %q", left)
	}
	alice.look("key-refused")

	alice.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("good-key"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("good-app"))
	alice.presses("Connect Acme")
	alice.sees("Connected as alice@acme.example")
	alice.look("key-done")
	w.works("alice")
}
