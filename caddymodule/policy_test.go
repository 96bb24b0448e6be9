// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fake is a provider that answers as the test says, behind the toolkit fake.
type fake struct {
	*world
	mode  atomic.Value // well, slow, 503 or 429
	calls atomic.Int64
	busy  atomic.Int64 // calls under way
}

func newFake(t *testing.T) *fake {
	f := &fake{world: newWorld(t)}
	f.mode.Store("well")
	f.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		f.calls.Add(1)
		f.busy.Add(1)
		defer f.busy.Add(-1)
		switch f.mode.Load() {
		case "slow":
			<-r.Context().Done()
		case "503":
			rw.WriteHeader(http.StatusServiceUnavailable)
		case "429":
			rw.Header().Set("Retry-After", "2")
			rw.Header().Set("X-Ratelimit-Remaining", "0")
			rw.WriteHeader(http.StatusTooManyRequests)
		}
		_, _ = io.WriteString(rw, "fake")
	})
	return f
}

func (f *fake) configured(lines ...string) string {
	return f.caddyfile("", "toolkit fake {\n\t\t\tbase_url "+f.origin+"/extra\n\t\t\tno_auth\n\t\t\t"+strings.Join(lines, "\n\t\t\t")+"\n\t\t}", "")
}

var codeOf = regexp.MustCompile(`"code":"([a-z_]+)"`)

// says gives the code of a refusal, or the status.
func (f *fake) says(user string) string {
	f.t.Helper()
	status, body := f.call("GET", "/fake/x", "X-User-Id", user)
	if code := codeOf.FindStringSubmatch(body); code != nil {
		return code[1]
	}
	return fmt.Sprint(status)
}

func (f *fake) want(user string, all ...string) {
	f.t.Helper()
	for i, want := range all {
		if got := f.says(user); got != want {
			f.t.Errorf("%s, call %d: %s, want %s", user, i, got, want)
		}
	}
}

func TestRulesHoldForRealCalls(t *testing.T) {
	f := newFake(t)
	f.load(f.configured("allow GET /x/*", "deny * /x/secret"))
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/fake/x/y", "fake"}, {"POST", "/fake/x/y", `"rule":"no rule allows it"`}, {"GET", "/fake/x/Secret/", `"rule":"deny * /x/secret"`},
		{"GET", "/fake/x//y", `"rule":"ambiguous"`}, {"GET", "/fake/x/%2e%2e/y", `"code":"invalid_path"`}, {"GET", "/fake/x/y?_method=DELETE", `"rule":"method_override _method"`},
		{"POST", "/acme/token", `"rule":"credential_paths * /token"`}, {"POST", "/acme/%74oken", `"rule":"credential_paths * /token"`}, {"POST", "/acme//revoke", `"rule":"credential_paths * /revoke"`},
	} {
		if _, body := f.call(c.method, c.path); !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %s, want %s", c.method, c.path, body, c.want)
		}
	}
	if n := f.calls.Load(); n != 1 {
		t.Errorf("%d calls reached the provider", n)
	}
}

func TestWhatHappenedOutlivesAReload(t *testing.T) {
	f := newFake(t)
	f.load(f.configured("limit user 3/1h"))
	f.want("ada", "200", "200", "200", "rate_limited")
	f.want("bob", "200")
	f.reload(f.configured("limit user 3/1h", "timeout 5s"))
	f.want("ada", "rate_limited")
	f.want("bob", "200", "200", "rate_limited")

	duringStart = func() {}
	broken := f.caddyfile("test_fails start", "toolkit fake {\n\t\t\tbase_url "+f.origin+"/extra\n\t\t\tno_auth\n\t\t}", "")
	if f.tryLoad(broken) == nil {
		t.Fatal("this loads")
	}
	f.handedOver()
	f.want("ada", "rate_limited") // there were no limits in it
	f.want("carol", "200", "200", "200", "rate_limited")

	f.reload(f.configured("limit user 36000/1h burst 1", "timeout 5s"))
	eventually(t, "the new rate counts", func() bool { return f.says("ada") == "200" })

	f.mode.Store("429")
	f.reload(f.configured())
	f.want("dave", "429", "cooling_down")
	f.reload(f.configured("timeout 6s"))
	f.want("dave", "cooling_down")
	f.reload(f.configured("cooldown off"))
	f.want("dave", "429")

	f.mode.Store("503")
	users := 0
	eventually(t, "the breaker opens", func() bool { users++; return f.says(fmt.Sprint("user", users%3)) == "circuit_open" })
	f.want("erin", "circuit_open")
	f.reload(f.configured("cooldown off", "timeout 7s"))
	f.want("erin", "circuit_open")
	f.reload(f.configured("breaker off", "cooldown off"))
	f.want("erin", "503")
	if f.tryLoad(broken) == nil {
		t.Fatal("this loads")
	}
	f.handedOver()
	f.reload(f.configured("cooldown off"))
	f.want("erin", "circuit_open")
}

func TestARefusalHasTheGatewaysHeadersAndNotTheProviders(t *testing.T) {
	f := newFake(t)
	f.load(f.configured("limit user 2/1h"))
	f.mode.Store("429")
	res := f.open("GET", "/fake/x")
	res.Body.Close()
	if res.StatusCode != 429 || res.Header.Get("X-Ratelimit-Remaining") != "0" || res.Header.Get("Retry-After") != "2" {
		t.Errorf("the provider's own: %d %v", res.StatusCode, res.Header)
	}
	res = f.open("GET", "/fake/x")
	res.Body.Close()
	if res.StatusCode != 429 || res.Header.Get("X-Ratelimit-Remaining") != "" || res.Header.Get("Retry-After") == "" {
		t.Errorf("the cool-down: %d %v", res.StatusCode, res.Header)
	}
	f.mode.Store("well")
	eventually(t, "the pause is over", func() bool { return f.says("alice") == "200" })
	res = f.open("GET", "/fake/x")
	res.Body.Close()
	if res.StatusCode != 429 || res.Header.Get("RateLimit") != `"user";r=0;t=`+res.Header.Get("Retry-After") || res.Header.Get("RateLimit-Policy") != `"user";q=2;w=3600` {
		t.Errorf("the limit: %d %v", res.StatusCode, res.Header)
	}
}

// crowd is 50 agents that call again and again.
type crowd struct {
	*fake
	over chan struct{}
	all  sync.WaitGroup
	mu   sync.Mutex
	got  map[string]int
}

func (f *fake) crowd() *crowd {
	c := &crowd{fake: f, over: make(chan struct{}), got: map[string]int{}}
	for i := range 50 {
		c.all.Go(func() {
			for {
				select {
				case <-c.over:
					return
				case <-time.After(20 * time.Millisecond):
				}
				said := c.says(fmt.Sprint("user", i))
				c.mu.Lock()
				c.got[said]++
				c.mu.Unlock()
			}
		})
	}
	return c
}

// now gives what was answered since, and begins anew.
func (c *crowd) now() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = map[string]int{}
	return got
}

// sees waits until so many answers of a kind have come.
func (c *crowd) sees(what string, times int) {
	c.t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for {
		c.mu.Lock()
		n := c.got[what]
		c.mu.Unlock()
		if n >= times {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("only %d times %s; %v", n, what, c.now())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestAnIllProviderIsLeftAlone: a provider wants a pause, is well, goes slow, says 503, and is
// well again, while 50 agents go on calling.
func TestAnIllProviderIsLeftAlone(t *testing.T) {
	f := newFake(t)
	f.load(f.configured("timeout 300ms"))
	c := f.crowd()
	defer func() { close(c.over); c.all.Wait() }()
	c.sees("200", 100)

	f.mode.Store("429")
	c.sees("cooling_down", 200)
	f.mode.Store("well")
	c.now()
	c.sees("200", 100)

	f.mode.Store("slow")
	c.now()
	c.sees("upstream_timeout", 5)
	c.sees("circuit_open", 50)
	f.mode.Store("503")
	eventually(t, "what was under way has ended by its timeout", func() bool { return f.busy.Load() == 0 })
	f.calls.Store(0)
	c.now()
	c.sees("circuit_open", 1000)
	if n := f.calls.Load(); n > 2 { // as many as have looked since
		t.Errorf("%d calls reached a provider that is left alone", n)
	}
	if os.Getenv("TOOLGATE_LONG") != "" {
		c.sees("503", 1) // the one that looks, after ten seconds
	}
	f.mode.Store("well")
	c.now()
	began := time.Now()
	c.sees("200", 200)
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("it took %v to see that it is well", took)
	}
	c.now()
	c.sees("200", 100)
	if got := c.now(); len(got) != 1 {
		t.Errorf("afterwards: %v", got)
	}
}

func TestAnOperatorLearnsWhyACallIsRefused(t *testing.T) {
	f := newFake(t)
	t.Setenv("BOT_KEY", "tgk_bot_0123456789abcdef0123456789")
	config := strings.Replace(f.configured("deny DELETE *", "limit user 60/1m burst 2"), "toolkit fake {", "agent bot {\n\t\t\tkey {env.BOT_KEY}\n\t\t\tacts_for alice\n\t\t\trules acme {\n\t\t\t\tallow GET /v1/*\n\t\t\t}\n\t\t}\n\t\ttoolkit fake {", 1)
	s := serveConfig(t, f.world, config, "ACME_CLIENT_SECRET="+clientSecret, "BOT_KEY=tgk_bot_0123456789abcdef0123456789")
	key := []string{"X-Toolgate-Key", "tgk_bot_0123456789abcdef0123456789"}
	f.connect(key...)
	has := func(out string, all ...string) {
		t.Helper()
		for _, text := range all {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), text) {
				t.Errorf("it does not say %q:\n%s", text, out)
			}
		}
	}
	has(s.succeeds(t, "", "explain", "--user", "alice", "acme", "GET", "/v1/me"),
		"identify passes acts_for alice", "resolve passes to "+f.origin+"/v1/me", "admit rules passes allow GET /v1/*", "admit breaker passes", "admit cool-down passes none", "authorize passes connected as alice@acme.example")
	has(s.succeeds(t, "", "explain", "--user", "bob", "acme", "POST", "/token"),
		"identify refused: user_mismatch acts_for", "admit rules refused: not_permitted credential_paths * /token", "authorize refused: auth_required the user has not connected it")
	for range 2 {
		f.call("GET", "/fake/x", key...)
	}
	has(s.succeeds(t, "", "explain", "--agent", "bot", "--user", "alice", "fake", "DELETE", "/x"),
		"admit rules refused: not_permitted deny DELETE *", "admit limit refused: rate_limited limit user 60/1m burst 2: nothing left", "authorize passes with the operator's credential")
	has(s.succeeds(t, "", "explain", "--user", "alice", "nowhere", "GET", "/x"), "resolve refused: unknown_toolkit")
	has(s.succeeds(t, "", "explain", "--user", "alice", "fake", "GET", "/../x"), "resolve refused: invalid_path")
	s.fails(t, "say with --agent", "explain", "--agent", "other", "--user", "alice", "fake", "GET", "/x")
	s.fails(t, "--user has to be", "explain", "fake", "GET", "/x")
	s.stop(t)
	has(s.succeeds(t, "no gateway runs", "explain", "--user", "alice", "fake", "GET", "/x"), "limit user 60/1m burst 2: 2 left of 2")
}
