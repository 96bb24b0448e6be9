// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Whatever was done to a user's record, the answer is 503 with its name, and never
// that the user should connect; everybody else's calls go on.
func TestADamagedRecordIs503ForItsUserAlone(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	damages := []struct {
		name   string
		change func(whole, alices []byte) []byte
		code   string
		rule   string
	}{
		{"swapped", func(_, alices []byte) []byte { return alices }, "storage_unavailable", "record_damaged"},
		{"empty", func(_, _ []byte) []byte { return nil }, "storage_unavailable", "record_damaged"},
		{"cut", func(whole, _ []byte) []byte { return whole[:len(whole)/2] }, "storage_unavailable", "record_damaged"},
		{"flipped", func(whole, _ []byte) []byte { whole[len(whole)-1] ^= 1; return whole }, "storage_unavailable", "record_damaged"},
		{"newer", func(whole, _ []byte) []byte { whole[0] = 2; return whole }, "storage_unavailable", "record_newer"},
		{"wrong-key", func(whole, _ []byte) []byte { whole[1] ^= 1; return whole }, "key_missing", "encryption_key"},
		{"intact", func(whole, _ []byte) []byte { return whole }, "", ""},
	}
	name := func(user string) string { return vault.Name("connection", "default", user, "acme", "") }
	bad := map[string]store.Record{}
	w.inStore(t, func(s store.Store, ring *seal.Ring) {
		v := vault.New(s, ring)
		alice, err := v.Load(t.Context(), aliceAtAcme())
		if err != nil {
			t.Fatal(err)
		}
		alices, err := s.Get(t.Context(), name("alice"))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range damages {
			c := alice
			c.Key, c.Version = connection.Key{Tenant: "default", User: d.name, Toolkit: "acme"}, 0
			if _, err := v.Save(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			r, err := s.Get(t.Context(), name(d.name))
			if err != nil {
				t.Fatal(err)
			}
			r.Value, r.Version = d.change(r.Value, bytes.Clone(alices.Value)), 2
			if err := s.Put(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			bad[d.name] = r
		}
	})
	w.load(w.caddyfile("", "", ""))
	for _, d := range damages {
		status, body := w.call("GET", "/acme/v1/me", "X-User-Id", d.name)
		if d.code == "" {
			if status != ok {
				t.Errorf("%s: %d %s", d.name, status, body)
			}
			continue
		}
		want := fmt.Sprintf(`"rule":"%s"`, d.rule)
		if status != 503 || !strings.Contains(body, `"code":"`+d.code+`"`) || !strings.Contains(body, want) || strings.Contains(body, "connect_url") {
			t.Errorf("%s: %d %s", d.name, status, body)
		}
		if status, body := w.call("GET", "/v1/connections/acme", "X-User-Id", d.name); status != 503 || !strings.Contains(body, d.code) {
			t.Errorf("the status of %s: %d %s", d.name, status, body)
		}
	}
	w.wantCall(t, "alice", ok, "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.inStore(t, func(s store.Store, _ *seal.Ring) {
		for user, was := range bad {
			if r, err := s.Get(t.Context(), name(user)); err != nil || r.Version != was.Version || !bytes.Equal(r.Value, was.Value) {
				t.Errorf("%s's record was changed: version %d, %v", user, r.Version, err)
			}
		}
	})

	// What is damaged stands in its user's way until the operator sets it aside.
	server := &server{dir: w.dir, socket: filepath.Join(w.dir, "admin.sock"), config: filepath.Join(w.dir, "Caddyfile")}
	server.write(t, w.caddyfile("", "", ""))
	server.succeeds(t, "4 records set aside", "keys", "abandon", "damaged", "--yes")
	w.load(w.caddyfile("", "", ""))
	w.wantCall(t, "cut", 403, "auth_required")
	w.wantCall(t, "newer", 503, "storage_unavailable")
	w.wantCall(t, "intact", ok, "")
}
