// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGrantsComeInSoThatNobodyHasToConnectAgain(t *testing.T) {
	w, _ := stopped(t)
	alice := w.connectionOf(t, aliceAtAcme())
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	file := writeFile(t, filepath.Join(w.dir, "grants.jsonl"), strings.Join([]string{
		grantLine("ada", alice), `{"user":"bob","access_token":"hunter2","toolkit":"github"}`, "", `{"user":"eve","acces_token":"hunter2"}`, `hunter2`, grantLine("alice", alice),
	}, "\n"))

	w.wantCall(t, "ada", 403, "auth_required")
	out, err := s.command(t, "connections", "import", "--toolkit", "acme", "--dry-run", file)
	if err == nil || !strings.Contains(out, "Nothing was written. It would be: 1 connection taken in, 1 left out") {
		t.Errorf("%v\n%s", err, out)
	}
	w.wantCall(t, "ada", 403, "auth_required")
	out, err = s.command(t, "connections", "import", "--toolkit", "acme", file)
	for _, want := range []string{
		"line 2: for another toolkit than acme", `line 4: the field "acces_token" is not known`, "line 5: not a JSON object",
		"1 connection taken in, 1 left out since their users are connected", "Error: 3 grants not taken in",
	} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%v, want %q\n%s", err, want, out)
		}
	}
	w.wantCall(t, "ada", ok, "")
	w.wantCall(t, "alice", ok, "")
	w.wantCall(t, "bob", 403, "auth_required")
	log, err := os.ReadFile(filepath.Join(w.dir, "audit.log"))
	if err != nil || !strings.Contains(string(log), `"event":"connected","tenant":"default","user":"ada","toolkit":"acme"`) {
		t.Errorf("the audit log does not know of it: %v", err)
	}
	s.fails(t, `there is no toolkit "nosuch"`, "connections", "import", "--toolkit", "nosuch", file)
	s.fails(t, "--toolkit", "connections", "import", file)
	s.fails(t, "--format xml is not known", "connections", "import", "--toolkit", "acme", "--format", "xml", file)
}

func TestGrantsComeFromNango(t *testing.T) {
	w, s := stopped(t)
	alice := w.connectionOf(t, aliceAtAcme())
	connection := func(user, integration, token string) string {
		return `{
			"id": 1, "connection_id": "c-` + user + `", "provider_config_key": "` + integration + `", "provider": "acme",
			"end_user": {"id": "` + user + `", "email": "ada@example.com"}, "metadata": null,
			"credentials": {"type": "OAUTH2", "access_token": "` + token + `", "expires_at": "2099-01-01T00:00:00.000Z", "raw": {"scope": "read write"}}
		}`
	}
	file := writeFile(t, filepath.Join(w.dir, "nango.json"),
		"["+connection("ada", "acme-prod", alice.AccessToken.Reveal())+","+connection("bob", "slack", "hunter2")+"]")
	out, err := s.command(t, "connections", "import", "--toolkit", "acme", "--format", "nango", "--from", "acme-prod", file)
	if err == nil || !strings.Contains(out, "connection 2: for another toolkit than acme-prod") || !strings.Contains(out, "1 of them have no refresh token") {
		t.Errorf("%v\n%s", err, out)
	}
	w.load(w.caddyfile("", "", ""))
	w.wantCall(t, "ada", ok, "")
	w.wantCall(t, "bob", 403, "auth_required")
}
