// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
)

// manyConnections gives alice so many of another toolkit, after the one that she has.
func (w *world) manyConnections(t *testing.T, n int) {
	t.Helper()
	c := w.connection()
	for i := range n {
		id := fmt.Sprintf("conn_%05d", i)
		c.Key, c.ID, c.Version, c.AccountLabel = connection.Key{Tenant: alice.Tenant, User: alice.User, Toolkit: "other", Account: id}, id, 0, fmt.Sprintf("a%05d@other.example", i)
		if _, err := w.vault.Save(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPersonWithManyConnectionsSeesThemInPages(t *testing.T) {
	w, b := connected(t)
	w.manyConnections(t, 49)
	if p := b.get(mine); strings.Contains(p.text, "Page 1") || strings.Count(p.text, "<h2>") != 50 {
		t.Errorf("%d on one page", strings.Count(p.text, "<h2>"))
	}
	more := w.connection()
	for i := range 60 {
		id := fmt.Sprintf("conn_b%05d", i)
		more.Key.Toolkit, more.Key.Account, more.ID, more.Version, more.AccountLabel = "other", id, id, 0, fmt.Sprintf("b%05d@other.example", i)
		if _, err := w.vault.Save(t.Context(), more); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]bool{}
	address := mine
	for n := range 3 {
		p := b.get(address)
		p.want(t, http.StatusOK, "What you have connected")
		p.says(t, fmt.Sprintf("Page %d of 3", n+1))
		for d := range parseHTML(t, p.text).Descendants() {
			if d.Data == "input" && attribute(d, "name") == "id" {
				all[attribute(d, "value")] = true
			}
		}
		address = fmt.Sprintf("%s?page=%d", mine, n+2)
		if strings.Contains(p.text, address) != (n < 2) || strings.Contains(p.text, "Previous page") != (n > 0) {
			t.Errorf("page %d leads elsewhere", n+1)
		}
		for _, fault := range faultsOf(p.text) {
			t.Error(fault)
		}
	}
	if len(all) != 110 {
		t.Errorf("%d connections are shown", len(all))
	}
	for asked, want := range map[string]int{"0": 1, "-1": 1, "x": 1, "99": 3, "99999999999999999999": 1} {
		b.get(mine+"?page="+asked).says(t, fmt.Sprintf("Page %d of 3", want))
	}
	// A button leads back to its page, and to the last one where that has gone with it.
	form := formOf(t, b.get(mine+"?page=2"))
	form.fields.Set("id", "conn_b00059")
	form.fields.Set("do", "off")
	b.navigate("POST", mine+"?page=2", form.fields, "same-origin").says(t, "Switched off", "Page 2 of 3")
}

// Most providers end all that a client has of an account, whoever asks.
func TestAGrantIsSharedWithTheLastOfManyConnectionsToo(t *testing.T) {
	revoked := 0
	w, b := connected(t)
	w.cfg.Revoker = revoker(func(_, _ string) error { revoked++; return nil })
	first := w.connection()
	w.manyConnections(t, 1100)
	last := first
	last.Key.Toolkit, last.Key.Account, last.ID, last.Version, last.AccountLabel = "second", "conn_zzz", "conn_zzz", 0, "" // nobody knows whose it is
	if _, err := w.vault.Save(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	w.reload(func(*connect.Config) {})
	b.press(b.get(mine), "id", first.ID)
	if revoked != 0 {
		t.Error("it was revoked, and the one behind a thousand others lives on it")
	}
	w.notConnected()
}
