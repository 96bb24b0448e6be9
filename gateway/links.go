// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/toolgate/toolgate/toolkit"
)

// rewriter turns addresses of a toolkit, in an answer, into the addresses by which the
// agent reaches them here. Left alone, the next page and the redirect would take the
// agent's key past us to the provider, and come without the user's credential.
type rewriter struct {
	toolkit *toolkit.Toolkit
	target  *url.URL // what answered, for relative addresses
	signed  bool     // target is a secret
	here    string   // where the toolkit's paths begin for the agent
	mount   Mount    // other hosts of which are the gateway's too
}

// linkHeaders hold one address each; Link holds several, in angle brackets.
var linkHeaders = [...]string{"Location", "Content-Location"}

// header rewrites the addresses in an answer's header.
func (r rewriter) header(h http.Header) {
	for _, name := range linkHeaders {
		each(h, name, r.address)
	}
	each(h, "Link", r.links)
}

// each changes a header's values in a slice of their own: the old one is the
// provider's answer, which is not ours to change.
func each(h http.Header, name string, change func(string) string) {
	values := h[name]
	if len(values) == 0 {
		return
	}
	changed := make([]string, len(values))
	for i, v := range values {
		changed[i] = change(v)
	}
	h[name] = changed
}

// nowhere stands for an address that the agent must not follow.
const nowhere = "about:blank"

// address rewrites one address. What is not the toolkit's stays as it is, byte for
// byte, unless it may lead to the gateway itself: a provider could then have the
// agent's key and the user's credential for another toolkit put on a call of its choice.
func (r rewriter) address(text string) string {
	said, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		return nowhere
	}
	u := r.target.ResolveReference(said)
	path, ok := r.toolkit.Local(u)
	switch {
	case readInTwoWays(said, u), !ok && r.isHere(u), !ok && said.Scheme == "" && r.signed:
		return nowhere
	case !ok && said.Scheme == "": // to the agent, it would be an address of the gateway's
		return u.String()
	case !ok:
		return text
	}
	// "/%2e%2e/slack" is "/slack" to clients that read addresses as browsers do,
	// and behind a prefix that is another toolkit.
	if _, err := r.toolkit.Target(path, u.RawQuery); err != nil {
		return nowhere
	}
	// Absolute, since clients put a relative one behind their base URL, which
	// has the toolkit's prefix already.
	text = r.here + path
	if u.RawQuery != "" || u.ForceQuery {
		text += "?" + u.RawQuery
	}
	if u.Fragment != "" {
		text += "#" + u.EscapedFragment()
	}
	return text
}

// readInTwoWays reports whether clients that read addresses as browsers do
// (url.spec.whatwg.org) may find another host in said than net/url does: they take a
// backslash for a slash, skip missing and superfluous slashes, unescape and map the
// name, and read numbers as IPv4 addresses.
func readInTwoWays(said, u *url.URL) bool {
	web := u.Scheme == "http" || u.Scheme == "https"
	host := strings.TrimSuffix(u.Hostname(), ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch {
	case !web:
		return false
	case u.Opaque != "" || host == "" || said.Host == "" && strings.HasPrefix(said.Path, "//"):
		return true
	case strings.ContainsAny(u.Host, "%\\") || strings.ContainsFunc(u.Host, func(c rune) bool { return c > '~' }):
		return true
	case strings.Contains(host, ":"): // IPv6
		return false
	case last == "":
		return true
	case last[0] >= '0' && last[0] <= '9':
		return net.ParseIP(host) == nil
	}
	return false
}

// isHere reports whether an address is the gateway's own. Another port of its name
// counts, since one often leads to the other; not so on this machine, where each port
// is another program, under whatever name.
func (r rewriter) isHere(u *url.URL) bool {
	here, err := url.Parse(r.here)
	if err != nil || u.Host == "" {
		return false
	}
	if LoopbackHost(u.Host) || unspecified(u.Hostname()) {
		return portOf(u) == portOf(here) && LoopbackHost(here.Host)
	}
	name := strings.TrimSuffix(u.Hostname(), ".")
	return strings.EqualFold(name, strings.TrimSuffix(here.Hostname(), ".")) || r.mount.byHost(name) != ""
}

// unspecified reports whether host is 0.0.0.0 or [::], which lead to this machine too.
func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// links rewrites the targets of a Link header (RFC 8288 §3): <address>; rel="next", …
func (r rewriter) links(value string) string {
	var out strings.Builder
	for {
		before, rest, found := cutTarget(value)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		address, after, closed := strings.Cut(rest, ">")
		if !closed {
			out.WriteString("<" + rest)
			return out.String()
		}
		out.WriteString("<" + r.address(address) + ">")
		value = after
	}
}

// cutTarget cuts at the next "<" that is not inside a quoted parameter.
func cutTarget(s string) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '<' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func (x *exchange) rewriter() rewriter {
	return rewriter{toolkit: x.toolkit, target: cmp.Or(x.download, x.target), signed: x.download != nil, here: x.here(), mount: x.mount}
}

// here is where the toolkit's paths begin for the agent: in the way that this request
// named the toolkit, so that the same client can follow.
func (x *exchange) here() string {
	base := strings.TrimSuffix(x.mount.URL, "/")
	if base == "" {
		scheme := "http://"
		if x.in.TLS != nil {
			scheme = "https://"
		}
		base = scheme + x.in.Host + x.mount.Prefix
	}
	if x.cut {
		base += "/" + x.toolkit.ID
	}
	return base
}
