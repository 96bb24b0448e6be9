// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// net/http would dial again for as long as it is let.
func TestACallDoesNotDialWithoutEnd(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	for name, stays := range map[string]bool{"GOAWAY comes first": true, "GOAWAY comes first, and the end": false} {
		t.Run(name, func(t *testing.T) {
			var dials atomic.Int64
			tr := &http.Transport{
				ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
				DialContext: Keep(func(context.Context, string, string) (net.Conn, error) {
					dials.Add(1)
					ours, theirs := net.Pipe()
					go func() {
						server := tls.Server(theirs, &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}})
						defer server.Close()
						go func() { _, _ = io.Copy(io.Discard, server) }()
						if server.HandshakeContext(t.Context()) == nil {
							fr := http2.NewFramer(server, nil)
							_ = fr.WriteSettings()
							_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
							if stays {
								<-t.Context().Done()
							}
						}
					}()
					return ours, nil
				}),
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, "GET", "https://provider/", nil)
			_, err := Apart(tr).RoundTrip(r)
			// Where the connection has ended, net/http may give up by itself.
			if stays && !errors.Is(err, errDials) || err == nil || ctx.Err() != nil || dials.Load() > maxDials+1 {
				t.Errorf("%v after %d connections", err, dials.Load())
			}
		})
	}
}

// HTTP/2 says of each byte whose it is, with TLS and without.
func TestOverHTTP2OwnersShareAConnection(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	var dials atomic.Int64
	tr := &http.Transport{Protocols: s.Config.Protocols, DialContext: Keep(func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	})}
	defer tr.CloseIdleConnections()
	call := func(owner string) (dialled bool) {
		before := dials.Load()
		r, _ := http.NewRequestWithContext(For(t.Context(), owner), "GET", s.URL, nil)
		res, err := Apart(tr).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(text) != "HTTP/2.0" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		return dials.Load() > before
	}
	// net/http hands a connection to the call that waits for it, and only then to all others:
	// a call that follows at once may dial once more.
	for i := 0; call("alice"); i++ {
		if i == 10 {
			t.Fatal("each call dials")
		}
	}
	for _, owner := range []string{"bob", "", "alice"} {
		if call(owner) {
			t.Errorf("%q has a connection of its own", owner)
		}
	}
}
