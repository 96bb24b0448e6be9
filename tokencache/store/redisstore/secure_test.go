// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store/redistest"
)

// secureServer speaks TLS alone, wants a client certificate, and has one ACL user.
type secureServer struct {
	*redistest.Server
	tls *tls.Config
}

const (
	aclUser     = "gate"
	aclPassword = "sesame-0123456789"
	// aclRules are those of docs/operations.md.
	aclRules = "~toolgate:* &toolgate:* -@all +@read +@write +@scripting +@pubsub +@connection +@transaction +time +cluster|slots +cluster|shards"
)

func startSecureServer(t *testing.T) *secureServer {
	t.Helper()
	redistest.Program(t)
	dir := t.TempDir()
	pair, roots := keyPair(t, dir)
	s := &secureServer{tls: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: "redis.example"}}
	pem := filepath.Join(dir, "pair.pem")
	port := redistest.FreePort(t)
	s.Server = redistest.StartOn(t, port, "--port", "0", "--tls-port", port, "--tls-cert-file", pem, "--tls-key-file", pem, "--tls-ca-cert-file", pem,
		"--requirepass", "operators-"+aclPassword)
	s.admin(t, func(ctx context.Context, c *redis.Client) error {
		return c.Do(ctx, append([]any{"ACL", "SETUSER", aclUser, "on", ">" + aclPassword}, fields(aclRules)...)...).Err()
	})
	return s
}

func (s *secureServer) config(now func() time.Time) Config {
	return Config{Addresses: []string{s.Addr}, Username: aclUser, Password: aclPassword, TLS: s.tls, Now: now}
}

func (s *secureServer) flush(t *testing.T) {
	t.Helper()
	s.admin(t, func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() })
}

func (s *secureServer) admin(t *testing.T, do func(context.Context, *redis.Client) error) {
	t.Helper()
	c := redis.NewClient(Config{Addresses: []string{s.Addr}, Password: "operators-" + aclPassword, TLS: s.tls}.complete().options().Simple())
	defer c.Close()
	if err := do(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

// keyPair makes a certificate that is its own authority, for both ends.
func keyPair(t *testing.T, dir string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"redis.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
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
	if err := os.WriteFile(filepath.Join(dir, "pair.pem"), append(append([]byte(nil), public...), secret...), 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(public, secret)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(public) {
		t.Fatal(err)
	}
	return pair, roots
}

const masterName = "toolgate-test"

// sentinels are a master, a replica, and one Sentinel that decides alone.
type sentinels struct{ master, replica, sentinel *redistest.Server }

func startSentinels(t *testing.T) *sentinels {
	t.Helper()
	g := &sentinels{master: redistest.Start(t)}
	g.replica = redistest.Start(t, "--replicaof", "127.0.0.1", g.master.Port, "--repl-diskless-sync-delay", "0")
	dir := t.TempDir()
	config := filepath.Join(dir, "sentinel.conf")
	text := "sentinel monitor " + masterName + " 127.0.0.1 " + g.master.Port + " 1\n" +
		"sentinel down-after-milliseconds " + masterName + " 500\n" +
		"sentinel failover-timeout " + masterName + " 3000\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	port := redistest.FreePort(t)
	g.sentinel = redistest.StartRaw(t, port,
		config, "--sentinel", "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--logfile", filepath.Join(dir, "log"))
	c := redis.NewSentinelClient(&redis.Options{Addr: g.sentinel.Addr, Protocol: 2})
	defer c.Close()
	redistest.Eventually(t, "the Sentinel knows the replica, and it is in step", func() bool {
		replicas, err := c.Replicas(context.Background(), masterName).Result()
		return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})
	return g
}

func fields(text string) (all []any) {
	for _, f := range strings.Fields(text) {
		all = append(all, f)
	}
	return all
}
