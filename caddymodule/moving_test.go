// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
)

func TestConnectionsMoveToAnotherStoreInAFile(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	w.connect()
	file := filepath.Join(w.dir, "all.jsonl")
	s.succeeds(t, "sha256:", "store", "export", file)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantNoSecret(t, string(text))
	s.fails(t, "is there already", "store", "export", file)
	s.succeeds(t, "there already", "store", "import", file)

	// Another machine, with another key.
	o := w.other(t)
	other := &server{dir: o.dir, socket: filepath.Join(o.dir, "admin.sock"), config: filepath.Join(o.dir, "Caddyfile")}
	other.write(t, o.caddyfile("", "", ""))
	writeFile(t, o.keyPath(), seal.NewKey())
	other.fails(t, "which the gateway does not have", "store", "import", file)
	key, err := os.ReadFile(w.keyPath())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, o.keyPath(), firstKey(t, o.keyPath())+"\n"+string(key))
	other.succeeds(t, "Verified", "store", "import", file)
	other.succeeds(t, "brought in, ", "store", "import", file)
	writeFile(t, file, string(text[:len(text)-50]))
	other.fails(t, "cut off", "store", "import", file)

	s.stop(t)
	t.Setenv("XDG_DATA_HOME", o.dir)
	o.load(o.caddyfile("", "", ""))
	o.wantCall(t, "alice", ok, "")
}

func TestConnectionsAreCopiedToAnotherStore(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	w.connect()
	o := w.other(t)
	s.fails(t, "with --to or with --to-config", "store", "copy")
	s.fails(t, "the other store is this one", "store", "copy", "--to", "file "+w.storePath())
	s.fails(t, "there is no store", "store", "copy", "--to", "nosuch")
	s.succeeds(t, "cp -p "+w.keyPath()+" "+o.keyPath(), "store", "copy", "--to", "file "+o.storePath())
	s.succeeds(t, "there already", "store", "copy", "--to", "file "+o.storePath())
	key, err := os.ReadFile(w.keyPath())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, o.keyPath(), string(key))
	other := &server{dir: o.dir, socket: filepath.Join(o.dir, "admin.sock"), config: filepath.Join(o.dir, "Caddyfile")}
	other.write(t, o.caddyfile("", "", ""))
	s.succeeds(t, "Verified", "store", "copy", "--to-config", other.config)
	s.stop(t)
	t.Setenv("XDG_DATA_HOME", o.dir)
	o.load(o.caddyfile("", "", ""))
	o.wantCall(t, "alice", ok, "")
}

// There and back again: a file, Redis, a file.
func TestConnectionsMoveToRedisAndBack(t *testing.T) {
	t.Setenv("SEAL", sealKey)
	w := newWorld(t)
	server := redistest.Start(t)
	s := serveConfig(t, w, w.caddyfile("", "encryption_key {env.SEAL}", ""), "ACME_CLIENT_SECRET="+clientSecret, "SEAL="+sealKey)
	w.connect()
	s.succeeds(t, "Verified", "store", "copy", "--to", "redis {\n\taddress "+server.Addr+"\n}")
	s.stop(t)

	s = serveConfig(t, w, w.overRedis(server.Addr, ""), "ACME_CLIENT_SECRET="+clientSecret, "SEAL="+sealKey)
	w.wantCall(t, "alice", ok, "")
	s.succeeds(t, "primary", "keys", "list")
	s.succeeds(t, "were already", "keys", "reseal")
	back := filepath.Join(w.dir, "back.db")
	s.succeeds(t, "Verified", "store", "copy", "--to", "file "+back)
	s.stop(t)

	serveConfig(t, w, strings.Replace(w.caddyfile("", "encryption_key {env.SEAL}", ""), w.storePath(), back, 1), "ACME_CLIENT_SECRET="+clientSecret, "SEAL="+sealKey)
	w.wantCall(t, "alice", ok, "")
	w.acme.ExpireAccessTokens()
	w.wantCall(t, "alice", ok, "")
}

func TestAStoreThatIsInUseWithAnotherKeyIsNotJoined(t *testing.T) {
	_, s := stopped(t)
	o, _ := stopped(t)
	s.fails(t, "two stores with different keys cannot be joined", "store", "copy", "--to", "file "+o.storePath())
	s.fails(t, "which the gateway does not have", "store", "copy", "--to-config", filepath.Join(o.dir, "Caddyfile"))
}
