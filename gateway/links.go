// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
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
	here    string   // where the toolkit's paths begin for the agent
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

// address rewrites one address. What is not the toolkit's stays as it is, byte for
// byte.
func (r rewriter) address(text string) string {
	u, err := r.target.Parse(strings.TrimSpace(text))
	if err != nil {
		return text
	}
	path, ok := r.toolkit.Local(u)
	if !ok && r.isHere(u) {
		// A provider that names the gateway would have the agent's key and the
		// user's credential for another toolkit put on a call of its choice.
		return "about:blank"
	}
	if !ok {
		return text
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

// isHere reports whether an address is the gateway's own. Another port of its name
// counts, since one often leads to the other; not so on this machine, where each port
// is another program.
func (r rewriter) isHere(u *url.URL) bool {
	here, err := url.Parse(r.here)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Hostname(), here.Hostname()) {
		return false
	}
	return u.Port() == here.Port() || !LoopbackHost(u.Host)
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
	return rewriter{toolkit: x.toolkit, target: cmp.Or(x.download, x.target), here: x.here()}
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
