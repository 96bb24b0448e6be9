// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// framed is a request whose end servers may see in different places, and what has to
// become of it: the answers, and what arrives at the provider.
type framed struct {
	name    string
	request string // HOST is Caddy's address, WHO is the key and alice
	says    []string
	arrived []string
}

const (
	first  = "POST /acme/first HTTP/1.1\r\nHost: HOST\r\nWHO"
	second = "GET /acme/bob HTTP/1.1\r\nHost: HOST\r\nX-Toolgate-Key: " + botKey + "\r\nX-User-Id: bob\r\n\r\n"

	refusedFirst = "POST /acme/first HTTP/1.1\r\nHost: HOST\r\nX-Toolgate-Key: " + botKey + "\r\n"
)

// filled puts in what is known only now. LEN, HEX and SECOND are of the second request.
func (w *wire) filled(text string) string {
	second := strings.Replace(second, "HOST", w.address, 1)
	return strings.NewReplacer("HOST", w.address, "WHO", proof+"X-User-Id: alice\r\n", "LEN", strconv.Itoa(len(second)),
		"HEX", strconv.FormatInt(int64(len(second)), 16), "SECOND", strings.TrimSpace(second)).Replace(text)
}

func (w *wire) filledAll(texts []string) (filled []string) {
	for _, text := range texts {
		filled = append(filled, w.filled(text))
	}
	return filled
}

// A request is refused and nothing of it reaches the provider, or it arrives there
// once and well framed, with the body that was meant.
func TestARequestArrivesWholeOrNotAtAll(t *testing.T) {
	w := newWire(t, more{})
	for _, c := range framings {
		t.Run(c.name, func(t *testing.T) {
			replies, kept := w.talk(t, w.filled(c.request))
			var says, arrived []string
			for _, r := range replies {
				says = append(says, r.says())
			}
			for _, m := range w.provider.taken() {
				if m.fault != nil {
					t.Logf("broken at the provider: %v, %q", m.fault, m.head)
					continue
				}
				arrived = append(arrived, m.brief())
				user := "alice"
				if strings.HasPrefix(m.head, "GET /bob ") {
					user = "bob"
				}
				if m.value("Authorization") != w.bearer[user] {
					t.Errorf("%s came as somebody else", m.brief())
				}
			}
			if !slices.Equal(says, c.says) || !slices.Equal(arrived, w.filledAll(c.arrived)) {
				t.Errorf("answered %q, arrived %q, kept %v; want %q, %q", says, arrived, kept, c.says, c.arrived)
			}
		})
	}
	w.settle(t)
	for _, m := range w.provider.taken() {
		if m.fault == nil {
			t.Errorf("later there came %q", m.head)
		}
	}
}

var framings = []framed{
	{"a length", first + "Content-Length: 4\r\n\r\nbody", []string{"200"}, []string{"POST /first body"}},
	{"chunks", first + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first body"}},

	{"the length twice", first + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody", []string{"200"}, []string{"POST /first body"}},
	{"the length twice in one line", first + "Content-Length: 4, 4\r\n\r\nbody", []string{"400"}, nil},
	{"two lengths", first + "Content-Length: 4\r\nContent-Length: 0\r\n\r\nbody", []string{"400"}, nil},
	{"two lengths, the other way round", first + "Content-Length: 0\r\nContent-Length: 4\r\n\r\nbody", []string{"400"}, nil},
	{"a length with a plus", first + "Content-Length: +4\r\n\r\nbody", []string{"400"}, nil},
	{"a length below zero", first + "Content-Length: -4\r\n\r\nbody", []string{"400"}, nil},
	{"a hexadecimal length", first + "Content-Length: 0x4\r\n\r\nbody", []string{"400"}, nil},
	{"a length beyond numbers", first + "Content-Length: 99999999999999999999\r\n\r\nbody", []string{"400"}, nil},
	{"an empty length", first + "Content-Length: \r\n\r\n" + second, []string{"400"}, nil},
	{"a length with zeros before it", first + "Content-Length: 0004\r\n\r\nbody", []string{"200"}, []string{"POST /first body"}},
	{"a length on a GET", strings.Replace(first, "POST", "GET", 1) + "Content-Length: 4\r\n\r\nbody", []string{"200"}, []string{"GET /first body"}},

	{"a length before chunks", first + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first body"}},
	{"a length after chunks", first + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first body"}},
	// RFC 9112 §6.1 has the server close here; net/http goes on, and hides the length from us.
	// What follows is a request of its own, with its own proof.
	{"a length that covers a second request", first + "Content-Length: 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, []string{"200", "200"}, []string{"POST /first", "GET /bob"}},
	{"chunked, identity", first + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", []string{"501"}, nil},
	{"identity", first + "Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nbody", []string{"501"}, nil},
	{"xchunked", first + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", []string{"501"}, nil},
	{"gzip, chunked", first + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", []string{"501"}, nil},
	{"chunked behind spaces", first + "Transfer-Encoding:    chunked  \r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first body"}},
	{"chunked behind a tab", first + "Transfer-Encoding:\tchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first body"}},
	{"chunked behind a vertical tab", first + "Transfer-Encoding: \vchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"400"}, nil},
	{"chunked before a NUL", first + "Transfer-Encoding: chunked\x00\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"400"}, nil},
	{"chunked in capitals", first + "Transfer-Encoding: CHUNKED\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first body"}},
	{"chunked twice", first + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []string{"501"}, nil},
	{"chunked twice in one line", first + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", []string{"501"}, nil},
	{"chunks over HTTP/1.0", strings.Replace(first, "1.1", "1.0", 1) + "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"a request in chunks over HTTP/1.0", strings.Replace(first, "1.1", "1.0", 1) + "Connection: keep-alive\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + second, []string{"200"}, []string{"POST /first"}},
	{"an escaped name of the coding", first + "Transfer_Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody", []string{"200"}, []string{"POST /first body"}},
	{"a folded coding", first + "Transfer-Encoding:\r\n chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first body"}},

	{"chunk extensions", first + "Transfer-Encoding: chunked\r\n\r\n4;a=b;c=\"d\"\r\nbody\r\n0;e\r\n\r\n", []string{"200"}, []string{"POST /first body"}},
	{"a chunk size with a plus", first + "Transfer-Encoding: chunked\r\n\r\n+4\r\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"a chunk size below zero", first + "Transfer-Encoding: chunked\r\n\r\n-1\r\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"a chunk size with 0x", first + "Transfer-Encoding: chunked\r\n\r\n0x4\r\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"a chunk size beyond numbers", first + "Transfer-Encoding: chunked\r\n\r\n10000000000000004\r\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"a chunk size with zeros before it", first + "Transfer-Encoding: chunked\r\n\r\n0000000004\r\nbody\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first body"}},
	{"a chunk size with a space before it", first + "Transfer-Encoding: chunked\r\n\r\n 4\r\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"a chunk size with a space behind it", first + "Transfer-Encoding: chunked\r\n\r\n4 \r\nbody\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first body"}},
	{"no chunk size", first + "Transfer-Encoding: chunked\r\n\r\n\r\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"a chunk that is longer than it says", first + "Transfer-Encoding: chunked\r\n\r\n3\r\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"a chunk without its end", first + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"bare LF after a chunk size", first + "Transfer-Encoding: chunked\r\n\r\n4\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"bare LF in a chunk extension", first + "Transfer-Encoding: chunked\r\n\r\n4;a\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"bare CR in a chunk extension", first + "Transfer-Encoding: chunked\r\n\r\n4;a\rb\r\nbody\r\n0\r\n\r\n", []string{"400 bad_request"}, nil},
	{"bare LF after a chunk", first + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\n0\r\n\r\n", []string{"400 bad_request"}, nil},

	{"bare LF line ends", strings.ReplaceAll(first, "\r\n", "\n") + "Content-Length: 4\n\nbody", []string{"200"}, []string{"POST /first body"}},
	{"bare CR line ends", strings.ReplaceAll(first, "\r\n", "\r") + "Content-Length: 4\r\n\r\nbody", []string{"400"}, nil},
	{"bare CR in a header", first + "X-A: b\rContent-Length: 4\r\n\r\n", []string{"400"}, nil},
	{"NUL in a header", first + "X-A: b\x00c\r\n\r\n", []string{"400"}, nil},
	{"a space before the colon", first + "Content-Length : 4\r\n\r\nbody", []string{"400"}, nil},
	{"a tab before the colon", first + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", []string{"400"}, nil},
	{"a header without a colon", first + "Content-Length\r\n\r\n", []string{"400"}, nil},
	{"a folded first header", "GET /acme/first HTTP/1.1\r\n Host: HOST\r\nWHO\r\n", []string{"400"}, nil},
	{"a folded header", first + "X-A: b\r\n c\r\nContent-Length: 4\r\n\r\nbody", []string{"200"}, []string{"POST /first body"}},
	{"a folded length", first + "X-A: b\r\n Content-Length: 100\r\nContent-Length: 4\r\n\r\nbody", []string{"200"}, []string{"POST /first body"}},
	{"an empty line first", "\r\n" + first + "Content-Length: 4\r\n\r\nbody", []string{"400"}, nil},

	{"a method in small letters", strings.Replace(first, "POST", "post", 1) + "Content-Length: 4\r\n\r\nbody", []string{"200"}, []string{"post /first body"}},
	{"a method with a space before it", " " + first + "\r\n", []string{"400"}, nil},
	{"a method that is none", strings.Replace(first, "POST", "PO(ST", 1) + "\r\n", []string{"400"}, nil},
	{"no Host", "GET /acme/first HTTP/1.1\r\nWHO\r\n", []string{"400"}, nil},
	{"two Hosts", first + "Host: evil.example\r\n\r\n", []string{"400"}, nil},
	{"another Host", "GET /acme/first HTTP/1.1\r\nHost: evil.example\r\nWHO\r\n", []string{"200"}, nil},
	{"absolute form with another Host", "GET http://HOST/acme/first HTTP/1.1\r\nHost: evil.example\r\nWHO\r\n", []string{"400 bad_request"}, nil},
	{"absolute form of another host", "GET http://evil.example/acme/first HTTP/1.1\r\nHost: HOST\r\nWHO\r\n", []string{"200"}, nil},
	{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: HOST\r\nWHO\r\n", []string{"200"}, nil},
	{"HTTP/0.9", "GET /acme/first\r\n", []string{"400"}, nil},
	{"HTTP/1.2", "GET /acme/first HTTP/1.2\r\nHost: HOST\r\nWHO\r\n", []string{"200"}, []string{"GET /first"}},
	{"HTTP/9.9", "GET /acme/first HTTP/9.9\r\nHost: HOST\r\nWHO\r\n", []string{"505"}, nil},
	{"HTTP/1.0 that keeps its connection", "GET /acme/first HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\nWHO\r\n", []string{"200"}, []string{"GET /first"}},
	{"HTTP/1.0 without a Host", "GET /acme/first HTTP/1.0\r\nWHO\r\n", []string{"200"}, nil},

	{"two in one packet", first + "Content-Length: 4\r\n\r\nbody" + second, []string{"200", "200"}, []string{"POST /first body", "GET /bob"}},
	{"a second request in a body", first + "Content-Length: LEN\r\n\r\n" + second, []string{"200"}, []string{"POST /first SECOND"}},
	{"a second request in a chunk", first + "Transfer-Encoding: chunked\r\n\r\nHEX\r\n" + second + "\r\n0\r\n\r\n", []string{"200"}, []string{"POST /first SECOND"}},
	{"a second request in a refused one's body", refusedFirst + "Content-Length: LEN\r\n\r\n" + second, []string{"400 user_required"}, nil},
	{"a second request in a refused one's chunk", refusedFirst + "Transfer-Encoding: chunked\r\n\r\nHEX\r\n" + second + "\r\n0\r\n\r\n", []string{"400 user_required"}, nil},
	{"a second request in a body that was not asked for", refusedFirst + "Expect: 100-continue\r\nContent-Length: LEN\r\n\r\n" + second, []string{"400 user_required"}, nil},
	{"a second request behind a chunk that is wrong", refusedFirst + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + second, []string{"400 user_required"}, nil},
	{"a second request in a large refused one's body", refusedFirst + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 70000) + second, []string{"400 user_required"}, nil},
	{"a second request in the body of one that nobody takes", strings.Replace(refusedFirst, "HOST", "evil.example", 1) + "Content-Length: LEN\r\n\r\n" + second, []string{"200"}, nil},
}
