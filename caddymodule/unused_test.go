// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"strings"
	"testing"
)

func TestAConnectionThatNobodyUsesIsRenewedFromTheStartOn(t *testing.T) {
	w := newWorld(t)
	w.load(w.caddyfile("", "", ""))
	w.connect()
	const scopes = "scopes read write offline_access"
	w.load(strings.Replace(w.caddyfile("", "", ""), scopes, scopes+"\n\t\t\t\trefresh_unused 1ms", 1))
	eventually(t, "it is renewed", func() bool { return w.acme.Stats().Refreshes == 1 })
	if status, body := w.call("GET", "/acme/v1/me"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}
