// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
)

// RedisStore keeps connections in Redis 6.2 or later, or in what speaks like it, so
// that several gateways share them: one server, a Sentinel group, or a cluster. It
// needs an `encryption_key`, the same on every gateway.
//
// Redis has to keep what it was given: `maxmemory-policy noeviction`, and
// `appendonly yes`. While it is away, calls whose access token is in memory are
// served (see `max_stale`), others get 503 `storage_unavailable`, and everything goes
// on when it is back.
type RedisStore struct {
	// host:port of the server, of the Sentinels, or of some nodes of the cluster.
	Addresses []string `json:"addresses,omitempty"`

	// The ACL user. Default: the default user.
	Username string `json:"username,omitempty"`

	// The user's password, as a placeholder. Default: none.
	Password string `json:"password,omitempty"`

	// The number of the database. A cluster has only 0. Default: 0.
	DB int `json:"db,omitempty"`

	// The addresses are those of Sentinels, which know the server.
	Sentinel *RedisSentinel `json:"sentinel,omitempty"`

	// The addresses are nodes of a cluster. Default: they are not.
	Cluster bool `json:"cluster,omitempty"`

	// Connect with TLS, to Sentinels too. Default: in the clear, where whoever can
	// listen reads the password, and may change which sealed record is whose.
	TLS *RedisTLS `json:"tls,omitempty"`

	// What every key and the channel begin with. Gateways that share a store have
	// the same. Default: `toolgate:`.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// How long Redis may take for one call, with everything: connecting, trying
	// again, the answer. Default: 3 seconds.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many connections there may be to each server. Default: 10 per processor.
	PoolSize int `json:"pool_size,omitempty"`

	// While Redis is away: for how long after it was last read a connection is
	// still used if its access token is in memory and lives. Until Redis is back, a
	// disconnect on another gateway is not felt. Less than zero: not at all, such
	// calls are 503. Default: until the access token expires.
	MaxStale caddy.Duration `json:"max_stale,omitempty"`

	cfg      redisstore.Config
	settings string
}

// RedisSentinel is a group of servers that Sentinels look after.
type RedisSentinel struct {
	// The name under which the Sentinels know the group.
	Master string `json:"master,omitempty"`

	// The ACL user of the Sentinels themselves. Default: the default user.
	Username string `json:"username,omitempty"`

	// The password for the Sentinels, as a placeholder. Default: none.
	Password string `json:"password,omitempty"`
}

// RedisTLS is how TLS is done with Redis.
type RedisTLS struct {
	// A file with the authorities that may have signed the server's certificate.
	// Default: those of this machine.
	CA string `json:"ca,omitempty"`

	// A file with the certificate that the gateway shows. Default: none.
	Certificate string `json:"certificate,omitempty"`

	// A file with that certificate's key.
	Key string `json:"key,omitempty"`

	// The name that the server's certificate has to have. Default: the host of
	// the address.
	ServerName string `json:"server_name,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (RedisStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "toolgate.stores.redis", New: func() caddy.Module { return new(RedisStore) }}
}

// Provision checks the settings and reads the secrets. It connects to nothing.
func (s *RedisStore) Provision(caddy.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	cfg := redisstore.Config{DB: s.DB, Cluster: s.Cluster, Timeout: time.Duration(s.Timeout), PoolSize: s.PoolSize}
	texts := map[*string]string{&cfg.Username: s.Username, &cfg.Password: s.Password, &cfg.Prefix: s.KeyPrefix}
	if s.Sentinel != nil {
		texts[&cfg.Master], texts[&cfg.SentinelUsername], texts[&cfg.SentinelPassword] = s.Sentinel.Master, s.Sentinel.Username, s.Sentinel.Password
	}
	cfg.Addresses = make([]string, len(s.Addresses))
	for i, address := range s.Addresses {
		texts[&cfg.Addresses[i]] = address
	}
	for to, text := range texts {
		value, err := resolved(text)
		if err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		*to = value
	}
	// What the settings are, so that a reload can tell whether they have changed.
	digest := sha256.New()
	fmt.Fprintf(digest, "%q", []string{cfg.Username, cfg.Password, cfg.SentinelUsername, cfg.SentinelPassword})
	fmt.Fprint(digest, cfg.Timeout, " ", cfg.PoolSize)
	if s.TLS != nil {
		fmt.Fprintf(digest, " %+v", *s.TLS)
		var err error
		if cfg.TLS, err = s.TLS.config(digest.Write); err != nil {
			return fmt.Errorf("redis: tls: %w", err)
		}
	}
	s.cfg, s.settings = cfg, fmt.Sprintf("%x", digest.Sum(nil))
	return nil
}

func (s *RedisStore) check() error {
	if len(s.Addresses) == 0 {
		return errors.New("redis: an address, please, such as address redis.example.com:6379")
	}
	for _, address := range s.Addresses {
		if _, port, err := net.SplitHostPort(address); !strings.Contains(address, "{") && (err != nil || port == "") {
			return fmt.Errorf("redis: address %q: host:port, please", address)
		}
	}
	switch {
	case s.Sentinel != nil && s.Cluster:
		return errors.New("redis: sentinel or cluster, not both")
	case s.Sentinel != nil && s.Sentinel.Master == "":
		return errors.New("redis: sentinel: the name of the master, please")
	case s.Sentinel == nil && !s.Cluster && len(s.Addresses) > 1:
		return errors.New("redis: several addresses are of Sentinels or of a cluster; say sentinel <master> or cluster")
	case s.Cluster && s.DB != 0:
		return errors.New("redis: a cluster has no databases but 0")
	case s.DB < 0 || s.PoolSize < 0:
		return errors.New("redis: db and pool_size are 0 or more")
	case s.TLS != nil && (s.TLS.Certificate == "") != (s.TLS.Key == ""):
		return errors.New("redis: tls: a certificate and its key, please")
	}
	secrets := []string{s.Password}
	if s.Sentinel != nil {
		secrets = append(secrets, s.Sentinel.Password)
	}
	for _, text := range secrets {
		if text != "" && placeholderOnly(text) != nil {
			return fmt.Errorf("redis: password: %w", errLiteral)
		}
	}
	return nil
}

// config reads the files; each is shown to seen.
func (t *RedisTLS) config(seen func([]byte) (int, error)) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	read := func(file string) ([]byte, error) {
		text, err := os.ReadFile(file)
		if err == nil {
			_, err = seen(text)
		}
		return text, err
	}
	if t.CA != "" {
		text, err := read(t.CA)
		if err != nil {
			return nil, err
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", t.CA)
		}
	}
	if t.Certificate == "" {
		return cfg, nil
	}
	public, err := read(t.Certificate)
	if err != nil {
		return nil, err
	}
	private, err := read(t.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(public, private)
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, err
}

// PoolKey is where the records are. With the password in it, a new one would open
// the store a second time, with a cache and refreshes of its own.
func (s *RedisStore) PoolKey() string {
	addresses := slices.Sorted(slices.Values(s.cfg.Addresses))
	return fmt.Sprintf("redis:%q %q %v %d %q", addresses, s.cfg.Master, s.cfg.Cluster, s.cfg.DB, s.cfg.Prefix)
}

// NewStore makes the store.
func (s *RedisStore) NewStore() (store.Store, error) { return redisstore.New(s.cfg), nil }

// KeyFile is none: gateways that share a store need the same key.
func (*RedisStore) KeyFile() string { return "" }

// Settings tells these settings from others.
func (s *RedisStore) Settings() string { return s.settings }

// UpdateStore goes on with these settings.
func (s *RedisStore) UpdateStore(open store.Store) {
	if r, ok := open.(*redisstore.Store); ok {
		r.Use(s.cfg)
	}
}

// StaleLimit is MaxStale.
func (s *RedisStore) StaleLimit() time.Duration { return time.Duration(s.MaxStale) }

// UnmarshalCaddyfile sets up the store from Caddyfile tokens.
//
//	store redis {
//		address    <host:port>...
//		username   <name>
//		password   <placeholder>
//		db         <number>
//		sentinel   <master> [{
//			username <name>
//			password <placeholder>
//		}]
//		cluster
//		tls        [{
//			ca          <file>
//			client_auth <certificate file> <key file>
//			server_name <name>
//		}]
//		key_prefix <text>
//		timeout    <duration>
//		pool_size  <number>
//		max_stale  <duration> | off
//	}
func (s *RedisStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	line := d.Token()
	if d.NextArg() {
		return d.Err("store redis takes a block and nothing else")
	}
	err := parseBlock(d, "store redis", options{
		"address*":   {"address <host:port>..., such as address redis.example.com:6379", texts(&s.Addresses)},
		"username":   {"username <name>", text(&s.Username)},
		"password":   {"password {env.REDIS_PASSWORD}", placeholder(&s.Password)},
		"db":         {"db <number>, such as db 2", number(&s.DB)},
		"sentinel":   {"sentinel <master> [{ username <name>, password {env.SENTINEL_PASSWORD} }]", s.parseSentinel},
		"cluster":    {"cluster", flag(&s.Cluster)},
		"tls":        {"tls [{ ca <file>, client_auth <certificate file> <key file>, server_name <name> }]", s.parseTLS},
		"key_prefix": {"key_prefix <text>, such as key_prefix toolgate:", text(&s.KeyPrefix)},
		"timeout":    {"timeout <duration>, such as timeout 3s", duration(&s.Timeout)},
		"pool_size":  {"pool_size <number>, such as pool_size 50", number(&s.PoolSize)},
		"max_stale":  {"max_stale <duration> or max_stale off, such as max_stale 10m", s.parseMaxStale},
	})
	if err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return errAt(line, "%v", err)
	}
	return nil
}

func (s *RedisStore) parseSentinel(d *caddyfile.Dispenser) error {
	s.Sentinel = new(RedisSentinel)
	if !d.AllArgs(&s.Sentinel.Master) {
		return errUsage
	}
	return parseBlock(d, "sentinel", options{
		"username": {"username <name>", text(&s.Sentinel.Username)},
		"password": {"password {env.SENTINEL_PASSWORD}", placeholder(&s.Sentinel.Password)},
	})
}

func (s *RedisStore) parseTLS(d *caddyfile.Dispenser) error {
	s.TLS = new(RedisTLS)
	if d.NextArg() {
		return errUsage
	}
	return parseBlock(d, "tls", options{
		"ca":          {"ca <file>", text(&s.TLS.CA)},
		"server_name": {"server_name <name>", text(&s.TLS.ServerName)},
		"client_auth": {"client_auth <certificate file> <key file>", func(d *caddyfile.Dispenser) error {
			if !d.AllArgs(&s.TLS.Certificate, &s.TLS.Key) {
				return errUsage
			}
			return nil
		}},
	})
}

func (s *RedisStore) parseMaxStale(d *caddyfile.Dispenser) error {
	var written string
	if err := text(&written)(d); err != nil {
		return err
	}
	if written == "off" {
		s.MaxStale = -1
		return nil
	}
	value, err := caddy.ParseDuration(written)
	if err != nil || value <= 0 {
		return errUsage
	}
	s.MaxStale = caddy.Duration(value)
	return nil
}

// number reads 0 or more.
func number(to *int) parser {
	return func(d *caddyfile.Dispenser) error {
		var written string
		if err := text(&written)(d); err != nil {
			return err
		}
		value, err := strconv.Atoi(written)
		if err != nil || value < 0 {
			return errUsage
		}
		*to = value
		return nil
	}
}

var (
	_ SharedStoreOpener     = (*RedisStore)(nil)
	_ caddy.Provisioner     = (*RedisStore)(nil)
	_ caddyfile.Unmarshaler = (*RedisStore)(nil)
)
