// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

func TestATokenThatIsRefusedIsRenewedOnTheWay(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		w.Provider.Refuse(gatewaytest.UserToken)
		res, body := w.Do(w.Request("PUT", address+"/acme/x?a=1", strings.NewReader("body")))
		if res.StatusCode != 200 || body != "ok" || res.Header["Www-Authenticate"] != nil {
			t.Fatalf("answered %s %v %q", res.Status, res.Header, body)
		}
		seen := w.Provider.Seen()
		if len(seen) != 2 || seen[1].Header.Get("Authorization") != "Bearer "+gatewaytest.UserToken+".2" || seen[0].URI != seen[1].URI || seen[1].Method != "PUT" {
			t.Errorf("the provider saw %+v", seen)
		}
		if e := w.Event(); !e.Renewed || e.Status != 200 || e.Err != nil {
			t.Errorf("event %+v", e)
		}
		if lines := w.Audit.Lines(); len(lines) != 1 {
			t.Errorf("one call left %d lines", len(lines))
		}
	})
}

// 403 is about scopes and rights, and no new token would have more of them.
func TestOnlyA401IsAboutTheToken(t *testing.T) {
	for _, status := range []int{400, 402, 403, 404, 409, 419, 429, 498, 500, 503} {
		w := gatewaytest.New(t, gatewaytest.Options{})
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) })
		res, _ := w.Get("/acme/x")
		renewals, _, rejected := w.Credentials.Counts()
		if res.StatusCode != status || w.Provider.Calls() != 1 || renewals != 0 || rejected != nil {
			t.Errorf("%d: answered %s, %d calls, %d renewals, rejected %v", status, res.Status, w.Provider.Calls(), renewals, rejected)
		}
	}
}

func TestATokenThatIsRefusedTwiceAsksTheUser(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Refuse(gatewaytest.UserToken)
	w.Provider.Refuse(gatewaytest.UserToken + ".2")
	res, body := w.Get("/acme/secret/path?q=1")
	r := refused(t, w, res, body, verdict{403, "auth_required", "judge", "provider_rejected_token"})
	if r.Connection == nil || r.Connection.Status != "active" || r.Connection.Reason != "provider_rejected_token" || r.ConnectURL == "" {
		t.Errorf("refused with %s", body)
	}
	if renewals, worked, rejected := w.Credentials.Counts(); renewals != 1 || worked != 0 || len(rejected) != 1 || rejected[0] != "/api/secret/path" {
		t.Errorf("renewed %d, worked %d, rejected %v", renewals, worked, rejected)
	}
	if res.Header["Www-Authenticate"] != nil || strings.Contains(body, "bad credentials") {
		t.Errorf("the provider's own words were passed on: %v %s", res.Header, body)
	}
	if w.Provider.Calls() != 2 {
		t.Errorf("sent %d times", w.Provider.Calls())
	}
}

func TestNoUserCanMendTheOperatorsKey(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("WWW-Authenticate", "Basic")
		rw.WriteHeader(401)
	})
	for _, path := range []string{"/weather/x", "/maps/x", "/ledger/x", "/open/x"} {
		res, body := w.Get(path)
		refused(t, w, res, body, verdict{502, "credential_rejected", "judge", "provider_401"})
		if res.Header["Www-Authenticate"] != nil || strings.Contains(body, "connect") {
			t.Errorf("%s: %v %s", path, res.Header, body)
		}
	}
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(407) })
	res, body := w.Get("/weather/x")
	refused(t, w, res, body, verdict{502, "upstream_unreachable", "judge", "proxy_407"})
}

func TestWhenRenewingFails(t *testing.T) {
	busy := problem.New(problem.RefreshUnavailable, "token_endpoint", "Later.")
	for name, c := range map[string]struct {
		err      error
		want     verdict
		rejected int
	}{
		"the grant is gone":          {&connection.Unusable{Status: connection.Expired, Reason: connection.RefreshRejected}, verdict{403, "auth_required", "send", "refresh_rejected"}, 0},
		"nothing to renew it with":   {&connection.Unusable{Status: connection.Active, Reason: connection.ProviderRejected}, verdict{403, "auth_required", "send", "provider_rejected_token"}, 1},
		"a passing fault":            {busy, verdict{503, "refresh_unavailable", "send", "token_endpoint"}, 0},
		"an error nobody thought of": {errors.New("marker-internal"), verdict{500, "internal", "send", "unexpected"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			w.Provider.Refuse(gatewaytest.UserToken)
			w.Credentials.Fail(nil, c.err)
			res, body := w.Get("/acme/x")
			refused(t, w, res, body, c.want)
			if _, _, rejected := w.Credentials.Counts(); len(rejected) != c.rejected || w.Provider.Calls() != 1 || strings.Contains(body, "marker-internal") {
				t.Errorf("rejected %v, %d calls, %s", rejected, w.Provider.Calls(), body)
			}
		})
	}
	if busy.Step != "" {
		t.Error("the gateway wrote into an error that others may hold")
	}
}

func TestARenewedTokenTooGoesOnlyWhereItWasGrantedFor(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		// The user connects again in another configuration, in this very moment.
		w.Credentials.Change("ada", "acme", func(c *connection.Connection) {
			c.AccessToken, c.Granted.Hosts = w.Toolkits["weather"].Auth.Key, []string{"https://elsewhere.example"}
		})
		rw.WriteHeader(401)
	})
	res, body := w.Get("/acme/x")
	refused(t, w, res, body, verdict{403, "auth_required", "send", "provider_config"})
	if w.Provider.Calls() != 1 {
		t.Error("the token was sent to a host that it was not granted for")
	}
}

func TestALargeUploadCostsTheReplayAndNotTheRenewal(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		w.Toolkits["acme"].MaxReplay = 64 << 10
		w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			body := gatewaytest.ReadBody(r)
			if gatewaytest.Token(r) == gatewaytest.UserToken {
				rw.WriteHeader(401)
			} else if body.Length != 2<<20 || body.Err != nil {
				t.Errorf("the provider read %d bytes, %v", body.Length, body.Err)
			}
		})
		large := make([]byte, 2<<20)
		res, body := w.Do(w.Request("POST", address+"/acme/x", bytes.NewReader(large)))
		refused(t, w, res, body, verdict{503, "token_renewed", "send", "max_replay"})
		if res.Header.Get("Retry-After") != "1" || res.Header.Get("X-Should-Retry") != "" {
			t.Errorf("answered with %v", res.Header)
		}
		if res, _ := w.Do(w.Request("POST", address+"/acme/x", bytes.NewReader(large))); res.StatusCode != 200 {
			t.Errorf("the next call: %s", res.Status)
		}
	})
}

func TestMaxReplayCanBeSwitchedOff(t *testing.T) {
	for limit, want := range map[int64]int{-1: 503, 0: 200, 3: 503, 4: 200} {
		w := gatewaytest.New(t, gatewaytest.Options{Acme: func(tk *toolkit.Toolkit) { tk.MaxReplay = limit }})
		w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			gatewaytest.ReadBody(r)
			if gatewaytest.Token(r) == gatewaytest.UserToken {
				rw.WriteHeader(401)
			}
		})
		if res, body := w.Do(w.Request("POST", w.H1+"/acme/x", strings.NewReader("body"))); res.StatusCode != want {
			t.Errorf("max_replay %d: %s %s", limit, res.Status, body)
		}
	}
}

func TestFiftyAtOnceRenewOnce(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Refuse(gatewaytest.UserToken)
	var callers sync.WaitGroup
	for i := range 50 {
		address := []string{w.H1, w.H2}[i%2]
		r := w.Request("POST", address+"/acme/x", strings.NewReader("body"))
		callers.Go(func() {
			res, err := w.Client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); res.StatusCode != 200 || string(body) != "ok" || err != nil {
				t.Errorf("answered %s %q, %v", res.Status, body, err)
			}
		})
	}
	callers.Wait()
	if renewals, worked, _ := w.Credentials.Counts(); renewals != 1 || worked != 50 {
		t.Errorf("renewed %d times, worked %d times", renewals, worked)
	}
}

// Those who waited for one refresh share its error.
func TestFiftyAtOnceShareAnError(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	shared := problem.New(problem.RefreshUnavailable, "token_endpoint", "Later.")
	w.Credentials.Fail(shared, nil)
	var callers sync.WaitGroup
	for range 50 {
		r := w.Request("GET", w.H1+"/acme/x", nil)
		callers.Go(func() {
			if res, err := w.Client.Do(r); err != nil || res.StatusCode != 503 {
				t.Errorf("answered %v, %v", res, err)
			} else {
				res.Body.Close()
			}
		})
	}
	callers.Wait()
}

func TestNetHTTPMaySendTheBodyAgainByItself(t *testing.T) {
	tries := 0
	w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) {
		e := cfg.Toolkits["acme"]
		e.Upstream = seeing(func(r *http.Request) (*http.Response, error) {
			first := make([]byte, 4)
			_, _ = io.ReadFull(r.Body, first)
			for range 2 {
				again, err := r.GetBody()
				if err != nil {
					t.Fatal(err)
				}
				tries++
				if whole, err := io.ReadAll(again); string(whole) != "the whole body" || err != nil {
					t.Errorf("sent again as %q, %v", whole, err)
				}
			}
			if n, err := r.Body.Read(first); n != 0 || err == nil || err == io.EOF {
				t.Errorf("the first reader goes on with %d bytes, %v", n, err)
			}
			return answering(200, "ok"), nil
		})
		cfg.Toolkits["acme"] = e
	}})
	w.Do(w.Request("POST", w.H1+"/acme/x", strings.NewReader("the whole body")))
	if tries != 2 {
		t.Errorf("tried %d times", tries)
	}
}

func TestATokenProvesItselfOnlyWhereTheProviderLooked(t *testing.T) {
	for status, want := range map[int]int{200: 1, 404: 1, 403: 1, 429: 0, 500: 0, 503: 0} {
		w := gatewaytest.New(t, gatewaytest.Options{})
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) })
		w.Get("/acme/x")
		if _, worked, _ := w.Credentials.Counts(); worked != want {
			t.Errorf("%d: worked %d times", status, worked)
		}
	}
}
