// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store/redisstore"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// strict is a provider that replaces a refresh token whenever it is used, ends a grant
// whose refresh token comes twice, and whose access tokens live for two seconds.
type strict struct {
	mu      sync.Mutex
	owner   map[string]string    // of every refresh token that there ever was
	current map[string]string    // by user
	access  map[string]time.Time // until when it is good
	last    map[string]time.Time // refresh, by user
	gap     time.Duration        // the shortest between two of one user
	count   int
	reused  map[string]bool // users
}

const strictLife = 2 * time.Second

func newStrict() *strict {
	return &strict{owner: map[string]string{}, current: map[string]string{}, access: map[string]time.Time{}, last: map[string]time.Time{}, gap: time.Hour, reused: map[string]bool{}}
}

func (p *strict) grantLocked(user string) (access, refresh string) {
	access, refresh = "at-"+rand.Text(), "rt-"+rand.Text()
	p.owner[refresh], p.current[user] = user, refresh
	p.access[access] = time.Now().Add(strictLife)
	return access, refresh
}

func (p *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		p.refresh(w, r)
		return
	}
	p.mu.Lock()
	until := p.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	p.mu.Unlock()
	if !time.Now().Before(until) {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func (p *strict) refresh(w http.ResponseWriter, r *http.Request) {
	sent, now := r.PostFormValue("refresh_token"), time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	user := p.owner[sent]
	if p.current[user] != sent {
		p.reused[user] = true
		delete(p.current, user)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
		return
	}
	if last, before := p.last[user]; before {
		p.gap = min(p.gap, now.Sub(last))
	}
	p.last[user] = now
	p.count++
	access, refresh := p.grantLocked(user)
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": access, "refresh_token": refresh, "expires_in": strictLife.Seconds()})
}

// storm is three gateways, each a process, over one Redis.
type storm struct {
	t        *testing.T
	users    int
	provider *strict
	origin   string
	wire     *redistest.Proxy
	vault    *vault.Vault

	mu       sync.Mutex
	gateways []*server
	address  []string
	printed  []*printed // of those that were killed, too
	said     map[string]int
	calls    atomic.Int64
	unheard  atomic.Int64 // calls to a gateway that was not there
}

func newStorm(t *testing.T, users int) *storm {
	t.Helper()
	redis := redistest.Start(t, "--save", "", "--appendonly", "no")
	s := &storm{t: t, users: users, provider: newStrict(), wire: redistest.NewProxy(t, redis.Addr), said: map[string]int{}}
	api := httptest.NewServer(s.provider)
	t.Cleanup(api.Close)
	s.origin = api.URL
	ring, err := seal.ParseRing(sealKey)
	if err != nil {
		t.Fatal(err)
	}
	direct := redisstore.New(redisstore.Config{Addresses: []string{redis.Addr}})
	t.Cleanup(func() { direct.Close() })
	s.vault = vault.New(direct, ring)
	if err := s.vault.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.address = append(s.address, freeAddress(t))
		s.gateways = append(s.gateways, nil)
		s.start(i)
	}
	s.connect()
	return s
}

func stormKey(i int) connection.Key {
	return connection.Key{Tenant: "default", User: fmt.Sprint("user-", i), Toolkit: "strict"}
}

// connect gives every user a grant.
func (s *storm) connect() {
	s.t.Helper()
	for i := range s.users {
		key, now := stormKey(i), time.Now()
		s.provider.mu.Lock()
		access, refresh := s.provider.grantLocked(key.User)
		s.provider.mu.Unlock()
		_, err := s.vault.Save(s.t.Context(), connection.Connection{
			Key: key, ID: fmt.Sprint("con_", i), Status: connection.Active, AccessToken: secret.New(access), RefreshToken: secret.New(refresh),
			IssuedAt: now, ExpiresAt: now.Add(strictLife), CreatedAt: now, UpdatedAt: now,
			Granted: connection.Grantee{Issuer: s.origin + "/token", ClientID: "toolgate", Hosts: []string{s.origin}},
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// start starts a gateway and waits until it answers.
func (s *storm) start(i int) {
	s.t.Helper()
	dir := s.t.TempDir()
	w := &world{t: s.t, dir: dir, address: s.address[i]}
	g := serveConfig(s.t, w, fmt.Sprintf(`{
	admin off
	persist_config off
	grace_period 1s
	toolgate {
		public_url %[1]s
		encryption_key {env.SEAL}
		audit discard
		store redis {
			address %[2]s
			timeout 2s
		}
		toolkit strict {
			base_url %[3]s
			oauth2 {
				authorize_url %[3]s/authorize
				token_url %[3]s/token
				client_id toolgate
				client_secret {env.STRICT_SECRET}
			}
		}
	}
}

http://localhost:%[4]s, http://127.0.0.1:%[4]s {
	bind 127.0.0.1
	toolgate
}
`, w.public(), s.wire.Addr, s.origin, w.port()), "SEAL="+sealKey, "STRICT_SECRET=a-client-secret-of-no-worth")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateways[i] = g
	s.printed = append(s.printed, g.printed)
}

// kill ends a gateway without a word.
func (s *storm) kill(i int) {
	s.mu.Lock()
	g := s.gateways[i]
	s.mu.Unlock()
	_ = g.process.Kill()
	<-g.exited
}

// rage calls for users at random through gateways at random, for as long as it takes
// until over is closed.
func (s *storm) rage(over <-chan struct{}) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 60 * time.Second}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for range 24 {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					s.call(client)
				}
			}
		})
	}
	all.Wait()
}

func (s *storm) call(client *http.Client) {
	r, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+s.address[mathrand.IntN(len(s.address))]+"/strict/x", nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	r.Header.Set("X-User-Id", stormKey(mathrand.IntN(s.users)).User)
	res, err := client.Do(r)
	if err != nil {
		s.unheard.Add(1)
		time.Sleep(20 * time.Millisecond) // as a client would; the gateway is away
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	s.calls.Add(1)
	if res.StatusCode == http.StatusOK {
		return
	}
	var refusal struct{ Code, Rule string }
	_ = json.Unmarshal(body, &refusal)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[fmt.Sprintf("%d %s %s", res.StatusCode, refusal.Code, refusal.Rule)]++
}

// interrupted are the users of whom some gateway said that a refresh was cut off.
func (s *storm) interrupted() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := map[string]bool{}
	for _, p := range s.printed {
		for line := range strings.Lines(p.String()) {
			var said struct{ Msg, User string }
			if json.Unmarshal([]byte(line), &said) == nil && strings.HasPrefix(said.Msg, "an earlier refresh was cut off") {
				users[said.User] = true
			}
		}
	}
	return users
}

// inStep counts the users whose stored refresh token is the provider's latest, and
// those whose loss has a name: an intent in the record, or the end of the grant after
// a gateway had said so.
func (s *storm) inStep() (whole, named int, unnamed []string) {
	said := s.interrupted()
	for i := range s.users {
		key := stormKey(i)
		c, err := s.vault.Load(context.Background(), key)
		if err != nil {
			s.t.Errorf("%s: %v", key.User, err)
			continue
		}
		s.provider.mu.Lock()
		current := s.provider.current[key.User]
		s.provider.mu.Unlock()
		switch {
		case c.RefreshToken.Reveal() == current:
			whole++
		case c.Intent != nil || said[key.User]:
			named++
		default:
			unnamed = append(unnamed, key.User)
		}
	}
	return whole, named, unnamed
}
