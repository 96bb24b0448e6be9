// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gatewaytest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/toolgate/toolgate/egress"
)

// Protocol is what is spoken on one side of a gateway.
type Protocol string

// The protocols that callers and providers speak.
const (
	HTTP1 Protocol = "http1" // plain
	HTTP2 Protocol = "http2" // over TLS, by negotiation
	H2C   Protocol = "h2c"   // HTTP/2 without TLS, by prior knowledge
)

// Protocols are all of them.
var Protocols = []Protocol{HTTP1, HTTP2, H2C}

// Major is the version's first digit.
func (p Protocol) Major() int { return map[Protocol]int{HTTP1: 1, HTTP2: 2, H2C: 2}[p] }

func (p Protocol) set() *http.Protocols {
	s := new(http.Protocols)
	s.SetHTTP1(p != H2C) // over TLS too: a WebSocket needs it
	s.SetHTTP2(p == HTTP2)
	s.SetUnencryptedHTTP2(p == H2C)
	return s
}

// Serve starts a server that fails the test where it is spoken to in another way.
func (p Protocol) Serve(t testing.TB, h http.Handler, configure ...func(*http.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if want := p.Major(); r.ProtoMajor != want && r.Header["Upgrade"] == nil {
			t.Errorf("%s is spoken where %s should be", r.Proto, p)
		}
		h.ServeHTTP(w, r)
	}))
	s.Config.Protocols = p.set()
	s.Config.ErrorLog = ErrorLog(t)
	for _, change := range configure {
		change(s.Config)
	}
	t.Cleanup(s.Close)
	if p == HTTP2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	return s
}

// Transport speaks to a server with this certificate. It waits for 100 Continue as
// long as a test may take, so that a body that was not asked for is never sent.
func (p Protocol) Transport(t testing.TB, certificate *x509.Certificate) *http.Transport {
	dial := new(net.Dialer).DialContext
	tr := &http.Transport{DialContext: egress.Keep(egress.HearOut(dial)), Protocols: p.set(), DisableCompression: true, ExpectContinueTimeout: 3 * Patience}
	if certificate != nil {
		pool := x509.NewCertPool()
		pool.AddCert(certificate)
		tr.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}
