// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// agrees goes from a link to the provider's last page, as a person whom the application
// knows by that name, with an account of the provider's.
func (p *person) agrees(w *world, as, link, account string) {
	p.t.Helper()
	p.opens(w.acme + "/app/login?as=" + as)
	p.opens(link)
	p.presses("Sign in at")
	p.presses("Continue to Acme")
	p.do(p.clickOn("label", account))
	p.presses("Sign in")
}

// answer is the latest address to which the provider has sent this browser.
func (p *person) answer() string {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		p.watcher.mu.Lock()
		all := p.watcher.answers
		p.watcher.mu.Unlock()
		if len(all) > 0 {
			return all[len(all)-1]
		}
	}
	p.t.Fatal("the provider has sent nobody back")
	return ""
}

// holdsBack has the provider's answer come to a browser that does not know of it any more,
// so that it is good still, as who wants to have somebody else open it.
func (p *person) holdsBack(w *world) string {
	p.t.Helper()
	for _, c := range p.cookies(w) {
		p.do(command(network.DeleteCookies, network.DeleteCookiesParams{Name: c.Name, URL: w.toolgate}))
	}
	p.presses("Allow")
	p.sees("started in another browser")
	return p.answer()
}

func TestAnAnswerIsGoodInTheBrowserThatAskedAlone(t *testing.T) {
	w := withApplication(t)
	alice := newPerson(t, w)
	mallory := alice.another(w)

	// Mallory agrees with her own account, and has alice open the answer.
	mallory.agrees(w, "mallory", w.asked("mallory"), "Bob")
	address := mallory.holdsBack(w)
	alice.opens(w.acme + "/app/login?as=alice")
	alice.opens(w.asked("alice"))
	alice.presses("Sign in at")
	alice.sees("Connect Acme?")
	if status := alice.opens(address); status < 400 {
		t.Errorf("mallory's answer in alice's browser: %d", status)
	}
	alice.sees("This sign-in was started in another browser", "To keep your accounts safe")
	alice.look("attack-other-browser")
	link := w.asked("alice") // nothing is connected for her

	// The other way round: alice's, used and then stolen.
	alice.opens(link)
	alice.presses("Continue to Acme")
	alice.do(alice.clickOn("label", "Alice"))
	alice.presses("Sign in")
	alice.presses("Allow")
	alice.sees("Connected as alice@acme.example")
	stolen := alice.answer()
	if status := mallory.opens(stolen); status < 400 {
		t.Errorf("alice's answer in mallory's browser: %d", status)
	}
	mallory.sees("This sign-in was started in another browser", "If somebody sent you here, do not go on")
	mallory.look("attack-replayed")
	// Once more by herself, with the button for that: it tells what came of it, and no more.
	if status := alice.opens(stolen); status >= http.StatusInternalServerError {
		t.Errorf("alice's own, once more: %d", status)
	}
	if page := alice.reads(); !strings.Contains(page, "Connected as alice@acme.example") && !strings.Contains(page, "finished before") {
		t.Errorf("the page says:\n%s", page)
	}
	w.works("alice")
	w.asked("mallory") // and nothing for her
}

// cookies are those that the gateway has set.
func (p *person) cookies(w *world) []*network.Cookie {
	p.t.Helper()
	return finds(p, getCookies(w.toolgate)).Cookies
}

func TestSwappedCookiesConnectNothing(t *testing.T) {
	w := withApplication(t)
	alice := newPerson(t, w)
	mallory := alice.another(w)
	alice.agrees(w, "alice", w.asked("alice"), "Alice")
	mallory.agrees(w, "mallory", w.asked("mallory"), "Bob")
	hers, others := alice.cookies(w), mallory.cookies(w)
	if len(hers) == 0 || len(others) == 0 {
		t.Fatal("there are no cookies to swap")
	}
	alice.takes(w, others)
	mallory.takes(w, hers)
	for _, p := range []*person{alice, mallory} {
		if status := p.presses("Allow"); status < 400 {
			t.Errorf("it answers %d", status)
		}
		p.sees("This sign-in was started in another browser", "To keep your accounts safe")
		p.look("attack-swapped")
	}
	w.asked("alice")
	w.asked("mallory")
}

func (p *person) takes(w *world, cookies []*network.Cookie) {
	p.t.Helper()
	var all []*network.CookieParam
	for _, c := range cookies {
		all = append(all, &network.CookieParam{Name: c.Name, Value: c.Value, URL: w.toolgate, Path: c.Path, Secure: c.Secure, HTTPOnly: c.HTTPOnly, SameSite: c.SameSite})
	}
	p.do(command(network.SetCookies, network.SetCookiesParams{Cookies: all}))
}

func getCookies(address string) chromedp.Action[network.GetCookiesResult] {
	return result(network.GetCookies, network.GetCookiesParams{URLs: []string{address}})
}
