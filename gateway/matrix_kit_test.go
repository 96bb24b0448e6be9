// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"hash"
	"hash/crc32"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// protocol is what is spoken on one side of the gateway.
type protocol string

const (
	http1 protocol = "HTTP1" // plain
	http2 protocol = "HTTP2" // over TLS, by negotiation
	h2c   protocol = "h2c"   // HTTP/2 without TLS, by prior knowledge
)

var protocols = []protocol{http1, http2, h2c}

func (p protocol) major() int { return map[protocol]int{http1: 1, http2: 2, h2c: 2}[p] }

func (p protocol) set() *http.Protocols {
	s := new(http.Protocols)
	s.SetHTTP1(p != h2c) // over TLS too: a WebSocket needs it
	s.SetHTTP2(p == http2)
	s.SetUnencryptedHTTP2(p == h2c)
	return s
}

// serve starts a server that fails the test where it is spoken to in another way.
func (p protocol) serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if want := p.major(); r.ProtoMajor != want && r.Header["Upgrade"] == nil {
			t.Errorf("%s is spoken where %s should be", r.Proto, p)
		}
		h.ServeHTTP(w, r)
	}))
	s.Config.Protocols = p.set()
	s.Config.ErrorLog = log.New(grumbles{t}, "", 0)
	t.Cleanup(s.Close)
	if p == http2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	return s
}

// transport speaks to a server of serve's. It waits for 100 Continue as long as a
// test may take, so that a body that was not asked for is never sent.
func (p protocol) transport(t testing.TB, s *httptest.Server) *http.Transport {
	tr := &http.Transport{Protocols: p.set(), DisableCompression: true, ExpectContinueTimeout: 3 * gatewaytest.Patience}
	if cert := s.Certificate(); cert != nil {
		pool := x509.NewCertPool()
		pool.AddCert(cert)
		tr.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// grumbles fails the test when a server has caught a panic or a handler has
// answered twice.
type grumbles struct{ t testing.TB }

func (g grumbles) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic")) || bytes.Contains(line, []byte("superfluous")) {
		g.t.Errorf("a server says: %s", line)
	}
	return len(line), nil
}

// lane is one way through a gateway of its own: ada's calls to "acme".
type lane struct {
	*gatewaytest.World
	caller, upstream protocol
	client           *http.Client
	address          string // of acme at the gateway
	host             string // of the gateway
	api              string // acme's base URL at the provider
}

// matrix runs a test over every pair of protocols, side by side. tune changes the
// transport to the provider.
func matrix(t *testing.T, test func(*testing.T, *lane), tune ...func(*http.Transport)) {
	eachLane(t, func(t *testing.T, caller, upstream protocol) {
		t.Parallel()
		test(t, newLane(t, caller, upstream, tune...))
	})
}

func eachLane(t *testing.T, run func(t *testing.T, caller, upstream protocol)) {
	for _, caller := range protocols {
		for _, upstream := range protocols {
			t.Run(string(caller)+"To"+string(upstream), func(t *testing.T) { run(t, caller, upstream) })
		}
	}
}

func newLane(t *testing.T, caller, upstream protocol, tune ...func(*http.Transport)) *lane {
	t.Helper()
	provider := gatewaytest.NewProvider(t, false) // for its script; it is served here
	behind := upstream.serve(t, provider)
	out := upstream.transport(t, behind)
	for _, change := range tune {
		change(out)
	}
	l := &lane{caller: caller, upstream: upstream, api: behind.URL + "/api"}
	tk, err := toolkit.Definition{
		ID: "acme", Name: "Acme", BaseURL: l.api,
		Auth:  toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth: toolkit.OAuthDefinition{AuthorizeURL: l.api + "/a", TokenURL: l.api + "/t", ClientID: "x", ClientSecret: secret.New("marker-client-secret")},
	}.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	l.World = gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) {
		cfg.Toolkits["acme"] = gateway.Endpoint{Toolkit: tk, Upstream: out}
	}})
	l.Provider = provider
	l.Credentials.Connect("ada", tk, gatewaytest.UserToken)
	front := caller.serve(t, gatewaytest.OtherBody(l.Gateway))
	t.Cleanup(l.Gateway.Close) // before front is closed
	l.host, l.address = front.Listener.Addr().String(), front.URL+"/acme"
	l.client = &http.Client{Transport: caller.transport(t, front)}
	return l
}

func (l *lane) request(method string, body io.Reader) *http.Request {
	return l.Request(method, l.address+"/x", body)
}

// begin sends a request and gives the answer, whose body is still to come.
func (l *lane) begin(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	res, err := l.client.Do(r)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// whole sends a request and reads the answer to its end.
func (l *lane) whole(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	res := l.begin(t, r)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return res, string(body)
}

// dial opens a connection for HTTP/1.1 by hand.
func (l *lane) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(3 * gatewaytest.Patience))
	if known := l.client.Transport.(*http.Transport).TLSClientConfig; known != nil {
		return tls.Client(conn, &tls.Config{RootCAs: known.RootCAs, ServerName: "127.0.0.1"})
	}
	return conn
}

// abandon gives a request and what ends it from the caller's side.
func (l *lane) abandon(t *testing.T, r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, hangUp := context.WithCancel(r.Context())
	t.Cleanup(hangUp)
	return r.WithContext(ctx), hangUp
}

// long gives the larger figure where somebody has the time.
func long(short, large int64) int64 {
	if os.Getenv("TOOLGATE_LONG") != "" {
		return large
	}
	return short
}

// block's length is no power of two, so that a piece that is lost, doubled or moved
// changes the sum.
var block = func() []byte {
	b := make([]byte, 65_521)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}()

// pattern is a body of so many bytes.
type pattern struct{ left, at int64 }

func (p *pattern) Read(into []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	from := block[p.at%int64(len(block)):]
	n := copy(into[:min(int64(len(into)), p.left)], from)
	p.left, p.at = p.left-int64(n), p.at+int64(n)
	return n, nil
}

// gauge takes a body in and looks at the heap on the way.
type gauge struct {
	sum        hash.Hash32
	got, step  int64
	least, top uint64
}

func newGauge(size int64) *gauge {
	// Twice, since what has a finalizer outlives the first collection.
	return &gauge{sum: crc32.NewIEEE(), step: size / 8, least: min(heap(), heap())}
}

func (g *gauge) Write(p []byte) (int, error) {
	before := g.got / g.step
	g.got += int64(len(p))
	if g.got/g.step != before {
		g.top = max(g.top, heap())
	}
	return g.sum.Write(p)
}

// check wants all of a pattern, and a heap that did not grow with it.
func (g *gauge) check(t *testing.T, size int64) {
	t.Helper()
	want := crc32.NewIEEE()
	_, _ = io.Copy(want, &pattern{left: size})
	if g.got != size || g.sum.Sum32() != want.Sum32() {
		t.Errorf("%d bytes arrived, sum %x; want %d, %x", g.got, g.sum.Sum32(), size, want.Sum32())
	}
	const bound = 32 << 20
	grown := int64(g.top) - int64(g.least)
	t.Logf("the heap grew by %d KiB over %d MiB", grown>>10, size>>20)
	if grown > bound {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// endless is an upload that goes on until it is ended.
type endless struct{ ended chan struct{} }

func (e endless) Read(p []byte) (int, error) {
	select {
	case <-e.ended:
		return 0, io.ErrUnexpectedEOF
	default:
		return strings.NewReader(strings.Repeat("x", len(p))).Read(p)
	}
}
