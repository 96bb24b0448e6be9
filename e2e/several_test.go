// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// aProject is what a gateway has besides Acme: an agent with a project link, which may
// have users sent back to the application, and two toolkits more.
var aProject = []string{
	`project_link helper
		agent helper {
			key {file.FOLDER/agent}
			acts_for any
			callback_urls ACME/app/done
		}
		toolkit second {
			name "Second Acme"
			base_url ACME
			oauth2 {
				issuer ACME
				authorize_url ACME/authorize
				token_url ACME/token
				client_id toolgate
				client_secret {file.FOLDER/secret}
				scopes read
			}
			identity /v1/me email
		}
		toolkit weather {
			name Weather
			base_url ACME
			api_key per_user {
				header X-Api-Key
			}
		}`,
}

const agentKey = "the-helpers-own-key"

func (p *person) types(text string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(text))
}

// askedBack gives the link of a call whose agent wants its user back.
func (w *world) askedBack(toolkit string) string {
	w.t.Helper()
	r, err := http.NewRequest("GET", w.toolgate+"/"+toolkit+"/v1/me", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Toolgate-Key", agentKey)
	r.Header.Set("X-User-Id", "alice")
	r.Header.Set("X-Toolgate-Callback", w.acme+"/app/done")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	var refusal struct {
		ConnectURL string `json:"connect_url"`
	}
	if err := json.Unmarshal(text, &refusal); err != nil || refusal.ConnectURL == "" {
		w.t.Fatalf("%d %s", res.StatusCode, text)
	}
	return refusal.ConnectURL
}

func TestAPersonConnectsAllOfAProject(t *testing.T) {
	w := withApplication(t, aProject...)
	alice := newPerson(t, w)
	alice.opens(w.acme + "/app/login?as=alice")
	alice.opens(w.toolgate + "/connect")
	alice.sees("Is it you?", "helper")
	alice.presses("Sign in at")
	alice.sees("Connect your accounts", "0 of 3 connected", "Second Acme", "Weather")
	alice.look("project")
	alice.presses("Connect what is missing")
	alice.sees("Connect 3 services", "0 of 3 connected")
	alice.look("several")

	alice.presses("Continue to Acme")
	alice.do(alice.clickOn("label", "Alice"))
	alice.presses("Sign in")
	alice.presses("Allow")
	alice.sees("1 of 3 connected", "Connected as alice@acme.example")
	alice.presses("Continue to Second Acme")
	alice.presses("Deny")
	alice.sees("1 of 3 connected", "You declined")
	alice.look("several-declined")
	alice.presses("Continue to Second Acme")
	alice.presses("Allow")
	alice.goes(alice.clickOn("a", "Enter your key for Weather"))
	alice.sees("Connect Weather?")
	alice.do(alice.clickOn("input[type=password]", ""))
	alice.types("a-key-of-hers-0123456789")
	alice.presses("Connect Weather")
	alice.sees("Everything is connected", "Connected as alice@acme.example")
	alice.look("several-done")
	alice.opens(w.toolgate + "/connect")
	alice.sees("Everything is connected", "There is nothing to do")
	alice.look("project-done")
}

// Chromium applies our form-action to every redirect that follows the form.
func TestAPersonComesBackToTheApplication(t *testing.T) {
	w := withApplication(t, aProject...)
	alice := newPerson(t, w)
	alice.opens(w.acme + "/app/login?as=alice")
	signed := false
	for _, c := range []struct {
		toolkit, press, answer, status string
	}{
		{"acme", "Continue to Acme", "Deny", "denied"},
		{"acme", "Continue to Acme", "Allow", "connected"},
		{"second", "This was not me", "", "cancelled"},
		{"weather", "Connect Weather", "", "connected"},
	} {
		alice.opens(w.askedBack(c.toolkit))
		if !signed {
			alice.presses("Sign in at")
		}
		alice.sees("Afterwards you go back to " + strings.TrimPrefix(w.acme, "http://"))
		if c.toolkit == "weather" {
			alice.look("key-and-back")
			alice.do(alice.clickOn("input[type=password]", ""))
			alice.types("a-key-of-hers-0123456789")
		}
		alice.presses(c.press)
		if !signed {
			alice.do(alice.clickOn("label", "Alice"))
			alice.presses("Sign in")
			signed = true
		}
		if c.answer != "" {
			alice.presses(c.answer)
		}
		alice.sees("Back at the application: status=" + c.status + "&toolkit=" + c.toolkit + " from")
		alice.hides("from http")
	}
}

// brandedInGerman is a gateway whose pages are the operator's own.
var brandedInGerman = `branding {
			name "Beispielgesellschaft für Wetter"
			logo FOLDER/logo.svg
			color "#8a1253"
		}`

const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><rect width="40" height="20" rx="4" fill="#8a1253"/><circle cx="20" cy="10" r="6" fill="#fff"/></svg>`

func TestAPersonReadsGermanOnTheOperatorsOwnPages(t *testing.T) {
	w := withApplication(t, append(aProject, brandedInGerman)...)
	alice := newPerson(t, w)
	alice.do(command(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}}))
	alice.opens(w.acme + "/app/login?as=alice")
	alice.opens(w.toolgate + "/connect")
	alice.sees("Sind Sie es?", "Beispielgesellschaft")
	alice.look("german-signin")
	alice.presses("Anmelden bei")
	alice.sees("Verbinden Sie Ihre Konten", "0 von 3 verbunden")
	alice.look("german-project")
	alice.presses("Verbinden, was fehlt")
	alice.sees("3 Dienste verbinden")
	alice.look("german-several")
	alice.presses("Weiter zu Acme")
	alice.do(alice.clickOn("label", "Alice"))
	alice.presses("Sign in")
	alice.presses("Allow")
	alice.sees("1 von 3 verbunden", "Verbunden als alice@acme.example")

	alice.opens(w.askedBack("weather"))
	alice.sees("Weather verbinden?", "API-Schlüssel", "Danach geht es zurück zu")
	alice.look("german-key")
	alice.opens(w.askedBack("second"))
	alice.sees("Second Acme verbinden?")
	alice.look("german-connect")
	alice.opens(w.toolgate + "/connections")
	alice.sees("Was Sie verbunden haben", "funktioniert")
	alice.look("german-mine")
	if status := alice.opens(w.toolgate + "/connect/c_nothing"); status != http.StatusNotFound {
		t.Errorf("a link that nobody made: %d", status)
	}
	alice.sees("Dieser Link ist hier nicht bekannt")
	alice.look("german-unknown")
}
