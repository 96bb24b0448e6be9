// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/url"
	"slices"
	"strings"
)

// spelled adds to secrets how providers write them: in an address, and in JSON. Most
// tokens have one spelling; base64 and a few keys have more.
func spelled(secrets []string) []string {
	if !slices.ContainsFunc(secrets, func(s string) bool { return strings.ContainsFunc(s, mayBeEscaped) }) {
		return secrets
	}
	var all []string
	for _, secret := range secrets {
		for _, spell := range spellings {
			if s := spell(secret); !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	// Not after a shorter one that it holds.
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

func mayBeEscaped(c rune) bool {
	return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("-._~", c)
}

var spellings = []func(string) string{
	func(s string) string { return s },
	// In a query, in a path, and in a query whose writer escapes no more than it must.
	url.QueryEscape, small(url.QueryEscape), url.PathEscape, small(url.PathEscape), escaping("+", "%2B"), escaping("+", "%2b"),
	// In JSON: PHP's; Gson's; Go's; .NET's, small and great.
	escaping("/", `\/`),
	escaping("=", `\u003d`, "&", `\u0026`, "<", `\u003c`, ">", `\u003e`, "'", `\u0027`),
	escaping("&", `\u0026`, "<", `\u003c`, ">", `\u003e`),
	escaping("+", `\u002B`, "&", `\u0026`, "<", `\u003C`, ">", `\u003E`, "'", `\u0027`),
	escaping("+", `\u002b`, "&", `\u0026`, "<", `\u003c`, ">", `\u003e`, "'", `\u0027`),
	escaping("+", `\u002b`, "/", `\/`), escaping("+", `\u002b`, "/", `\/`, "=", `\u003d`),
}

func escaping(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }

// small writes %2B as %2b.
func small(escape func(string) string) func(string) string {
	return func(s string) string {
		b := []byte(escape(s))
		for i := 0; i+2 < len(b); i++ {
			if b[i] == '%' {
				copy(b[i+1:], strings.ToLower(string(b[i+1:i+3])))
			}
		}
		return string(b)
	}
}

// echoes reports whether an address holds a secret, however it is escaped, also twice.
func echoes(address string, secrets []string) bool {
	for range 3 {
		if slices.ContainsFunc(secrets, func(s string) bool { return s != "" && strings.Contains(address, s) }) {
			return true
		}
		address = unescaped(address)
	}
	return false
}

// unescaped leaves alone what is not an escape, as providers do who read on.
func unescaped(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if c, err := url.PathUnescape(s[i:min(i+3, len(s))]); s[i] == '%' && err == nil {
			out.WriteString(c)
			i += 2
		} else {
			out.WriteByte(s[i])
		}
	}
	return out.String()
}
