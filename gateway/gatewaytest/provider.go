// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gatewaytest

import (
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/egress"
)

// Provider is a fake API. It remembers what it saw and answers by script. The zero
// value is a handler, for a server of the test's own.
type Provider struct {
	// URL is where NewProvider's listens, such as "http://127.0.0.1:4321".
	URL string

	server *httptest.Server

	mu      sync.Mutex
	handler http.HandlerFunc
	refused map[string]bool // credentials that get 401
	forget  bool
	seen    []Seen
}

// Seen is one request as the provider saw it.
type Seen struct {
	Method, Proto, Host string
	URI                 string // the request line's address, byte for byte
	Header              http.Header
}

// Body is a request's body, read to its end.
type Body struct {
	Length int64
	Sum    [sha256.Size]byte
	Err    error // of reading it
}

// NewProvider starts a provider: plain HTTP/1.1, or HTTP/2 over TLS.
func NewProvider(t testing.TB, overTLS bool) *Provider {
	t.Helper()
	p := &Provider{}
	p.server = httptest.NewUnstartedServer(p)
	quiet(p.server)
	if overTLS {
		p.server.EnableHTTP2 = true
		p.server.StartTLS()
	} else {
		p.server.Start()
	}
	t.Cleanup(p.server.Close)
	p.URL = p.server.URL
	return p
}

// Handle scripts the answers. Before, the provider reads the body and says "ok".
func (p *Provider) Handle(answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = answer
}

// Refuse makes the provider answer 401 to this credential, in Authorization, without
// its scheme, before it reads the body.
func (p *Provider) Refuse(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused == nil {
		p.refused = map[string]bool{}
	}
	p.refused[token] = true
}

// RefuseUpload answers 401 when so many bytes of an upload have come; -1: after all.
func RefuseUpload(w http.ResponseWriter, r *http.Request, after int64) {
	if after < 0 {
		_, _ = io.Copy(io.Discard, r.Body)
	} else {
		_ = http.NewResponseController(w).EnableFullDuplex()
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.CopyN(io.Discard, r.Body, after)
	}
	w.WriteHeader(http.StatusUnauthorized)
}

// Forget makes the provider remember nothing from now on, for benchmarks.
func (p *Provider) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget = true
}

// Seen gives the requests so far.
func (p *Provider) Seen() []Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Seen(nil), p.seen...)
}

// Last gives the latest request and fails the test where there is none.
func (p *Provider) Last(t testing.TB) Seen {
	t.Helper()
	all := p.Seen()
	if len(all) == 0 {
		t.Fatal("the provider saw no request")
	}
	return all[len(all)-1]
}

// Calls counts the requests so far.
func (p *Provider) Calls() int { return len(p.Seen()) }

// Break ends all open connections in the middle of what they are doing.
func (p *Provider) Break() { p.server.CloseClientConnections() }

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, refused := p.note(r)
	switch {
	case refused:
		w.Header().Set("WWW-Authenticate", `Bearer realm="the provider's own"`)
		http.Error(w, `{"message":"bad credentials"}`, http.StatusUnauthorized)
	case handler != nil:
		handler(w, r)
	default:
		ReadBody(r)
		_, _ = io.WriteString(w, "ok")
	}
}

func (p *Provider) note(r *http.Request) (handler http.HandlerFunc, refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.forget {
		p.seen = append(p.seen, Seen{Method: r.Method, Proto: r.Proto, Host: r.Host, URI: r.RequestURI, Header: r.Header.Clone()})
	}
	return p.handler, p.refused[Token(r)]
}

// Token is a request's credential without its scheme.
func Token(r *http.Request) string {
	value := r.Header.Get("Authorization")
	for i := range len(value) {
		if value[i] == ' ' {
			return value[i+1:]
		}
	}
	return value
}

// ReadBody reads a request's body to its end.
func ReadBody(r *http.Request) Body {
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	body := Body{Length: n, Err: err}
	hash.Sum(body.Sum[:0])
	return body
}

// transport reaches the provider as the gateway's configuration would: it unpacks
// nothing, follows no redirect and, over TLS, speaks HTTP/2.
func (p *Provider) transport() *http.Transport {
	tr := &http.Transport{DialContext: egress.Keep(egress.HearOut(new(net.Dialer).DialContext)), DisableCompression: true, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64, ExpectContinueTimeout: time.Second}
	if cert := p.server.Certificate(); cert != nil {
		known := p.server.Client().Transport.(*http.Transport).TLSClientConfig
		tr.TLSClientConfig = &tls.Config{RootCAs: known.RootCAs}
	}
	return tr
}

// Close stops listening: whoever dials is refused.
func (p *Provider) Close() { p.server.Close() }
