// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store/filestore"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// killUsers have a connection each in the refresh storm.
const killUsers = 20

// TestKilledInARefreshStorm kills a process at random moments while it refreshes the
// tokens of a provider that rotates strictly. Afterwards each record is whole, and
// holds the provider's current refresh token. The one loss that nothing can prevent,
// a kill between the provider's answer and our commit, is named by its intent.
//
// The clock is real, since another process lives by it.
func TestKilledInARefreshStorm(t *testing.T) {
	rounds := 6
	if os.Getenv("TOOLGATE_LONG") != "" {
		rounds = 50
	}
	provider := &strictProvider{current: map[string]string{}}
	s := &killStore{t: t, dir: t.TempDir(), tk: strictToolkit("http://127.0.0.1")}
	s.grantAll(provider)
	lost, refreshes := 0, 0
	for round := range rounds {
		s.storm(provider, time.Duration(100+mathrand.IntN(900))*time.Millisecond)
		lost += s.check(round, provider)
		refreshes = provider.refreshes()
	}
	t.Logf("%d kills, %d refreshes, %d losses between answer and commit, each named", rounds, refreshes, lost)
	if refreshes < rounds {
		t.Errorf("only %d refreshes: the storm was none", refreshes)
	}
}

// TestKillChild is the process that TestKilledInARefreshStorm kills; it tests nothing
// by itself.
func TestKillChild(t *testing.T) {
	dir, origin := os.Getenv("KILL_DIR"), os.Getenv("KILL_PROVIDER")
	if dir == "" {
		return
	}
	v := openVault(t, dir)
	source := tokencache.New(tokencache.Config{Vault: v}).Source(&oauth.Client{}, nil)
	tk := strictToolkit(origin)
	fmt.Println("ready")
	var all sync.WaitGroup
	for i := range killUsers {
		all.Go(func() {
			for {
				conn, err := source.Token(context.Background(), tk, killKey(i))
				if err == nil {
					// As if the provider had refused it at once.
					_, _ = source.Renew(context.Background(), tk, conn)
				}
				// A pace, not a synchronisation: a tight loop would starve the disk.
				time.Sleep(time.Millisecond)
			}
		})
	}
	all.Wait()
}

func killKey(i int) connection.Key {
	return connection.Key{Tenant: "default", User: "user-" + strconv.Itoa(i), Toolkit: "strict"}
}

// strictProvider rotates refresh tokens and takes each but once.
type strictProvider struct {
	mu      sync.Mutex
	current map[string]string // user → refresh token
	count   int
}

// token answers a refresh. A token is "user:random"; the answer takes a moment, so
// that kills fall between asking and answering too.
func (p *strictProvider) token(w http.ResponseWriter, r *http.Request) {
	sent := r.PostFormValue("refresh_token")
	p.mu.Lock()
	user := ""
	for name, token := range p.current {
		if token == sent {
			user = name
		}
	}
	fresh := ""
	if user != "" {
		fresh = p.issueLocked(user)
		p.count++
	}
	p.mu.Unlock()
	if user == "" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "at-" + rand.Text(), "refresh_token": fresh, "expires_in": 3600})
}

func (p *strictProvider) issueLocked(user string) string {
	p.current[user] = user + ":" + rand.Text()
	return p.current[user]
}

func (p *strictProvider) issue(user string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issueLocked(user)
}

func (p *strictProvider) currentOf(user string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current[user]
}

func (p *strictProvider) refreshes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func strictToolkit(origin string) *toolkit.Toolkit {
	base, _ := url.Parse(origin)
	return &toolkit.Toolkit{
		ID: "strict", Name: "Strict", BaseURL: base, Auth: toolkit.Auth{Kind: toolkit.OAuth, PerUser: true, Header: "Authorization", Prefix: "Bearer "},
		OAuth: &toolkit.OAuth2{Issuer: "https://strict.example", TokenURL: origin + "/token", AuthStyle: toolkit.StyleNone, ClientID: "client"},
	}
}

// killStore is the store on disk, between the rounds.
type killStore struct {
	t   *testing.T
	dir string
	tk  *toolkit.Toolkit
}

func openVault(t *testing.T, dir string) *vault.Vault {
	t.Helper()
	ring, _, err := seal.LoadOrCreate(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	s := filestore.New(filestore.Config{Path: filepath.Join(dir, "connections.db"), LockWait: 10 * time.Second})
	t.Cleanup(func() { _ = s.Close() })
	return vault.New(s, ring)
}

// with opens the store for a moment.
func (s *killStore) with(do func(*vault.Vault)) {
	s.t.Helper()
	s.t.Run("between", func(t *testing.T) { do(openVault(t, s.dir)) })
}

func (s *killStore) grantAll(p *strictProvider) {
	s.with(func(v *vault.Vault) {
		for i := range killUsers {
			s.grant(v, p, connection.Connection{Key: killKey(i), ID: "conn_" + strconv.Itoa(i)})
		}
	})
}

func (s *killStore) grant(v *vault.Vault, p *strictProvider, c connection.Connection) {
	s.t.Helper()
	c.Status, c.Reason, c.Intent = connection.Active, "", nil
	c.AccessToken, c.RefreshToken = secret.New("at-"+rand.Text()), secret.New(p.issue(c.User))
	c.IssuedAt = time.Now()
	c.ExpiresAt = c.IssuedAt.Add(time.Hour)
	c.Granted = connection.Grantee{Issuer: s.tk.OAuth.Grantor(), ClientID: s.tk.OAuth.ClientID}
	if _, err := v.Save(context.Background(), c); err != nil {
		s.t.Fatal(err)
	}
}

// storm runs the process for so long and kills it. The server is closed after it,
// which waits for what it has begun: nothing is spent later than that.
func (s *killStore) storm(p *strictProvider, life time.Duration) {
	s.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(p.token))
	defer server.Close()
	child := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
	child.Env = append(os.Environ(), "KILL_DIR="+s.dir, "KILL_PROVIDER="+server.URL)
	out, err := child.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
	}
	time.Sleep(life) // the moment of the kill is random; nothing waits for it
	_ = child.Process.Kill()
	_ = child.Wait()
}

// check reads every record and counts the losses, which it mends for the next round.
func (s *killStore) check(round int, p *strictProvider) (lost int) {
	s.with(func(v *vault.Vault) {
		for i := range killUsers {
			c, err := v.Load(context.Background(), killKey(i))
			switch {
			case err != nil:
				s.t.Errorf("round %d: the record of %s: %v", round, killKey(i).User, err)
			case c.RefreshToken.Reveal() == p.currentOf(c.User) && c.Status == connection.Active:
			case c.Intent != nil:
				lost++
				s.grant(v, p, c)
			default:
				s.t.Errorf("round %d: %s lost its refresh token without an intent", round, c.User)
			}
		}
	})
	return lost
}
