// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"net/http"
	"reflect"
	"testing"

	"github.com/toolgate/toolgate/credential"
)

func TestWithheldInEverySpelling(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "Cookie": true, "X-Api-Key": true, "X-User-Id": true, "X-Toolkit": true, "X-Account": true,
		"X-Toolgate-Key": true, "X-Toolgate-Future": true, "X-Forwarded-For": true, "X-Forwarded-Future": true, "X-Forwarded": true,
		"Forwarded": true, "Via": true, "Traceparent": true, "X-B3-Sampled": true, "Transfer-Encoding": true,
		"X_user_id": true, "X.user.id": true, "X_forwarded_for": true, "X_toolgate_key": true, "X-Api_key": true,
		"Accept": false, "Content-Type": false, "X-Request-Id": false, "X-Goog-Api-Key": false, "Idempotency-Key": false,
		"Expect": false, "Range": false, "X_custom": false, "X-Viable": false, "X-Useful": false,
	} {
		if got := credential.Withheld(name); got != want {
			t.Errorf("%s is withheld: %v", name, got)
		}
	}
}

func TestCleanCopiesAndLeavesTheOriginal(t *testing.T) {
	in := http.Header{
		"Accept": {"a", "b"}, "Cookie": {"c"}, "Connection": {"x-hop, Te", "Upgrade"}, "X-Hop": {"1"},
		"Te": {"trailers;q=0.5, trailers"}, "Upgrade": {"websocket"},
	}
	before := in.Clone()
	out := credential.Clean(in)
	want := http.Header{"Accept": {"a", "b"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Te": {"trailers"}}
	if !reflect.DeepEqual(out, want) {
		t.Errorf("sent %v, want %v", out, want)
	}
	out["Accept"] = append(out["Accept"], "c") // must not write over another header's values
	out["Accept"][0] = "changed"
	if !reflect.DeepEqual(in, before) {
		t.Errorf("the original became %v", in)
	}
}

func TestWhatAnUpgradeIs(t *testing.T) {
	for name, c := range map[string]struct {
		header http.Header
		want   string
	}{
		"a WebSocket":         {http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}}, "websocket"},
		"not in Connection":   {http.Header{"Upgrade": {"websocket"}}, ""},
		"in Connection alone": {http.Header{"Connection": {"upgrade"}}, ""},
		"HTTP/2 in clear":     {http.Header{"Connection": {"upgrade"}, "Upgrade": {"H2C"}}, ""},
		"not ASCII":           {http.Header{"Connection": {"upgrade"}, "Upgrade": {"websock\u00e9t"}}, ""},
	} {
		if got := credential.UpgradeType(c.header); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
