// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

var kibibyte = strings.Repeat("x", 1024)

// The whole path: client, gateway and provider, each over HTTP/1.1 on loopback.
func BenchmarkThroughTheGateway(b *testing.B) {
	w := benchWorld(b)
	benchGet(b, w, w.H1+"/acme/user?a=1")
}

// What the same call costs without a gateway between.
func BenchmarkWithoutTheGateway(b *testing.B) {
	w := benchWorld(b)
	benchGet(b, w, w.Provider.URL+"/api/user?a=1")
}

// The gateway alone: no socket on either side.
func BenchmarkTheGatewayAlone(b *testing.B) {
	header := http.Header{"Content-Type": {"application/json"}, "Content-Length": {"1024"}, "Date": {"x"}, "Etag": {"x"}}
	w := gatewaytest.New(b, gatewaytest.Options{Edit: func(cfg *gateway.Config) {
		cfg.Audit, cfg.Observe = forgetful{}, nil
		e := cfg.Toolkits["acme"]
		e.Upstream = seeing(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: header, Body: io.NopCloser(strings.NewReader(kibibyte)), ContentLength: 1024}, nil
		})
		cfg.Toolkits["acme"] = e
	}})
	r := httptest.NewRequest("GET", "/acme/user?a=1", nil)
	r.Header = w.Request("GET", w.H1, nil).Header
	r.Header.Set("Accept", "*/*")
	r.Header.Set("User-Agent", "agent/1")
	rw := nowhere{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(rw.header)
		w.Gateway.ServeHTTP(rw, r)
	}
}

func benchWorld(b *testing.B) *gatewaytest.World {
	w := gatewaytest.New(b, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.Audit, cfg.Observe = forgetful{}, nil }})
	w.Provider.Forget()
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, kibibyte) })
	return w
}

func benchGet(b *testing.B, w *gatewaytest.World, address string) {
	r := w.Request("GET", address, nil)
	buffer := make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		res, err := w.Client.Transport.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.ReadFull(res.Body, buffer); n != 1024 || err != io.ErrUnexpectedEOF {
			b.Fatal(n, err)
		}
		res.Body.Close()
	}
}

// forgetful records nothing.
type forgetful struct{}

func (forgetful) Record(audit.Record) error { return nil }

// nowhere is a ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}
func (n nowhere) Flush()                      {}
