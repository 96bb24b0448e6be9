// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkCall compares a call through Toolgate, with a user's token on it and an
// audit line written, with the same call through Caddy's plain reverse_proxy. Client,
// Caddy and API are in one process; read the ratio, not the time.
func BenchmarkCall(b *testing.B) {
	w := newWorld(b)
	answer := []byte(strings.Repeat("x", 1024))
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(answer) })
	plain := freeAddress(b)
	w.load(w.caddyfile("", "", "") + fmt.Sprintf("\nhttp://%s {\n\tbind 127.0.0.1\n\treverse_proxy %s\n}\n", plain, strings.TrimPrefix(w.origin, "http://")))
	w.connect()
	for _, c := range []struct{ name, address string }{
		{"reverse_proxy", "http://" + plain + "/extra/answer"},
		{"toolgate", w.public() + "/acme/extra/answer"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fetch(b, c.address)
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					fetch(b, c.address)
				}
			})
		})
	}
}

func fetch(b *testing.B, address string) {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		b.Error(err)
		return
	}
	r.Header.Set("X-User-Id", "alice")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Error(err)
		return
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); n != 1024 || err != nil || res.StatusCode != http.StatusOK {
		b.Errorf("%d, %d bytes, %v", res.StatusCode, n, err)
	}
}
