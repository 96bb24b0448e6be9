// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/toolgate/toolgate/audit"
)

// TestNoLogHoldsASecret walks every way that is reported, and then looks into all
// that was reported and audited for what the flow had to hide.
func TestNoLogHoldsASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b, link := newBrowser(w), w.link(alice)
		form := b.get(link)
		callback := b.consent(link, "alice")
		newBrowser(w).get(callback)
		b.get(strings.Replace(callback, "/callback/acme", "/callback/other", 1))
		b.get(callback + "&iss=x")
		for _, fault := range []string{"get flow", "get link", "put flow"} {
			op, kind, _ := strings.Cut(fault, " ")
			w.store.failing(op, kind)
			b.get(callback)
			b.press(form)
		}
		w.store.works()
		b.get(comeBack(t, b.toProvider(link).address, "error", "access_denied", "error_description", "description-marker"))
		b.get(comeBack(t, b.toProvider(link).address, "code", "wrong-code-marker"))
		w.store.failing("put", "connection")
		b.connect(link, "alice")
		w.store.works()
		w.audit.fail = func(e audit.Event) error {
			if e == audit.Connected {
				return fmt.Errorf("the disk is full")
			}
			return nil
		}
		b.connect(link, "alice")
		w.audit.fail = nil
		last := b.consent(link, "alice")
		b.get(last)

		var logs strings.Builder
		for _, e := range w.events {
			fmt.Fprintf(&logs, "%+v %q %v\n", e, e.Err, e.Err)
		}
		lines, err := json.Marshal(w.audit.lines)
		if err != nil {
			t.Fatal(err)
		}
		logs.Write(lines)
		if n := len(w.events); n < 10 {
			t.Errorf("only %d events", n)
		}
		secrets := w.secrets(b, link, last)
		secrets["first state"] = mustParse(t, callback).Query().Get("state")
		secrets["form token"] = formOf(t, form).fields.Get("token")
		secrets["wrong code"], secrets["description"] = "wrong-code-marker", "description-marker"
		for i, address := range b.trail {
			if state := mustParse(t, address).Query().Get("state"); state != "" {
				secrets[fmt.Sprint("state no. ", i)] = state
			}
		}
		for name, value := range secrets {
			if strings.Contains(logs.String(), value) {
				t.Errorf("the logs show the %s", name)
			}
		}
	})
}
