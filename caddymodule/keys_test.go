// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

func TestAKeyIsReplacedWhileTheGatewayRuns(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	w.connect()
	old := w.keys(t)[0]
	s.succeeds(t, old, "keys", "list")

	s.succeeds(t, "reload --config", "keys", "rotate")
	fresh := w.keys(t)[0]
	if fresh == old || len(w.keys(t)) != 2 {
		t.Fatalf("the keys are %v", w.keys(t))
	}
	s.succeeds(t, "not taken yet", "keys", "list")
	s.fails(t, "has not taken the new key "+fresh, "keys", "reseal")
	s.reload(t)
	w.wantCall(t, "alice", ok, "")
	s.succeeds(t, "sealed anew with "+fresh, "keys", "reseal")

	// After a reload that failed, the endpoint belongs to a configuration that failed.
	good, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, s.config, strings.Replace(string(good), "audit "+w.dir+"/audit.log", "audit "+w.dir, 1))
	if out, err := toolgate(t, s.dir, s.env, "reload", "--config", s.config); err == nil {
		t.Fatalf("a reload that cannot work did:\n%s", out)
	}
	writeFile(t, s.config, string(good))
	s.succeeds(t, "0 records sealed anew", "keys", "reseal")

	w.dropOldKeys(t)
	s.reload(t)
	w.wantCall(t, "alice", ok, "")
	if out := s.succeeds(t, "primary", "keys", "list"); strings.Contains(out, "MISSING") {
		t.Errorf("the old key is still needed:\n%s", out)
	}
}

func TestAKeyIsReplacedWhereNoGatewayRuns(t *testing.T) {
	w, s := stopped(t)
	old := w.keys(t)[0]
	s.succeeds(t, "above 1 older key", "keys", "rotate")
	// How many there are depends on the sign-in that ended a moment ago.
	s.succeeds(t, "sealed anew with "+w.keys(t)[0], "keys", "reseal")
	w.inStore(t, func(st store.Store, ring *seal.Ring) {
		alone, err := seal.ParseRing(firstKey(t, w.keyPath()))
		if err != nil || alone.Has(old) {
			t.Fatal(err)
		}
		v := vault.New(st, alone)
		if err := v.Check(t.Context()); err != nil {
			t.Errorf("without the old key: %v", err)
		}
		if _, err := v.Load(t.Context(), aliceAtAcme()); err != nil {
			t.Errorf("without the old key: %v", err)
		}
	})
}

func firstKey(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return ""
}

func TestGenerateGivesALineForAKeyFileAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	out, err := toolgate(t, dir, nil, "keys", "generate")
	if err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v: %q", err, out)
	}
	if _, err := seal.ParseRing(out); err != nil {
		t.Error(err)
	}
	if again, _ := toolgate(t, dir, nil, "keys", "generate"); again == out {
		t.Error("the same key twice")
	}
}

func TestAKeyThatTheOperatorKeepsIsTheOperatorsToChange(t *testing.T) {
	w := newWorld(t)
	key := writeFile(t, filepath.Join(w.dir, "my.key"), seal.NewKey())
	s := &server{dir: w.dir, socket: filepath.Join(w.dir, "admin.sock"), config: filepath.Join(w.dir, "Caddyfile"), env: []string{"MY_KEY=" + seal.NewKey()}}
	for option, want := range map[string]string{
		"encryption_key {file." + key + "}": "in the file " + key + ", above the present ones",
		"encryption_key {env.MY_KEY}":       "in the variable MY_KEY, above the present ones",
	} {
		s.write(t, w.caddyfile("", option, ""))
		s.fails(t, want, "keys", "rotate")
	}
}

func TestWhereCommandsCannotReachTheGatewayTheySayWhoHasTheStore(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", "")) // in this process, with admin off
	s := &server{dir: w.dir, config: writeFile(t, filepath.Join(w.dir, "Caddyfile"), w.caddyfile("", "", ""))}
	s.fails(t, "admin off", "keys", "list")
	s.fails(t, "process "+strconv.Itoa(os.Getpid()), "keys", "reseal")
	s.fails(t, "connections.db open", "store", "export", filepath.Join(w.dir, "out"))
	if _, err := os.Stat(filepath.Join(w.dir, "out")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file was left")
	}
	s.socket = filepath.Join(w.dir, "nobody.sock")
	s.write(t, w.caddyfile("", "", ""))
	s.fails(t, "nobody answers at its admin address", "keys", "list")
}

func TestACommandThatCannotWorkSaysWhyInOneLine(t *testing.T) {
	w := newWorld(t)
	s := &server{dir: w.dir, socket: filepath.Join(w.dir, "admin.sock"), config: filepath.Join(w.dir, "Caddyfile")}
	s.fails(t, "no such file", "keys", "list")
	writeFile(t, s.config, ":8080\n")
	s.fails(t, "has no toolgate in its global options", "keys", "list")
	s.write(t, w.caddyfile("", "", ""))
	s.fails(t, "there is no store at "+w.storePath(), "keys", "list")
	if _, err := os.Stat(w.keyPath()); !errors.Is(err, os.ErrNotExist) {
		t.Error("a look made a key")
	}
	s.write(t, strings.Replace(w.caddyfile("", "", ""), "store file "+w.storePath(), "store memory", 1))
	s.fails(t, "store memory is the gateway's own memory", "keys", "list")
	if out, err := toolgate(t, t.TempDir(), nil, "keys", "list"); err == nil || !strings.Contains(out, "--config") {
		t.Errorf("without a configuration: %v\n%s", err, out)
	}
	if out, err := toolgate(t, t.TempDir(), nil, "toolgate", "keys", "abandon", "--help"); err != nil || !strings.Contains(out, "--undo") {
		t.Errorf("the commands below `toolgate`: %v\n%s", err, out)
	}
}

func TestAfterTheLossOfAKeyUsersConnectAgain(t *testing.T) {
	w, s := stopped(t)
	lost := w.keys(t)[0]
	spare, err := os.ReadFile(w.keyPath())
	if err != nil {
		t.Fatal(err)
	}
	s.fails(t, "is in the ring", "keys", "abandon", lost, "--yes")
	writeFile(t, w.keyPath(), seal.NewKey())
	if err := w.tryLoad(w.caddyfile("", "", "")); err == nil || !strings.Contains(err.Error(), lost) {
		t.Fatalf("the gateway starts with another key: %v", err)
	}
	_ = caddy.Stop()
	s.succeeds(t, "MISSING", "keys", "list")
	s.fails(t, "say --yes", "keys", "abandon", lost)
	s.fails(t, "no record is sealed with 0123", "keys", "abandon", "0123", "--yes")
	s.fails(t, "abandon "+lost, "keys", "reseal")
	s.succeeds(t, "set aside.", "keys", "abandon", lost, "--yes")
	s.succeeds(t, "set aside\n", "keys", "list")
	w.load(w.caddyfile("", "", ""))
	w.wantCall(t, "alice", 403, "auth_required")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}

	// The key turns up.
	s.fails(t, "is not in the ring", "keys", "abandon", lost, "--undo")
	writeFile(t, w.keyPath(), firstKey(t, w.keyPath())+"\n"+string(spare))
	s.succeeds(t, "put back", "keys", "abandon", lost, "--undo")
	w.load(w.caddyfile("", "", ""))
	w.wantCall(t, "alice", ok, "")
}
