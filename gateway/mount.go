// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"net"
	"strings"
)

// Mount is how a site hands requests to the gateway.
type Mount struct {
	// Toolkit pins the site to one toolkit. "": each request selects its own.
	Toolkit string
	// Hosts are patterns by which a request's host selects: with
	// "*.gw.example.com", github.gw.example.com is for the toolkit github. SDKs
	// that drop a path prefix (Google's, Stripe's) need this.
	Hosts []string
	// URL is where agents reach the mount, such as "https://tools.example.com/gw",
	// for addresses that are given back to them. "": what the request says, which
	// is wrong behind a proxy that ends TLS or cuts the path.
	URL string
	// Prefix is what the server has cut off this request's path.
	Prefix string
}

// Validate checks the patterns.
func (m Mount) Validate() error {
	for _, pattern := range m.Hosts {
		if suffix, ok := strings.CutPrefix(pattern, "*."); !ok || suffix == "" || strings.ContainsAny(suffix, "*:/ ") {
			return fmt.Errorf("hosts %q: a pattern such as *.gw.example.com, please, without a port", pattern)
		}
	}
	return nil
}

// Site is the toolkit that the site itself selects: the pinned one or the host's.
func (m Mount) Site(hostport string) string {
	if m.Toolkit != "" {
		return m.Toolkit
	}
	return m.byHost(hostport)
}

// byHost is the toolkit that a host selects, known or not; "" where it selects none.
func (m Mount) byHost(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	label, domain, _ := strings.Cut(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	for _, pattern := range m.Hosts {
		if domain == strings.ToLower(pattern[len("*."):]) {
			return label
		}
	}
	return ""
}
