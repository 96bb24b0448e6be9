// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
)

// leftOf counts the records that have the user's id in their name or in what they hold.
func (w *world) leftOf(t *testing.T, user string) (n int) {
	t.Helper()
	w.inStore(t, func(s store.Store, ring *seal.Ring) {
		count := func(name string, open func() []byte) bool {
			if strings.Contains(name+string(open()), user) {
				n++
			}
			return false
		}
		if looked, err := custody.New(s, ring, nil).Remove(t.Context(), custody.Step{}, count); err != nil || looked.Seen == 0 || !looked.Done {
			t.Fatalf("%+v, %v", looked, err)
		}
	})
	return n
}

func TestAUserIsForgottenWhileTheGatewayRuns(t *testing.T) {
	w := newWorld(t)
	s := serve(t, w, "ACME_CLIENT_SECRET="+clientSecret)
	w.connect()
	w.wantCall(t, "alice", ok, "")
	s.fails(t, "cannot be a user's id", "users", "forget", "--yes", "a b")
	s.fails(t, "cannot be a tenant's name", "users", "forget", "--yes", "--tenant", "a/b", "alice")
	s.fails(t, "nothing was done", "users", "forget", "alice") // nobody answers the question
	s.succeeds(t, "0 connections removed", "users", "forget", "--yes", "--tenant", "other", "alice")
	w.wantCall(t, "alice", ok, "")

	before := w.acme.Stats().Revocations
	s.succeeds(t, "1 connection removed, 1 grant of them taken back at the provider", "users", "forget", "--yes", "alice")
	if got := w.acme.Stats().Revocations - before; got != 1 {
		t.Errorf("%d revocations", got)
	}
	w.wantCall(t, "alice", 403, "auth_required") // at once, though her token was in memory
	s.succeeds(t, "0 connections removed, 0 grants of them taken back at the provider; 2 other records", "users", "forget", "--yes", "alice")
	s.stop(t)
	if n := w.leftOf(t, "alice"); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

func TestAUserIsForgottenWhereNoGatewayRuns(t *testing.T) {
	w, s := stopped(t)
	w.connectionOf(t, connection.Key{Tenant: "default", User: "alice", Toolkit: "acme"})
	before := w.acme.Stats().Revocations
	s.succeeds(t, "1 connection removed, 1 grant of them taken back", "users", "forget", "--yes", "alice")
	if n := w.leftOf(t, "alice"); n != 0 || w.acme.Stats().Revocations != before+1 {
		t.Errorf("%d records are left, %d revocations", n, w.acme.Stats().Revocations-before)
	}
}
