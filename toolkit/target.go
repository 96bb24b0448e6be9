// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"errors"
	"net/url"
	"strings"
)

// ErrPath: the path may not be sent.
var ErrPath = errors.New("path leaves the toolkit or can be read in two ways")

// ErrAlias: the toolkit has no such further host.
var ErrAlias = errors.New("no such host alias")

// Target is the address that a request goes to. escapedPath and rawQuery are the
// agent's bytes and stay as they are (GitLab needs its %2F); scheme, host and the
// base path are the toolkit's and come from nowhere else. The URL is built from
// parts and never parsed again, so that nothing in the path ("//evil", "@evil")
// can become a host.
func (t *Toolkit) Target(escapedPath, rawQuery string) (*url.URL, error) {
	base, rest, err := t.base(escapedPath)
	if err != nil {
		return nil, err
	}
	path, err := url.PathUnescape(rest)
	if err != nil || !safePath(path) {
		return nil, ErrPath
	}
	target := *base
	target.Path = join(base.Path, path)
	target.RawPath = target.Path
	if escaped := base.EscapedPath(); path != rest || escaped != base.Path {
		target.RawPath = join(escaped, rest)
	}
	target.RawQuery = rawQuery
	return &target, nil
}

// base picks the host: BaseURL, or an alias for /~alias/….
func (t *Toolkit) base(escapedPath string) (base *url.URL, rest string, err error) {
	alias, isAlias := strings.CutPrefix(escapedPath, "/~")
	if !isAlias {
		return t.BaseURL, escapedPath, nil
	}
	alias, rest, _ = strings.Cut(alias, "/")
	if base = t.Aliases[alias]; base == nil {
		return nil, "", ErrAlias
	}
	return base, "/" + rest, nil
}

// safePath refuses what two programs may read in two ways: dot segments in every
// spelling, which a server behind may resolve past the base path and past a rule;
// backslashes, which some servers take for slashes; and control characters. The
// path is unescaped already, once: a server that unescapes twice is its own.
func safePath(path string) bool {
	for i := range len(path) {
		if c := path[i]; c < ' ' || c == 0x7f || c == '\\' {
			return false
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment, _, _ = strings.Cut(segment, ";"); segment == "." || segment == ".." {
			return false // "..;x" is ".." to servers that know path parameters
		}
	}
	return true
}

func join(base, path string) string {
	return strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(path, "/")
}
