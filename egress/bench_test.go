// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkUsersOverHTTP1 is what it costs that no two users share a connection to a
// provider that speaks HTTP/1 alone, over TLS, and answers after a millisecond.
func BenchmarkUsersOverHTTP1(b *testing.B) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(time.Millisecond)
		_, _ = io.WriteString(w, "ok")
	}))
	defer s.Close()
	for _, users := range []int{1, 4, 16, 256, 1000} {
		b.Run(fmt.Sprint(users), func(b *testing.B) {
			var dials, next atomic.Int64
			tr := &http.Transport{
				MaxIdleConnsPerHost: 32, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
				DialContext: Keep(func(ctx context.Context, network, address string) (net.Conn, error) {
					dials.Add(1)
					return new(net.Dialer).DialContext(ctx, network, address)
				}),
			}
			calls := Apart(tr)
			defer calls.CloseIdleConnections()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, _ := http.NewRequestWithContext(For(b.Context(), fmt.Sprint(int(next.Add(1))%users)), "GET", s.URL, nil)
					res, err := calls.RoundTrip(r)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
			b.ReportMetric(float64(dials.Load())/float64(b.N), "dials/op")
		})
	}
}
