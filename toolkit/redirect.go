// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// HostPattern names a host, such as "codeload.github.com", or with "*." before it
// every host below one, however deep. Without a port it means the scheme's own.
type HostPattern string

// MayRedirectTo reports whether u is a place where the toolkit keeps its downloads,
// so that a redirect to it may be followed. It is never one by its number: a pattern
// names who answers for a host, and nobody answers for an address.
func (t *Toolkit) MayRedirectTo(u *url.URL) bool {
	if u.User != nil || u.Opaque != "" || u.Scheme != "https" && (u.Scheme != "http" || t.BaseURL.Scheme != "http") {
		return false
	}
	own := "443"
	if u.Scheme == "http" {
		own = "80"
	}
	for _, p := range t.RedirectHosts {
		host, port, given := strings.Cut(string(p), ":")
		if !given {
			port = own
		}
		if portOf(u) == port && matches(host, u.Hostname()) {
			return true
		}
	}
	return false
}

// RedirectHost reports whether host, without its port, is one that redirects may
// lead to.
func (t *Toolkit) RedirectHost(host string) bool {
	for _, p := range t.RedirectHosts {
		if pattern, _, _ := strings.Cut(string(p), ":"); matches(pattern, host) {
			return true
		}
	}
	return false
}

func matches(pattern, host string) bool {
	host = strings.ToLower(host)
	if !validHost(host) {
		return false
	}
	if suffix, below := strings.CutPrefix(pattern, "*"); below {
		return strings.HasSuffix(host, suffix) // suffix begins with its dot
	}
	return host == pattern
}

// validHost takes names alone. The last label begins with a letter: "0x7f.1",
// "2130706433" and "127.0.0.1" are one address to those who look up a name.
func validHost(host string) bool {
	if len(host) > 253 {
		return false
	}
	last := ""
	for last = range strings.SplitSeq(host, ".") {
		if !validAlias(last) || strings.HasSuffix(last, "-") {
			return false
		}
	}
	return last[0] >= 'a' && last[0] <= 'z'
}

// hostPatterns checks what was written. "off" alone is none, in place of the
// catalogue's.
func hostPatterns(texts []string) ([]HostPattern, error) {
	if len(texts) == 1 && texts[0] == "off" {
		return nil, nil
	}
	var all []HostPattern
	for _, text := range texts {
		pattern, err := hostPattern("redirect_hosts", text)
		if err != nil {
			return nil, err
		}
		all = append(all, pattern)
	}
	return all, nil
}

func hostPattern(setting, text string) (HostPattern, error) {
	text = strings.ToLower(text)
	host, port, given := strings.Cut(text, ":")
	suffix, below := strings.CutPrefix(host, "*.")
	switch {
	case !validHost(suffix):
		return "", fmt.Errorf("%s %q: a name such as downloads.example.com or *.example.com, please; no address, scheme or path", setting, text)
	case below && !strings.Contains(suffix, "."):
		return "", fmt.Errorf("%s %q is too wide: at least two labels after the star, please", setting, text)
	case given && !validPort(port):
		return "", fmt.Errorf("%s %q: a port from 1 to 65535, please", setting, text)
	}
	return HostPattern(text), nil
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && port[0] != '0'
}
