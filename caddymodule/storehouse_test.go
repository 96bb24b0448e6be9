// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// storehouse is a real Caddy over HTTP and HTTPS, with the toolkit `files`: an API that
// knows the gateway by a client certificate and a key, and another host for its downloads.
type storehouse struct {
	*world
	secure string // Caddy's address for HTTPS
	roots  *x509.CertPool
	api    *witness
	files  *witness
}

const filesKey = "operators-key-of-the-files-0123456789"

// newStorehouse loads it; lines are for the toolkit, in which API and FILES stand for
// the ports of the two hosts.
func newStorehouse(t *testing.T, lines string) *storehouse {
	t.Helper()
	s := &storehouse{world: newWorld(t), secure: freeAddress(t), roots: x509.NewCertPool()}
	pair := s.keyPair(t)
	s.api, s.files = newWitness(t, pair), newWitness(t, pair)
	t.Setenv("FILES_KEY", filesKey)
	t.Setenv("BOT_KEY", botKey)
	lines = strings.NewReplacer("API", s.api.port, "FILES", s.files.port).Replace(lines)
	_, secure, _ := net.SplitHostPort(s.secure)
	s.load(fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 2s
	storage file_system %[1]s
	toolgate {
		store memory
		audit discard
		agent bot {
			key {env.BOT_KEY}
			acts_for any
		}
		toolkit files {
			base_url https://127.0.0.1:%[2]s/v2
			api_key {env.FILES_KEY}
			transport http {
				tls_client_auth %[1]s/pair.pem %[1]s/pair.pem
				tls_trust_pool file %[1]s/pair.pem
			}
			%[3]s
		}
	}
}
(sites) {
	bind 127.0.0.1
	handle_path /gw/* {
		toolgate {
			hosts *.localhost
		}
	}
	handle_path /only/* {
		toolgate files
	}
	handle {
		toolgate {
			hosts *.localhost
		}
	}
}
http://localhost:%[4]s, http://*.localhost:%[4]s {
	import sites
}
https://localhost:%[5]s, https://*.localhost:%[5]s {
	tls %[1]s/pair.pem %[1]s/pair.pem
	import sites
}
`, s.dir, s.api.port, lines, s.port(), secure))
	return s
}

// keyPair makes a certificate that is its own authority, for both ends.
func (s *storehouse) keyPair(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost", "*.localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	if err := os.WriteFile(filepath.Join(s.dir, "pair.pem"), append(bytes.Clone(public), secret...), 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(public, secret)
	if err != nil || !s.roots.AppendCertsFromPEM(public) {
		t.Fatal(err)
	}
	return pair
}

// witness is an HTTPS server that remembers who called.
type witness struct {
	port string

	mu     sync.Mutex
	seen   []testimony
	answer http.HandlerFunc
}

type testimony struct {
	*http.Request
	certificates int
}

func newWitness(t *testing.T, pair tls.Certificate) *witness {
	t.Helper()
	w := &witness{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.seen = append(w.seen, testimony{r, len(r.TLS.PeerCertificates)})
		answer := w.answer
		w.mu.Unlock()
		answer(rw, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	_, w.port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return w
}

func (w *witness) answers(answer http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// taken gives the calls since it was asked before.
func (w *witness) taken() []testimony {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// client speaks one version of HTTP, finds every name on this machine, and follows nothing.
func (s *storehouse) client(t *testing.T, h2 bool) *http.Client {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.roots}, ForceAttemptHTTP2: h2, DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask calls as an agent that shows all it has.
func (s *storehouse) ask(t *testing.T, client *http.Client, method, address string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("X-Toolgate-Key", botKey)
	r.Header.Set("X-User-Id", "alice")
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}
