// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/toolgate/toolgate/caddymodule"
)

// TestMain lets the test binary be toolgate itself, for tests that need another process.
func TestMain(m *testing.M) {
	if os.Getenv("TOOLGATE_TEST_COMMAND") != "" {
		caddy.CustomBinaryName = "toolgate"
		for _, command := range caddymodule.Commands() {
			caddycmd.RegisterCommand(command)
		}
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}

func TestTheWholeStory(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	if page := w.connect(); !strings.Contains(page, "Connected as alice@acme.example") {
		t.Fatalf("the result page: %s", page)
	}
	if status, body := w.call("GET", "/acme/v1/me"); status != 200 || !strings.Contains(body, "alice@acme.example") {
		t.Fatalf("after connecting: %d %s", status, body)
	}
	if status, body := w.call("GET", "/v1/connections/acme"); status != 200 || !strings.Contains(body, `"status":"active"`) {
		t.Errorf("the status: %d %s", status, body)
	}
	if status, _ := w.call("GET", "/acme/v1/me", "X-User-Id", "bob"); status != http.StatusForbidden {
		t.Errorf("bob uses alice's connection: %d", status)
	}
	w.acme.ExpireAccessTokens()
	if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
		t.Errorf("after the token was expired: %d %s", status, body)
	}
	if stats := w.acme.Stats(); stats.Refreshes != 1 || stats.ReuseDetections != 0 {
		t.Errorf("at the provider: %+v", stats)
	}
	w.acme.RevokeUser("alice")
	if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusForbidden || !strings.Contains(body, "refresh_rejected") {
		t.Errorf("after the user took the grant back: %d %s", status, body)
	}
	if page := w.connect(); !strings.Contains(page, "Connected as alice@acme.example") {
		t.Errorf("connecting again: %s", page)
	}
	if status, _ := w.call("GET", "/acme/v1/me"); status != 200 {
		t.Errorf("after connecting again: %d", status)
	}
}

func TestADraftSaysWhatItLacksAndWhatToRegister(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "toolkit github {\n\t\t\tclient_id {env.NOT_SET}\n\t\t}", ""))
	status, body := w.call("GET", "/github/user")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"toolkit_draft"`) ||
		!strings.Contains(body, "client_id ({env.NOT_SET} is empty), client_secret") || !strings.Contains(body, w.public()+"/callback/github") {
		t.Errorf("%d %s", status, body)
	}
}

func TestConnectionsOutliveTheProcess(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.load(w.caddyfile("", "", ""))
	if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
		t.Errorf("after a restart: %d %s", status, body)
	}
}

func TestAReloadHarmsNoOpenStream(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(rw, "data: first\n\n")
		rw.(http.Flusher).Flush()
		<-release
		fmt.Fprint(rw, "data: second\n\n")
	})
	w.load(w.caddyfile("", "", ""))
	w.connect()
	res := w.open("GET", "/acme/extra/events")
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "data: first" {
		t.Fatalf("the first event: %q", lines.Text())
	}
	w.load(w.caddyfile("", "agent later {\n\t\t\tkey {env.LATER_KEY}\n\t\t}", ""))
	if status, body := w.call("GET", "/acme/v1/me"); status != http.StatusUnauthorized {
		t.Errorf("the new configuration wants a key: %d %s", status, body)
	}
	close(release)
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if got := strings.Join(rest, "|"); got != "|data: second|" || lines.Err() != nil {
		t.Errorf("the rest of the stream: %q, %v", got, lines.Err())
	}
	w.load(w.caddyfile("", "", ""))
	if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
		t.Errorf("the connection after two reloads: %d %s", status, body)
	}
}

func TestAFailedReloadChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	for _, broken := range []string{
		w.caddyfile("", "encryption_key {env.NOT_SET}", ""),                               // fails in Start
		w.caddyfile("", "agent bot {\n\t\t\ttoolkits nowhere\n\t\t}", ""),                 // fails in Provision
		strings.Replace(w.caddyfile("", "", ""), "connections.db", "no/such\x00/file", 1), // another store, which cannot be opened
	} {
		if err := w.tryLoad(broken); err == nil {
			t.Errorf("this loads:\n%s", broken)
		}
		if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
			t.Errorf("after a reload that failed: %d %s", status, body)
		}
	}
}

func TestNoSecretIsInTheLogsOrTheConfiguration(t *testing.T) {
	w := newWorld(t)
	const key = "tgk_0123456789abcdef0123456789abcdef"
	t.Setenv("BOT_KEY", key)
	log := filepath.Join(w.dir, "all.log")
	w.load(w.caddyfile(fmt.Sprintf("log {\n\t\toutput file %q\n\t\tlevel DEBUG\n\t}", log),
		"agent bot {\n\t\t\tkey {env.BOT_KEY}\n\t\t\tacts_for any\n\t\t}", "log"))
	w.connect("Authorization", "Bearer "+key)
	w.acme.ExpireAccessTokens()
	if status, body := w.call("GET", "/acme/v1/me", "Authorization", "Bearer "+key); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"all.log", "audit.log", "connections.db"} {
		text, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil || len(text) == 0 {
			t.Fatalf("%s: %d bytes, %v", name, len(text), err)
		}
		for _, secret := range []string{key, clientSecret, "acme_at_", "acme_rt_", "code=", "state=", "/connect/c_"} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s holds %s", name, secret)
			}
		}
	}
}
