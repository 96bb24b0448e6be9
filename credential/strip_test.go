// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/secret"
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

// Whatever an agent sends: what is withheld does not go out, what is not does, byte for
// byte, and the credential is there in the end, once.
func FuzzClean(f *testing.F) {
	f.Add("Accept: a\nAccept: b\nCookie: c\nConnection: x-hop, Te, Upgrade\nX-Hop: 1\nTe: trailers\nUpgrade: websocket")
	f.Add("Connection: authorization, x-user-id\nAuthorization: Bearer tgk_x\nX-User-Id: ada\nX_user_id: eve\nx.forwarded.for: 1")
	f.Add("connection: close, content-type\nCONTENT-TYPE: a/b\nTransfer-Encoding: chunked\nTrailer: authorization\nHttp2-Settings: x")
	f.Add("Authorization : x\n\tAuthorization: y\nAuthorization\x00: z\nX-Api-Key\u212a: k\nConnection: \"authorization\"")
	f.Fuzz(func(t *testing.T, text string) {
		in := http.Header{}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			if httpguts.ValidHeaderFieldName(name) { // servers let no other through
				in.Add(name, strings.TrimSpace(value))
			}
		}
		before := in.Clone()
		out := credential.Clean(in)
		if !reflect.DeepEqual(in, before) {
			t.Fatalf("the original became %v", in)
		}
		named := credential.ConnectionOptions(in)
		for name, values := range out {
			if said := strings.Join(values, ","); credential.Withheld(name) && !(name == "Te" && said == "trailers" || name == "Connection" && said == "Upgrade" || name == "Upgrade" && said == in.Get("Upgrade")) {
				t.Fatalf("%q goes out as %q", name, values)
			}
			if plain := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name)); plain == "authorization" || plain == "cookie" || plain == "x-user-id" || strings.HasPrefix(plain, "x-toolgate-") || strings.HasPrefix(plain, "x-forwarded-") {
				t.Fatalf("%q goes out", name)
			}
		}
		for name, values := range in {
			if kept := !credential.Withheld(name) && !named[name]; kept != (out[name] != nil) && name != "Te" && name != "Connection" && name != "Upgrade" || kept && !reflect.DeepEqual(out[name], values) {
				t.Fatalf("%q: %q became %q, named %v", name, values, out[name], named)
			}
		}
		r := &http.Request{Header: out}
		credential.Header{Name: "Authorization", Prefix: "Bearer ", Secret: secret.New("token")}.Apply(r)
		if got := r.Header["Authorization"]; len(got) != 1 || got[0] != "Bearer token" {
			t.Fatalf("the credential is %q", got)
		}
	})
}
