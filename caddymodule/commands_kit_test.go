// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/filestore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// command runs a command of Toolgate's for the server's configuration.
func (s *server) command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := toolgate(t, s.dir, s.env, append(args, "--config", s.config)...)
	wantNoSecret(t, out)
	return out, err
}

// succeeds runs one that has to succeed, and to say what is wanted.
func (s *server) succeeds(t *testing.T, want string, args ...string) string {
	t.Helper()
	out, err := s.command(t, args...)
	if err != nil || !strings.Contains(out, want) {
		t.Fatalf("%s: %v, want %q\n%s", strings.Join(args, " "), err, want, out)
	}
	return out
}

// fails runs one that has to fail with one clear line.
func (s *server) fails(t *testing.T, want string, args ...string) {
	t.Helper()
	out, err := s.command(t, args...)
	if err == nil || !strings.Contains(out, want) || strings.Count(out, "Error: ") != 1 || strings.Contains(out, `{"level"`) {
		t.Errorf("%s: %v, want %q\n%s", strings.Join(args, " "), err, want, out)
	}
}

func (s *server) reload(t *testing.T) {
	t.Helper()
	if out, err := toolgate(t, s.dir, s.env, "reload", "--config", s.config, "--force"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

// wantNoSecret fails where a token of Acme's, or one of a test's, is shown.
func wantNoSecret(t *testing.T, out string) {
	t.Helper()
	for _, text := range []string{"acme_at_", "acme_rt_", "hunter2", clientSecret} {
		if strings.Contains(out, text) {
			t.Errorf("it shows a secret (%s…):\n%s", text, out)
		}
	}
}

func (w *world) storePath() string { return filepath.Join(w.dir, "connections.db") }
func (w *world) keyPath() string   { return w.storePath() + ".key" }

func aliceAtAcme() connection.Key {
	return connection.Key{Tenant: "default", User: "alice", Toolkit: "acme"}
}

// inStore opens the store, which nobody else may have open, with its keys.
func (w *world) inStore(t *testing.T, do func(store.Store, *seal.Ring)) {
	t.Helper()
	s := filestore.New(filestore.Config{Path: w.storePath()})
	defer s.Close()
	ring, _, err := seal.LoadOrCreate(w.keyPath())
	if err != nil {
		t.Fatal(err)
	}
	do(s, ring)
}

// connectionOf gives what is stored for a user.
func (w *world) connectionOf(t *testing.T, key connection.Key) (c connection.Connection) {
	t.Helper()
	w.inStore(t, func(s store.Store, ring *seal.Ring) {
		var err error
		if c, err = vault.New(s, ring).Load(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	})
	return c
}

// keys gives the ids in the key file, the primary's first.
func (w *world) keys(t *testing.T) []string {
	t.Helper()
	ring, created, err := seal.LoadOrCreate(w.keyPath())
	if err != nil || created {
		t.Fatalf("%v, created: %v", err, created)
	}
	return ring.IDs()
}

// dropOldKeys leaves the first key alone in the key file.
func (w *world) dropOldKeys(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(w.keyPath())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" {
			if err := os.WriteFile(w.keyPath(), []byte(line), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("there is no key")
}

func (w *world) wantCall(t *testing.T, user string, status int, code string) {
	t.Helper()
	got, body := w.call("GET", "/acme/v1/me", "X-User-Id", user)
	if got != status || code != "" && !strings.Contains(body, `"code":"`+code+`"`) {
		t.Errorf("%s: %d %s, want %d %s", user, got, body, status, code)
	}
}

// stopped is a world with alice's connection, whose gateway has ended, and its
// configuration as a server would have it.
func stopped(t *testing.T) (*world, *server) {
	t.Helper()
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	s := &server{dir: w.dir, socket: filepath.Join(w.dir, "admin.sock"), config: filepath.Join(w.dir, "Caddyfile")}
	s.write(t, w.caddyfile("", "", ""))
	return w, s
}

// other is a second gateway of the same provider, with a store of its own.
func (w *world) other(t *testing.T) *world {
	t.Helper()
	o := &world{t: w.t, dir: t.TempDir(), address: freeAddress(t), acme: w.acme, origin: w.origin}
	return o
}

func grantLine(user string, c connection.Connection) string {
	return fmt.Sprintf(`{"user":%q,"toolkit":"acme","access_token":%q,"refresh_token":%q,"expires_at":%q,"scopes":["read"]}`,
		user, c.AccessToken.Reveal(), c.RefreshToken.Reveal(), c.ExpiresAt.Format(time.RFC3339))
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const ok = http.StatusOK
