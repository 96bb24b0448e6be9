// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"net/url"
	"strings"
)

// Local is the path by which a call reaches an address of the toolkit: what Target
// turns into u. It is not ok for an address that is not the toolkit's. Query and
// fragment are u's own.
func (t *Toolkit) Local(u *url.URL) (escapedPath string, ok bool) {
	if u.User != nil || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", false
	}
	if rest, ok := below(t.BaseURL, u); ok && !strings.HasPrefix(rest, "/~") {
		return rest, true
	}
	for alias, base := range t.Aliases {
		if rest, ok := below(base, u); ok {
			return "/~" + alias + rest, true
		}
	}
	return "", false
}

// below gives u's path under base's, if u is there. An http address of an https host
// counts: the call goes out as base says.
func below(base, u *url.URL) (rest string, ok bool) {
	if !strings.EqualFold(base.Hostname(), u.Hostname()) || portOf(base) != portOf(u) && (portOf(u) != "80" || u.Scheme != "http") {
		return "", false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	rest, ok = strings.CutPrefix(path, strings.TrimSuffix(base.EscapedPath(), "/"))
	return rest, ok && (rest == "" || rest[0] == '/')
}

func portOf(u *url.URL) string {
	switch port := u.Port(); {
	case port != "":
		return port
	case u.Scheme == "http":
		return "80"
	default:
		return "443"
	}
}
