// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// shops is a provider with a sign-in of its own for each shop. Once it is told to, it
// takes no token any more.
func shops(t *testing.T) (origin string, ended *atomic.Bool) {
	t.Helper()
	ended = new(atomic.Bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shop, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch {
		case shop == "v1" && (ended.Load() || r.Header.Get("Authorization") != "Bearer north-token"):
			w.WriteHeader(http.StatusUnauthorized)
		case shop == "v1":
			fmt.Fprint(w, `{"email":"alice@acme.example"}`)
		case rest == "authorize":
			q := r.URL.Query()
			http.Redirect(w, r, q.Get("redirect_uri")+"?code="+shop+"-code&state="+q.Get("state"), http.StatusFound)
		case rest == "token" && r.PostFormValue("code") == shop+"-code":
			fmt.Fprintf(w, `{"access_token":"%s-token"}`, shop)
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, ended
}

func TestAPersonSaysWhichShopIsTheirs(t *testing.T) {
	acme, ended := shops(t)
	w := configured(t, acme, "", `variable shop {
				from asked "Your shop's name"
				segment id 40
				help "It stands in the address of your shop's admin, before the first dot."
				help_url ACME/help
			}
			oauth2 {
				authorize_url ACME/{shop}/authorize
				token_url ACME/{shop}/token
				client_id toolgate
				client_secret {file.FOLDER/secret}
				scopes read_products read_orders
			}
			identity /v1/me email`)
	alice := newPerson(t, w)
	link := w.asked("alice")
	alice.opens(link)
	alice.sees("Connect Acme?", "Your shop's name", "Such as your-shop", "It stands in the address", "Where do I find this?")
	alice.look("asked")

	// From the keyboard: the field, what cannot be right, and Enter.
	alice.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("my shop"))
	if status := alice.goes(chromedp.KeyEvent(kb.Enter)); status != http.StatusUnprocessableEntity {
		t.Errorf("it is answered with %d", status)
	}
	alice.sees("That does not fit here")
	said := finds(alice, chromedp.Evaluate[string](`(() => {
		const field = document.activeElement;
		return [field.name, field.value, field.getAttribute("aria-invalid"),
			...field.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).innerText)].join("|");
	})()`))
	if want := "said.shop|my shop|true|That does not fit here. Enter it as in the example, or paste the whole address.|Such as your-shop|It stands in the address of your shop's admin, before the first dot."; said != want {
		t.Errorf("the field that has the focus: %s", said)
	}
	alice.look("asked-wrong")

	alice.do(alice.clickOn("input[aria-invalid]", ""))
	_ = finds(alice, chromedp.Evaluate[bool](`document.activeElement.select() || true`))
	alice.types(acme + "/north/authorize?x=1")
	alice.goes(chromedp.KeyEvent(kb.Enter))
	alice.sees("Connected as alice@acme.example", "Your shop's name", "north")
	alice.look("asked-done")
	w.works("alice")

	// Made anew it is the same one.
	ended.Store(true)
	link = w.asked("alice")
	ended.Store(false)
	alice.opens(link)
	alice.sees("Connect Acme?", "north")
	alice.hides("Such as")
	alice.look("asked-before")
	alice.presses("Continue to Acme")
	alice.sees("Connected as alice@acme.example")
	w.works("alice")

	alice.do(command(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": "de"}}))
	alice.opens(w.asked("bob"))
	alice.sees("Acme verbinden?", "Zum Beispiel your-shop")
	alice.do(alice.clickOn("input[type=text]", ""))
	alice.types("..")
	alice.goes(chromedp.KeyEvent(kb.Enter))
	alice.sees("Das passt hier nicht")
	alice.look("asked-german")
}
