// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"net/http"
	"strings"
)

// stripped are the request headers that never reach a provider, in canonical form.
var stripped = map[string]bool{
	// What the agent proved itself with, to us.
	"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "Cookie2": true,
	"X-Api-Key": true, "X-Toolgate-Key": true,
	// Who the agent acts for, and on what.
	"X-User-Id": true, "X-Toolkit": true, "X-Account": true, "X-Tenant": true,
	// Another address than the one that was checked, to some frameworks.
	"X-Original-Url": true, "X-Rewrite-Url": true,
	// Trace ids join calls of different users at a third party.
	"Traceparent": true, "Tracestate": true, "Baggage": true, "B3": true, "Uber-Trace-Id": true, "X-Amzn-Trace-Id": true,
	"Sentry-Trace": true, "X-Cloud-Trace-Context": true,
	// Hop by hop (RFC 9110 §7.6.1). Te, Upgrade and Connection are dealt with apart.
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Proxy-Authenticate": true,
	// HTTP/2 settings of an upgrade to h2c.
	"Http2-Settings": true,
}

// TellsOrigin reports whether a request header, in canonical form, says where a
// call came from, as proxies do. The provider has no business with the operator's
// network.
func TellsOrigin(name string) bool {
	switch name {
	case "Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded")
}

// Withheld reports whether a request header or trailer, in canonical form, never
// reaches a provider.
func Withheld(name string) bool {
	if strings.ContainsAny(name, "_.") {
		// CGI and its heirs read X_User_Id as X-User-Id.
		name = http.CanonicalHeaderKey(strings.NewReplacer("_", "-", ".", "-").Replace(name))
	}
	return stripped[name] || strings.HasPrefix(name, "X-") && (strings.HasPrefix(name, "X-Toolgate-") || strings.HasPrefix(name, "X-B3-")) || TellsOrigin(name)
}

// Clean copies the request headers that may go to the provider. What the
// Connection header names is dropped as well, and since the credential is put on
// afterwards, "Connection: authorization" takes nothing away that is ours.
func Clean(in http.Header) http.Header {
	named := ConnectionOptions(in)
	out := make(http.Header, len(in)+2)
	values := make([]string, 0, len(in)+2) // one allocation for all values
	for name, vv := range in {
		if named[name] || Withheld(name) {
			continue
		}
		start := len(values)
		values = append(values, vv...)
		out[name] = values[start:len(values):len(values)]
	}
	keepHopByHop(in, out)
	return out
}

// keepHopByHop puts back what is hop by hop and still has to be said to the next
// hop: that trailers are understood (gRPC insists) and that this is an upgrade.
func keepHopByHop(in, out http.Header) {
	if hasToken(in["Te"], "trailers") {
		out["Te"] = []string{"trailers"}
	}
	if upgrade := UpgradeType(in); upgrade != "" {
		out["Connection"] = []string{"Upgrade"}
		out["Upgrade"] = []string{upgrade}
	}
}

// UpgradeType is the protocol that a message wants to change to, or "".
func UpgradeType(h http.Header) string {
	if !hasToken(h["Connection"], "upgrade") {
		return ""
	}
	upgrade := h.Get("Upgrade")
	for i := range len(upgrade) {
		if upgrade[i] < ' ' || upgrade[i] > '~' {
			return ""
		}
	}
	if strings.EqualFold(upgrade, "h2c") {
		return "" // it would take the connection away from under the gateway
	}
	return upgrade
}

// HopByHop reports whether a response header is for this hop alone.
func HopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authenticate", "Proxy-Authorization":
		return true
	}
	return false
}

// ConnectionOptions are the headers that a message's Connection header names, in
// canonical form; nil where it names none.
func ConnectionOptions(h http.Header) map[string]bool {
	var named map[string]bool
	for _, v := range h["Connection"] {
		for token := range strings.SplitSeq(v, ",") {
			if token = strings.TrimSpace(token); token != "" {
				if named == nil {
					named = map[string]bool{}
				}
				named[http.CanonicalHeaderKey(token)] = true
			}
		}
	}
	return named
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
