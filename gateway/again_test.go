// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// A kept connection that ends under a request leaves open whether the provider has
// carried it out. Only what may be repeated is sent again, by net/http.
func TestWhatMayHaveBeenCarriedOutIsSentOnce(t *testing.T) {
	for _, c := range []struct {
		method, body, key string
		sent              int64
	}{
		{"POST", "body", "", 1}, {"POST", "", "", 1}, {"PUT", "body", "", 1}, {"PATCH", "body", "", 1}, {"DELETE", "", "", 1},
		{"GET", "", "", 2}, {"HEAD", "", "", 2}, {"OPTIONS", "", "", 2}, {"GET", "body", "", 2}, {"POST", "body", "key", 2},
	} {
		for _, answered := range []string{"", "HTTP/1.1 200 OK\r\nContent-Le"} {
			w := gatewaytest.New(t, gatewaytest.Options{})
			w.Get("/acme/warm") // from now on it is known to speak HTTP/1
			w.Get("/acme/warm") // so that a connection of ada's is kept
			var sent atomic.Int64
			w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
				gatewaytest.ReadBody(r)
				if sent.Add(1) > 1 {
					return
				}
				conn, _, err := http.NewResponseController(rw).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(conn, answered)
				conn.Close()
			})
			r := w.Request(c.method, w.H1+"/acme/x", strings.NewReader(c.body))
			if c.key != "" {
				r.Header.Set("Idempotency-Key", c.key)
			}
			res, text := w.Do(r)
			want := c.sent
			if answered != "" {
				want = 1 // it has begun to answer
			}
			if status := map[int64]int{1: 502, 2: 200}[want]; sent.Load() != want || res.StatusCode != status {
				t.Errorf("%s with %q, key %q, answered %q: sent %d times, %s %s", c.method, c.body, c.key, answered, sent.Load(), res.Status, text)
			}
		}
	}
}
