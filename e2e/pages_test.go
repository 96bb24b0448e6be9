// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestWhoDeclinesIsToldSoAndCanTryAgain(t *testing.T) {
	w := demo(t, t.TempDir())
	alice := newPerson(t, w)
	alice.signsIn(w.asked("alice"))
	alice.presses("Deny")
	alice.sees("You declined, so nothing was connected.", "Connect Acme?")
	alice.look("declined")
	w.asked("alice") // still refused

	alice.presses("Continue to Acme")
	alice.presses("Allow")
	alice.sees("Connected as alice@acme.example")
	w.works("alice")
}

func TestAUsedLinkShowsTheAccountOnlyToWhoUsedIt(t *testing.T) {
	w := demo(t, t.TempDir())
	alice := newPerson(t, w)
	link := w.asked("alice")
	alice.signsIn(link)
	alice.presses("Allow")

	alice.opens(link)
	alice.sees("Connected as alice@acme.example")

	other := alice.another(w)
	if status := other.opens(link); status != 410 {
		t.Errorf("the used link answers %d, want 410", status)
	}
	other.sees("This link has done its work")
	other.hides("alice")
	other.look("used")
}

func TestALinkThatNobodyMadeIsNotKnown(t *testing.T) {
	w := demo(t, t.TempDir())
	alice := newPerson(t, w)
	if status := alice.opens(w.toolgate + "/connect/c_AAAAAAAAAAAAAAAAAAAAAAAA"); status != 404 {
		t.Errorf("it answers %d, want 404", status)
	}
	alice.sees("This link is not known here")
	alice.look("unknown")
}

func TestAnExpiredLinkSaysSo(t *testing.T) {
	w := shortLived(t)
	link := w.asked("alice")
	// The life of a link is real time in the other process.
	w.until(func() bool {
		res, err := http.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode == http.StatusGone
	})
	alice := newPerson(t, w)
	if status := alice.opens(link); status != 410 {
		t.Errorf("it answers %d, want 410", status)
	}
	alice.sees("This link has expired")
	alice.look("expired")
}

// shortLived is a gateway without a provider, whose links live for a second.
func shortLived(t *testing.T) *world {
	t.Helper()
	return configured(t, "http://127.0.0.1:1", "link_life 1s", `oauth2 {
				authorize_url ACME/authorize
				token_url ACME/token
				auth_style basic
				client_id demo
				client_secret "{file.FOLDER/secret}"
				scopes read
			}`)
}

// configured is a gateway to a provider at acme, with an option and the toolkit's way
// of authenticating.
func configured(t *testing.T, acme, option, auth string) *world {
	t.Helper()
	folder, address := t.TempDir(), free(t)
	_, port, _ := strings.Cut(address, ":")
	w := &world{toolgate: "http://localhost:" + port, acme: acme, folder: folder}
	caddyfile := strings.NewReplacer("FOLDER", folder, "PUBLIC", w.toolgate, "ACME", w.acme).Replace(`{
	admin off
	persist_config off
	auto_https off
	storage file_system "FOLDER"
	toolgate {
		public_url PUBLIC
		store memory
		audit "FOLDER/audit.log"
		` + option + `
		toolkit acme {
			name Acme
			base_url ACME
			` + auth + `
		}
	}
}

PUBLIC {
	bind 127.0.0.1
	toolgate_connect
	toolgate
}
`)
	for name, text := range map[string]string{"secret": "s", "Caddyfile": caddyfile} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.process = run(t, "run", "--config", filepath.Join(folder, "Caddyfile"))
	w.prints("serving initial configuration")
	return w
}

func TestAnAnswerThatNobodyAskedForIsRefused(t *testing.T) {
	w := demo(t, t.TempDir())
	alice := newPerson(t, w)
	if status := alice.opens(w.toolgate + "/callback/acme?code=x&state=y"); status != 400 {
		t.Errorf("it answers %d, want 400", status)
	}
	alice.sees("This sign-in cannot be finished")
	alice.look("unfinished")
}

func TestThePageCanBeUsedFromTheKeyboard(t *testing.T) {
	w := demo(t, t.TempDir())
	alice := newPerson(t, w)
	alice.opens(w.asked("alice"))
	alice.do(chromedp.KeyEvent(kb.Tab))
	on := finds(alice, chromedp.Evaluate[string](`document.activeElement.textContent.trim()`))
	ring := finds(alice, chromedp.Evaluate[string](`getComputedStyle(document.activeElement).outlineStyle`))
	if on != "Continue to Acme" || ring != "solid" {
		t.Errorf("the first stop is %q, outline %s; want the button with a ring", on, ring)
	}
	alice.look("focus")
	alice.goes(chromedp.KeyEvent(kb.Enter))
	alice.sees("Sign in to Acme")
}
