// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	acme "github.com/toolgate/toolgate/demo"
)

// application is the operator's, on Acme's server: where people are signed in, and whose
// server tells Toolgate who they are.
type application struct {
	w    *world
	acme *acme.Provider
}

func (a *application) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/app/login":
		http.SetCookie(rw, &http.Cookie{Name: "app", Value: r.URL.Query().Get("as"), Path: "/app/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		page(rw, http.StatusOK, "Signed in at the application")
	case "/app/done":
		page(rw, http.StatusOK, "Back at the application: "+html.EscapeString(r.URL.RawQuery)+" from "+html.EscapeString(r.Referer()))
	case "/app/verify":
		a.verify(rw, r)
	default:
		a.acme.ServeHTTP(rw, r)
	}
}

func (a *application) verify(rw http.ResponseWriter, r *http.Request) {
	who, err := r.Cookie("app")
	if err != nil {
		page(rw, http.StatusForbidden, "Nobody is signed in at the application")
		return
	}
	said, _ := json.Marshal(map[string]string{"flow_id": r.URL.Query().Get("flow_id"), "user_id": who.Value})
	ask, _ := http.NewRequest("POST", a.w.toolgate+"/v1/confirm_user", bytes.NewReader(said))
	ask.Header.Set("Authorization", "Bearer the-application")
	res, err := http.DefaultClient.Do(ask)
	if err != nil {
		page(rw, http.StatusBadGateway, err.Error())
		return
	}
	defer res.Body.Close()
	var answer struct {
		NextURI string `json:"next_uri"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.NextURI == "" {
		page(rw, http.StatusForbidden, "The application says: this link is not yours")
		return
	}
	http.Redirect(rw, r, answer.NextURI, http.StatusSeeOther)
}

func page(rw http.ResponseWriter, status int, text string) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.WriteHeader(status)
	_, _ = rw.Write([]byte(`<!DOCTYPE html><title>App</title><link rel="icon" href="data:,"><p>` + text + `</p>`))
}

// withApplication is a gateway whose users are the application's, with these options
// besides.
func withApplication(t *testing.T, more ...string) *world {
	t.Helper()
	folder, address := t.TempDir(), free(t)
	_, port, _ := strings.Cut(address, ":")
	w := &world{toolgate: "http://localhost:" + port, folder: folder}
	app := &application{w: w}
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	w.acme = server.URL
	var err error
	app.acme, err = acme.New(acme.Config{
		Origin: w.acme, ClientID: "toolgate", ClientSecret: "acme-client-secret", RedirectURIs: []string{w.toolgate + "/callback/acme", w.toolgate + "/callback/second"}, AccessTTL: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	reads := ""
	if i := slices.IndexFunc(more, func(m string) bool { return strings.HasPrefix(m, "reads ") }); i >= 0 {
		reads, more = more[i], slices.Delete(slices.Clone(more), i, i+1)
	}
	caddyfile := strings.NewReplacer("READS", reads, "FOLDER", folder, "PUBLIC", w.toolgate, "ACME", w.acme).Replace(`{
	admin off
	persist_config off
	auto_https off
	storage file_system "FOLDER"
	toolgate {
		public_url PUBLIC
		verify_user callback ACME/app/verify {
			key {file.FOLDER/key}
		}
		store memory
		audit "FOLDER/audit.log"
		toolkit acme {
			name Acme
			base_url ACME
			oauth2 {
				issuer ACME
				authorize_url ACME/authorize
				token_url ACME/token
				revoke_url ACME/revoke
				client_id toolgate
				client_secret {file.FOLDER/secret}
				scopes read offline_access
			}
			identity /v1/me email
			READS
		}
		` + strings.Join(more, "\n\t\t") + `
	}
}

PUBLIC {
	bind 127.0.0.1
	toolgate_connect
	toolgate
}
`)
	for name, text := range map[string]string{"key": "the-application", "agent": agentKey, "billing": billingKey, "logo.svg": logo, "secret": "acme-client-secret", "Caddyfile": caddyfile} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.process = run(t, "run", "--config", filepath.Join(folder, "Caddyfile"))
	w.prints("serving initial configuration")
	return w
}

func TestALinkThatIsForwardedOpensForItsPersonAlone(t *testing.T) {
	w := withApplication(t)
	alice := newPerson(t, w)
	mallory := alice.another(w)
	link := w.asked("alice")

	mallory.opens(w.acme + "/app/login?as=mallory")
	mallory.opens(link)
	mallory.sees("Is it you?", "Nothing is connected yet")
	mallory.look("signin")
	if status := mallory.presses("Sign in at"); status != http.StatusForbidden {
		t.Errorf("mallory: %d", status)
	}
	mallory.sees("this link is not yours")

	alice.opens(w.acme + "/app/login?as=alice")
	alice.opens(link)
	alice.presses("Sign in at")
	alice.sees("Connect Acme?")
	alice.presses("Continue to Acme")
	alice.do(alice.clickOn("label", "Alice"))
	alice.presses("Sign in")
	alice.presses("Allow")
	alice.sees("Connected as alice@acme.example", "What you have connected")
	alice.look("connected-verified")
	w.works("alice")

	// Mallory tries her own way, with a sign-in of her own that is good.
	mallory.opens(link)
	mallory.sees("Is it you?")
	mallory.opens(w.toolgate + "/connections")
	mallory.presses("Sign in at")
	mallory.sees("Nothing is connected")
	mallory.look("mine-empty")
	mallory.opens(link)
	mallory.sees("You are signed in as mallory", "made for somebody else")
	mallory.look("signin-other")

	alice.opens(w.toolgate + "/connections")
	alice.sees("alice@acme.example", "works")
	alice.look("mine")
	alice.presses("Disconnect")
	alice.sees("taken back at the other service too", "Nothing is connected")
	w.asked("alice")
}
