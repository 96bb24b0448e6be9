// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// hostile is a request that must not get through. A header that is listed replaces
// what a good request has; an empty list takes it away.
type hostile struct {
	name   string
	method string
	path   string
	header http.Header
	want   verdict
}

var hostileToAgents = []hostile{
	{name: "user twice", header: h("X-User-Id", "ada", "bob"), want: verdict{400, "duplicate_header", "identify", "x-user-id"}},
	{name: "user twice, alike", header: h("X-User-Id", "ada", "ada"), want: verdict{400, "duplicate_header", "identify", "x-user-id"}},
	{name: "user joined by a comma", header: h("X-User-Id", "ada, bob"), want: verdict{400, "invalid_user", "identify", "x-user-id"}},
	{name: "user joined by a comma alone", header: h("X-User-Id", "ada,bob"), want: verdict{400, "invalid_user", "identify", "x-user-id"}},
	{name: "no user", header: h("X-User-Id"), want: verdict{400, "user_required", "identify", "x-user-id"}},
	{name: "empty user", header: h("X-User-Id", ""), want: verdict{400, "invalid_user", "identify", "x-user-id"}},
	{name: "user of spaces", header: h("X-User-Id", "   "), want: verdict{400, "invalid_user", "identify", "x-user-id"}},
	{name: "user with a space", header: h("X-User-Id", "ada lovelace"), want: verdict{400, "invalid_user", "identify", "x-user-id"}},
	{name: "user with a tab", header: h("X-User-Id", "ada\tlovelace"), want: verdict{400, "invalid_user", "identify", "x-user-id"}},
	{name: "user in UTF-8", header: h("X-User-Id", "\u00e4da"), want: verdict{400, "invalid_user", "identify", "x-user-id"}},
	{name: "user of 8 KiB", header: h("X-User-Id", strings.Repeat("a", 8<<10)), want: verdict{400, "invalid_user", "identify", "x-user-id"}},
	{name: "user of 257 bytes", header: h("X-User-Id", strings.Repeat("a", 257)), want: verdict{400, "invalid_user", "identify", "x-user-id"}},
	{name: "user by another spelling of the header", header: http.Header{"X-User-Id": nil, "X_User_Id": {"ada"}}, want: verdict{400, "user_required", "identify", "x-user-id"}},
	{name: "user that the agent may not act for", header: http.Header{"X-Toolgate-Key": {gatewaytest.OtherKey}, "X-User-Id": {"bob"}}, want: verdict{403, "user_mismatch", "identify", "acts_for"}},

	{name: "no key", header: h("X-Toolgate-Key"), want: verdict{401, "unknown_agent", "identify", "agent_key"}},
	{name: "unknown key", header: h("X-Toolgate-Key", "tgk_guessed"), want: verdict{401, "unknown_agent", "identify", "agent_key"}},
	{name: "key with its end cut off", header: h("X-Toolgate-Key", gatewaytest.AgentKey[:len(gatewaytest.AgentKey)-1]), want: verdict{401, "unknown_agent", "identify", "agent_key"}},
	{name: "empty key", header: h("X-Toolgate-Key", ""), want: verdict{401, "unknown_agent", "identify", "agent_key"}},
	{name: "key twice", header: h("X-Toolgate-Key", gatewaytest.AgentKey, gatewaytest.AgentKey), want: verdict{400, "duplicate_header", "identify", "x-toolgate-key"}},
	{name: "keys joined by a comma", header: h("X-Toolgate-Key", gatewaytest.AgentKey+", "+gatewaytest.AgentKey), want: verdict{401, "unknown_agent", "identify", "agent_key"}},
	{name: "Authorization twice", header: h("Authorization", "Bearer x", "Bearer y"), want: verdict{400, "duplicate_header", "identify", "authorization"}},
	{name: "x-api-key twice", header: h("X-Api-Key", "x", "y"), want: verdict{400, "duplicate_header", "identify", "x-api-key"}},
	{name: "two agents' keys", header: h("Authorization", "Bearer "+gatewaytest.OtherKey), want: verdict{400, "conflicting_credentials", "identify", "two_proofs"}},
	{name: "two agents' keys, one as x-api-key", header: http.Header{"X-Toolgate-Key": nil, "Authorization": {"Bearer " + gatewaytest.AgentKey}, "X-Api-Key": {gatewaytest.OtherKey}}, want: verdict{400, "conflicting_credentials", "identify", "two_proofs"}},
	{name: "a good key beside an unknown one", header: h("Authorization", "Bearer tgk_guessed"), want: verdict{400, "conflicting_credentials", "identify", "two_proofs"}},
	{name: "an unknown key beside a good one", header: http.Header{"X-Toolgate-Key": {"tgk_guessed"}, "Authorization": {"Bearer " + gatewaytest.AgentKey}}, want: verdict{400, "conflicting_credentials", "identify", "two_proofs"}},
	{name: "the provider's own token only", header: http.Header{"X-Toolgate-Key": nil, "Authorization": {"Bearer gho_stolen"}}, want: verdict{401, "unknown_agent", "identify", "agent_key"}},
	{name: "a browser that goes there", header: h("Sec-Fetch-Mode", "navigate"), want: verdict{403, "browser_request", "identify", "sec-fetch-mode"}},

	{name: "unknown toolkit in the path", path: "/nope/x", want: verdict{404, "unknown_toolkit", "resolve", "toolkit"}},
	{name: "unknown toolkit in the header", path: "/x", header: h("X-Toolkit", "nope"), want: verdict{404, "unknown_toolkit", "resolve", "toolkit"}},
	{name: "empty toolkit", path: "/x", header: h("X-Toolkit", ""), want: verdict{404, "unknown_toolkit", "resolve", "x-toolkit"}},
	{name: "toolkit in capitals", path: "/x", header: h("X-Toolkit", "ACME"), want: verdict{404, "unknown_toolkit", "resolve", "x-toolkit"}},
	{name: "toolkit in capitals in the path", path: "/ACME/x", want: verdict{404, "unknown_toolkit", "resolve", "toolkit"}},
	{name: "toolkit spelled with an escape", path: "/%61cme/x", want: verdict{404, "unknown_toolkit", "resolve", "toolkit"}},
	{name: "toolkits joined by a comma", path: "/x", header: h("X-Toolkit", "acme, open"), want: verdict{404, "unknown_toolkit", "resolve", "x-toolkit"}},
	{name: "toolkit twice", path: "/x", header: h("X-Toolkit", "acme", "open"), want: verdict{400, "duplicate_header", "identify", "x-toolkit"}},
	{name: "header and path disagree", path: "/acme/x", header: h("X-Toolkit", "open"), want: verdict{400, "ambiguous_toolkit", "resolve", "selectors"}},
	{name: "account twice", header: h("X-Account", "work", "home"), want: verdict{400, "duplicate_header", "identify", "x-account"}},
	{name: "account twice, alike", header: h("X-Account", "work", "work"), want: verdict{400, "duplicate_header", "identify", "x-account"}},
	{name: "accounts joined by a comma", header: h("X-Account", "work, home"), want: verdict{400, "invalid_account", "resolve", "x-account"}},
	{name: "empty account", header: h("X-Account", ""), want: verdict{400, "invalid_account", "resolve", "x-account"}},
	{name: "account of spaces", header: h("X-Account", "  "), want: verdict{400, "invalid_account", "resolve", "x-account"}},
	{name: "account of 257 bytes", header: h("X-Account", strings.Repeat("a", 257)), want: verdict{400, "invalid_account", "resolve", "x-account"}},
	{name: "empty account in the path", path: "/acme@/x", want: verdict{400, "invalid_account", "resolve", "x-account"}},
	{name: "a slash in the account in the path", path: "/acme@a%2F..%2F..%20/x", want: verdict{400, "invalid_account", "resolve", "x-account"}},
	{name: "a control character in the account in the path", path: "/acme@%0d%0a/x", want: verdict{400, "invalid_account", "resolve", "x-account"}},
	{name: "accounts disagree", path: "/acme@home/x", header: h("X-Account", "work"), want: verdict{400, "invalid_account", "resolve", "selectors"}},
	{name: "an account of an unknown toolkit", path: "/nope@work/x", want: verdict{404, "unknown_toolkit", "resolve", "toolkit"}},
	{name: "an account of a toolkit spelled with an escape", path: "/%61cme@work/x", want: verdict{404, "unknown_toolkit", "resolve", "toolkit"}},
	{name: "header and path with an account disagree", path: "/acme@work/x", header: h("X-Toolkit", "open"), want: verdict{400, "ambiguous_toolkit", "resolve", "selectors"}},
	{name: "no toolkit", path: "/", want: verdict{400, "toolkit_required", "resolve", "toolkit"}},
	{name: "an empty first segment", path: "//acme/x", want: verdict{400, "toolkit_required", "resolve", "toolkit"}},
	{name: "another host in the path", path: "//evil.example/x", want: verdict{400, "toolkit_required", "resolve", "toolkit"}},
	{name: "another host as a toolkit", path: "/@evil.example/x", want: verdict{404, "unknown_toolkit", "resolve", "toolkit"}},
	{name: "toolkit that the agent may not use", path: "/open/x", header: h("X-Toolgate-Key", gatewaytest.OtherKey), want: verdict{403, "toolkit_not_allowed", "resolve", "toolkits"}},
	{name: "toolkit that is not set up", path: "/draft/x", want: verdict{503, "toolkit_draft", "resolve", "draft"}},
	{name: "reserved name as toolkit", path: "/x", header: h("X-Toolkit", "connect"), want: verdict{404, "unknown_toolkit", "resolve", "x-toolkit"}},

	{name: "TRACE", method: "TRACE", want: verdict{405, "method_not_allowed", "resolve", "method"}},
	{name: "TRACK", method: "TRACK", want: verdict{405, "method_not_allowed", "resolve", "method"}},
	{name: "trace", method: "trace", want: verdict{405, "method_not_allowed", "resolve", "method"}},
	{name: "dot segments", path: "/acme/../../etc", want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "escaped dot segments", path: "/acme/%2e%2e/x", want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "half escaped dot segments", path: "/acme/.%2E/x", want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "dot segments behind an escaped slash", path: "/acme/a%2f..%2f..%2fx", want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "dot segment with a parameter", path: "/acme/..;x/y", want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "one dot", path: "/acme/./x", want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "a backslash", path: `/acme/a\..\b`, want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "an escaped backslash", path: "/acme/a%5c..%5cb", want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "an escaped line break", path: "/acme/a%0d%0aHost:%20evil", want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "an escaped NUL", path: "/acme/a%00b", want: verdict{400, "invalid_path", "resolve", "path"}},
	{name: "a host that the toolkit does not have", path: "/acme/~evil/x", want: verdict{400, "invalid_path", "resolve", "host_alias"}},
	{name: "an empty host alias", path: "/acme/~/x", want: verdict{400, "invalid_path", "resolve", "host_alias"}},
	{name: "dot segments behind a host alias", path: "/acme/~files/../x", want: verdict{400, "invalid_path", "resolve", "path"}},
}

// hostileToLocal are for a gateway without agents, where being on this machine is
// the only proof.
var hostileToLocal = []hostile{
	{name: "a page by DNS rebinding", header: h("Host", "evil.example"), want: verdict{403, "not_local", "identify", "host"}},
	{name: "a name that only looks local", header: h("Host", "127.0.0.1.nip.io:80"), want: verdict{403, "not_local", "identify", "host"}},
	{name: "localhost as a subdomain's parent", header: h("Host", "localhost.evil.example"), want: verdict{403, "not_local", "identify", "host"}},
	{name: "this machine's other address", header: h("Host", "192.168.1.7:8080"), want: verdict{403, "not_local", "identify", "host"}},
	{name: "the unspecified address", header: h("Host", "0.0.0.0:8080"), want: verdict{403, "not_local", "identify", "host"}},
	{name: "a web page", header: h("Origin", "https://evil.example"), want: verdict{403, "not_local", "identify", "origin"}},
	{name: "a local file's page", header: h("Origin", "null"), want: verdict{403, "not_local", "identify", "origin"}},
	{name: "an empty Origin", header: h("Origin", ""), want: verdict{403, "not_local", "identify", "origin"}},
	{name: "an image on another site", header: h("Sec-Fetch-Site", "cross-site"), want: verdict{403, "not_local", "identify", "sec-fetch-site"}},
	{name: "an image on a neighbour's port", header: h("Sec-Fetch-Site", "same-site"), want: verdict{403, "not_local", "identify", "sec-fetch-site"}},
	{name: "two sites", header: h("Sec-Fetch-Site", "none", "cross-site"), want: verdict{403, "not_local", "identify", "sec-fetch-site"}},
	{name: "a site of the future", header: h("Sec-Fetch-Site", "foreign"), want: verdict{403, "not_local", "identify", "sec-fetch-site"}},
	{name: "Forwarded", header: h("Forwarded", "for=192.0.2.1"), want: verdict{403, "not_local", "identify", "forwarded"}},
	{name: "X-Forwarded-For", header: h("X-Forwarded-For", "192.0.2.1"), want: verdict{403, "not_local", "identify", "x-forwarded-for"}},
	{name: "X-Forwarded-For, empty", header: h("X-Forwarded-For", ""), want: verdict{403, "not_local", "identify", "x-forwarded-for"}},
	{name: "X-Forwarded-Proto", header: h("X-Forwarded-Proto", "https"), want: verdict{403, "not_local", "identify", "x-forwarded-proto"}},
	{name: "X-Forwarded-Host", header: h("X-Forwarded-Host", "localhost"), want: verdict{403, "not_local", "identify", "x-forwarded-host"}},
	{name: "X-Forwarded", header: h("X-Forwarded", "for=192.0.2.1"), want: verdict{403, "not_local", "identify", "x-forwarded"}},
	{name: "Via", header: h("Via", "1.1 proxy"), want: verdict{403, "not_local", "identify", "via"}},
	{name: "X-Real-Ip", header: h("X-Real-Ip", "192.0.2.1"), want: verdict{403, "not_local", "identify", "x-real-ip"}},
	{name: "Cf-Connecting-Ip", header: h("Cf-Connecting-Ip", "192.0.2.1"), want: verdict{403, "not_local", "identify", "cf-connecting-ip"}},
	{name: "a browser that goes there", header: http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"none"}}, want: verdict{403, "browser_request", "identify", "sec-fetch-mode"}},
	{name: "no user", header: h("X-User-Id"), want: verdict{400, "user_required", "identify", "x-user-id"}},
	{name: "user twice", header: h("X-User-Id", "ada", "bob"), want: verdict{400, "duplicate_header", "identify", "x-user-id"}},
}

func h(name string, values ...string) http.Header { return http.Header{name: values} }

func TestHostileRequestsGetNowhere(t *testing.T) {
	for _, c := range hostileToAgents {
		t.Run(c.name, func(t *testing.T) { c.try(t, gatewaytest.Options{}) })
	}
}

func TestWithoutAgentsOnlyThisMachineIsServed(t *testing.T) {
	for _, c := range hostileToLocal {
		t.Run(c.name, func(t *testing.T) { c.try(t, gatewaytest.Options{Local: true}) })
	}
}

func (c hostile) try(t *testing.T, o gatewaytest.Options) {
	w := gatewaytest.New(t, o)
	r := w.Request(orElse(c.method, "GET"), w.H1, nil)
	r.URL.Opaque = orElse(c.path, "/acme/user") // as it is, byte for byte
	if strings.HasPrefix(r.URL.Opaque, "//") {
		r.URL.Path, r.URL.Opaque = r.URL.Opaque, ""
	}
	for name, values := range c.header {
		r.Header[name] = slices.Clone(values)
	}
	if host := c.header["Host"]; host != nil {
		r.Host = host[0]
	}
	res, body := w.Do(r)
	refused(t, w, res, body, c.want)
	nothingLeft(t, w)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func TestOverHTTP2AQueryCannotHoldWhatEndsARequestLine(t *testing.T) {
	for _, query := range []string{"a b", "a#b"} {
		w := gatewaytest.New(t, gatewaytest.Options{})
		r := w.Request("GET", w.H2+"/maps/x", nil)
		r.URL.RawQuery = query
		res, body := w.Do(r)
		refused(t, w, res, body, verdict{400, "invalid_path", "resolve", "query"})
		nothingLeft(t, w)
	}
}

func TestAPeerFromAnotherMachineIsNotLocal(t *testing.T) {
	for _, peer := range []string{"192.0.2.1:4711", "[2001:db8::1]:4711", "[fe80::1%lo]:4711", "127.0.0.1", "@", ""} {
		w := gatewaytest.New(t, gatewaytest.Options{Local: true})
		r := httptest.NewRequest("GET", "/acme/user", nil)
		r.Host, r.RemoteAddr = "localhost", peer
		r.Header.Set("X-User-Id", "ada")
		rec := httptest.NewRecorder()
		w.Gateway.ServeHTTP(rec, r)
		refused(t, w, rec.Result(), rec.Body.String(), verdict{403, "not_local", "identify", "peer"})
		nothingLeft(t, w)
	}
}

func TestCallsFromThisMachineAreServedWithoutAgents(t *testing.T) {
	for _, peer := range []string{"127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"} {
		for _, host := range []string{"localhost", "localhost:8080", "LOCALHOST.", "gw.localhost:80", "127.0.0.1:8080", "[::1]:8080", "[::1]"} {
			w := gatewaytest.New(t, gatewaytest.Options{Local: true})
			r := httptest.NewRequest("GET", "/acme/user", nil)
			r.Host, r.RemoteAddr = host, peer
			r.Header.Set("X-User-Id", "ada")
			rec := httptest.NewRecorder()
			w.Gateway.ServeHTTP(rec, r)
			if rec.Code != 200 || w.Provider.Calls() != 1 {
				t.Errorf("from %s to %s: %d %s", peer, host, rec.Code, rec.Body)
			}
		}
	}
}
