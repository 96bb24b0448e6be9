// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"fmt"
	"strings"
	"testing"
)

func headers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%05d: %d\r\n", i, i)
	}
	return b.String()
}

// large is a request with a large header, and what has to become of it.
type large struct {
	name, path, header string
	status             int
}

// Caddy takes 16 KiB of header where nothing is configured, and net/http 4 KiB more.
func TestLargeRequestsArriveUnharmedOrNotAtAll(t *testing.T) {
	w := newWire(t, more{})
	const limit = 20 << 10
	// up fills a header so that the whole head has so many bytes.
	up := func(to int) string {
		rest := len("GET /acme/x HTTP/1.1\r\nHost: " + w.address + "\r\n" + proof + "X-User-Id: alice\r\nUser-Agent: x\r\n" + "X-Large: \r\n\r\n")
		return "X-Large: " + strings.Repeat("v", to-rest) + "\r\n"
	}
	w.tryLong(t, []large{
		{"the most that is taken", "/x", up(limit), 200},
		{"more than that", "/x", up(limit + 4<<10 + 1), 431}, // net/http has read 4 KiB before it counts
		{"1,000 headers", "/x", headers(1000), 200},
		{"10,000 headers", "/x", headers(10_000), 431},
		{"a path of 19 KiB", "/" + strings.Repeat("p", 19<<10), "", 200},
		{"a path of 64 KiB", "/" + strings.Repeat("p", 64<<10), "", 431},
		{"a path of 1 MiB", "/" + strings.Repeat("p", 1<<20), "", 431},
		{"a user of 10 KiB", "/x", "X-User-Id: " + strings.Repeat("u", 10<<10) + "\r\n", 400},
		{"a value of 100 KiB", "/x", "X-Large: " + strings.Repeat("v", 100<<10) + "\r\n", 431},
		{"a value of 1 MiB", "/x", "X-Large: " + strings.Repeat("v", 1<<20) + "\r\n", 431},
	})
}

func TestTheOperatorMayAllowLargerRequests(t *testing.T) {
	w := newWire(t, more{global: "servers {\n\t\tmax_header_size 1MiB\n\t}"})
	w.tryLong(t, []large{
		{"10,000 headers", "/x", headers(10_000), 200},
		{"a value of 100 KiB", "/x", "X-Large: " + strings.Repeat("v", 100<<10) + "\r\n", 200},
		{"a value of almost 1 MiB", "/x", "X-Large: " + strings.Repeat("v", 1<<20-1<<10) + "\r\n", 200},
		{"a value of more than 1 MiB", "/x", "X-Large: " + strings.Repeat("v", 1<<20+5<<10) + "\r\n", 431},
		{"a name of 100 KiB", "/x", "X-N" + strings.Repeat("n", 100<<10) + ": v\r\n", 200},
		{"headers of more than 1 MiB", "/x", headers(100_000), 431},
		{"a path of 64 KiB", "/" + strings.Repeat("p", 64<<10), "", 200},
		{"a query of 64 KiB", "/x?" + strings.Repeat("q=1&", 16<<10), "", 200},
		{"a path of many escapes", "/" + strings.Repeat("%2F", 20<<10), "", 200},
		{"a path of almost 1 MiB", "/" + strings.Repeat("p", 1<<20-1<<10), "", 200},
		{"a path of more than 1 MiB", "/" + strings.Repeat("p", 1<<20+5<<10), "", 431},
		{"a user of 100 KiB", "/x", "X-User-Id: " + strings.Repeat("u", 100<<10) + "\r\n", 400},
	})
}

// tryLong: what is below the limit goes through byte for byte; of what is above,
// nothing does.
func (w *wire) tryLong(t *testing.T, all []large) {
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			who := proof + "X-User-Id: alice\r\n"
			if strings.HasPrefix(c.header, "X-User-Id") {
				who = proof
			}
			replies, _ := w.talk(t, "GET /acme"+c.path+" HTTP/1.1\r\nHost: "+w.address+"\r\n"+who+"User-Agent: x\r\n"+c.header+"\r\n")
			if len(replies) != 1 || replies[0].StatusCode != c.status {
				t.Fatalf("answered %+v", replies)
			}
			got := w.provider.taken()
			if c.status != 200 {
				if len(got) != 0 {
					t.Errorf("%d came", len(got))
				}
				return
			}
			want := "GET " + c.path + " HTTP/1.1\r\nHost: " + w.provider.address + "\r\nUser-Agent: x\r\nAuthorization: " + w.bearer["alice"] + "\r\n" + c.header + "\r\n"
			if len(got) != 1 || got[0].head != want {
				t.Errorf("%d came, or not as it was sent", len(got))
			}
		})
	}
}

// A body of any length goes through, kept or not.
func TestLargeBodiesArriveUnharmed(t *testing.T) {
	w := newWire(t, more{})
	for _, size := range []int{1<<20 - 1, 1 << 20, 1<<20 + 1, 9 << 20} {
		body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for _, sent := range []string{
			fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, body),
			fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, body),
		} {
			replies, kept := w.talk(t, w.filled(first)+sent)
			got := w.provider.taken()
			if len(replies) != 1 || replies[0].says() != "200" || len(got) != 1 || got[0].body != body || got[0].fault != nil {
				t.Errorf("%d bytes: %d answers, %d came", size, len(replies), len(got))
			}
			if !kept {
				t.Errorf("%d bytes: the connection is closed", size)
			}
		}
	}
}
