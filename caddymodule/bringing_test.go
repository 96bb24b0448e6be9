// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
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

func TestALineThatCannotBeKeptIsInNobodyElsesWay(t *testing.T) {
	w, s := stopped(t)
	alice := w.connectionOf(t, aliceAtAcme())
	w.inStore(t, func(st store.Store, ring *seal.Ring) {
		name := vault.Name("connection", "default", "carol", "acme", "")
		if err := st.Put(t.Context(), store.Record{Key: name, Version: 1, Value: ring.Seal(nil, name)}); err != nil {
			t.Fatal(err)
		}
	})
	file := writeFile(t, filepath.Join(w.dir, "grants.jsonl"), strings.Join([]string{
		grantLine("ada", alice),
		`{"user":"greatscopes","access_token":"x","scopes":"` + strings.Repeat("a ", 300_000) + `"}`,
		`{"user":"greattoken","access_token":"` + strings.Repeat("<", 100_000) + `"}`,
		`{"user":"greatline","access_token":"` + strings.Repeat("<", 3<<20) + `"}`,
		grantLine("carol", alice),
		grantLine("zoe", alice),
	}, "\n"))
	out, err := s.command(t, "connections", "import", "--toolkit", "acme", file)
	for _, want := range []string{
		"2 connections taken in", "Error: 4 grants not taken in",
		"line 2: ", "line 3: a token has more than 65536 bytes", "line 4: it has more than a megabyte", "line 5: ",
	} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%v, want %q\n%s", err, want, out)
		}
	}
	out, _ = s.command(t, "connections", "import", "--toolkit", "acme", "--force", file)
	if !strings.Contains(out, "3 replaced") || strings.Contains(out, "line 5: ") {
		t.Errorf("what is malformed is not replaced with --force:\n%s", out)
	}
	w.load(w.caddyfile("", "", ""))
	for _, user := range []string{"ada", "carol", "zoe"} {
		w.wantCall(t, user, ok, "")
	}
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
