// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
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
	// others: below here, a path's first segment chooses among these toolkits where a
	// client does not repeat the X-Toolkit that chose this one.
	others  map[string]Endpoint
	secrets []string // that no address may hold
}

// linkHeaders hold one address each; Link holds several, in angle brackets.
var linkHeaders = [...]string{"Location", "Content-Location"}

// header rewrites the addresses in an answer's header.
func (r rewriter) header(h http.Header) {
	for _, name := range linkHeaders {
		if len(h[name]) > 1 { // clients take the first, the last, or all joined by commas
			h[name] = []string{nowhere}
			continue
		}
		each(h, name, r.address)
	}
	each(h, "Link", r.links)
	if h["Link"] = slices.DeleteFunc(h["Link"], func(v string) bool { return v == "" }); len(h["Link"]) == 0 {
		delete(h, "Link")
	}
}

// hasLinks reports whether there is anything to rewrite.
func hasLinks(h http.Header) bool {
	return h["Link"] != nil || h["Location"] != nil || h["Content-Location"] != nil
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

// webSpace is what clients take off around an address. Other white space, such as U+00A0,
// is a part of it to them: a relative path, where to us there would be a scheme.
const webSpace = " \t"

// address rewrites one address. What is not the toolkit's stays as it is, byte for
// byte, unless it may lead to the gateway itself: a provider could then have the
// agent's key and the user's credential for another toolkit put on a call of its choice.
func (r rewriter) address(text string) string {
	said, err := url.Parse(strings.Trim(text, webSpace))
	if err != nil || echoes(text, r.secrets) {
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
	if _, err := r.toolkit.Target(path, u.RawQuery); err != nil || r.choosesAnother(path) {
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

// choosesAnother reports whether a path of this toolkit's is one of another toolkit's to
// a client that goes there by the path alone. Clients unescape letters, and some servers
// merge slashes.
func (r rewriter) choosesAnother(path string) bool {
	segment, _ := firstSegment(strings.TrimLeft(path, "/"))
	plain, err := url.PathUnescape(segment)
	plain, _, account := strings.Cut(plain, accountMark) // of the same toolkit, that would be another token
	_, known := r.others[plain]
	return err != nil || known && (plain != r.toolkit.ID || account)
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
	case strings.ContainsFunc(u.Host, notInHost) || strings.ContainsAny(u.User.String(), ",;"):
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

// notInHost: beside what is mapped or unescaped, also "," and ";", at which simple readers
// of a Link header end an address.
func notInHost(c rune) bool {
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	return !letter && !strings.ContainsRune("-._:[]", c)
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
	if a, err := netip.ParseAddr(u.Hostname()); err == nil { // ::ffff:10.1.2.3 is 10.1.2.3
		b, err := netip.ParseAddr(here.Hostname())
		return err == nil && a.Unmap() == b.Unmap()
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
//
// Few clients read it by the grammar: to most, a link begins at any "<", in a quoted
// parameter too, or behind any comma, and ends where it likes. So every "<" is taken for
// a link's, and a value with an address that is not in brackets is left out.
func (r rewriter) links(value string) string {
	var out strings.Builder
	between, rest, more := strings.Cut(value, "<")
	if strings.Trim(between, webSpace+",") != "" {
		return ""
	}
	for more {
		address, after, closed := strings.Cut(rest, ">")
		if !closed {
			return ""
		}
		if strings.ContainsAny(address, "<\"") {
			address = nowhere
		} else {
			address = r.address(address)
		}
		out.WriteString(between)
		between, rest, more = strings.Cut(after, "<")
		if looksLikeNext(between) || goesOn(between) {
			return ""
		}
		if looksLikeNext(address + between) {
			address = strings.ReplaceAll(address, ",", "%2C")
		}
		out.WriteString("<" + address + ">")
	}
	return out.String() + between
}

// looksLikeNext reports whether an address may stand behind a comma in text.
func looksLikeNext(text string) bool {
	_, next, _ := strings.Cut(text, ",")
	return strings.ContainsAny(next, "/\\")
}

// goesOn reports whether something stands behind a bracket before the first parameter.
// Clients that take all up to there for the address, such as Python's requests, would put
// it behind ours: "<a>b/../../slack" is a path that leads out of the toolkit.
func goesOn(text string) bool {
	if i := strings.IndexAny(text, ";,"); i >= 0 {
		text = text[:i]
	}
	return strings.Trim(text, webSpace+`"`) != "" // the end of a parameter that has brackets in it
}

func (x *exchange) rewriter() rewriter {
	r := rewriter{toolkit: x.own, target: cmp.Or(x.download, x.target), signed: x.download != nil, here: x.here(), mount: x.mount, secrets: x.secrets}
	if x.cut == "" && x.mount.Site(x.in.Host) == "" && x.caller.Session.Only() == "" {
		r.others = x.toolkits
	}
	return r
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
	if x.cut != "" {
		base += "/" + x.cut
	}
	return base
}
