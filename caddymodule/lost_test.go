// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/tokencache/store/redistest"
)

// Redis comes back empty: it kept nothing on its disk, or somebody emptied it.
func TestWhereRedisHasLostEverythingNobodyIsAskedToConnectUntilTheOperatorSaysSo(t *testing.T) {
	t.Setenv("SEAL", sealKey)
	w := newWorld(t)
	server := redistest.Start(t)
	s := serveConfig(t, w, w.overRedis(server.Addr, ""), "ACME_CLIENT_SECRET="+clientSecret, "SEAL="+sealKey)
	w.connect()
	file := filepath.Join(w.dir, "backup.jsonl")
	s.succeeds(t, "sha256:", "store", "export", file)
	w.wantCall(t, "bob", 403, "auth_required")

	lost := func(user string) {
		t.Helper()
		if status, body := w.call("GET", "/acme/v1/me", "X-User-Id", user); status != 503 || !strings.Contains(body, `"rule":"store_lost"`) || strings.Contains(body, "connect_url") {
			t.Errorf("%s: %d %s", user, status, body)
		}
	}
	redistest.Flush(t, server.Addr)
	lost("carol")
	lost("carol")

	// The backup is brought back.
	s.succeeds(t, "Verified", "store", "import", "--force", file)
	w.wantCall(t, "carol", 403, "auth_required")
	s.reload(t)
	w.wantCall(t, "alice", ok, "")

	// Or there is none.
	redistest.Flush(t, server.Addr)
	lost("dave")
	s.reload(t)
	w.wantCall(t, "dave", 403, "auth_required")
}
