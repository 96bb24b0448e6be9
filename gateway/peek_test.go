// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// peeking looks into bodies.
type peeking struct {
	limit int
	head  string
	whole bool
}

func (p *peeking) Admit(_ context.Context, c *gateway.Call) error {
	head, whole, err := c.Body.Peek(p.limit)
	p.head, p.whole = string(head), whole
	return err
}

func (p *peeking) Enter(context.Context, *gateway.Call) (gateway.Visit, error) { return nil, nil }

func TestNoTrailerBringsAnotherMethod(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	var got http.Header
	w.Provider.Handle(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got = r.Trailer
	})
	for _, base := range []string{w.H1, w.H2} {
		r := w.Request("POST", base+"/acme/x", struct{ io.Reader }{strings.NewReader("text")})
		r.ContentLength = -1
		r.Trailer = http.Header{"X-Sum": {"1"}, "X-Http-Method-Override": {"DELETE"}, "X-Method-Override": {"DELETE"}}
		if res, body := w.Do(r); res.StatusCode != 200 || len(got) != 1 || got.Get("X-Sum") != "1" {
			t.Errorf("%d %s: the provider got %v", res.StatusCode, body, got)
		}
	}
}

// What a policy has looked at goes on whole, again after a 401 too, whatever is kept for that.
func TestAPolicyLooksIntoABodyThatGoesOnWhole(t *testing.T) {
	text := strings.Repeat("0123456789", 20<<10)
	for _, limit := range []int{0, 1, 100, 32 << 10, len(text) - 1, len(text), len(text) + 1, 1 << 20} {
		for _, length := range []int64{int64(len(text)), -1} {
			policy := &peeking{limit: limit}
			w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.Policy = policy }})
			tries := 0
			w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if string(body) != text || err != nil {
					t.Errorf("limit %d: the provider got %d bytes, %v", limit, len(body), err)
				}
				if tries++; tries == 1 {
					rw.WriteHeader(http.StatusUnauthorized)
				}
			})
			for _, base := range []string{w.H1, w.H2} {
				tries = 0
				r := w.Request("POST", base+"/acme/x", struct{ io.Reader }{strings.NewReader(text)})
				r.ContentLength = length
				if res, body := w.Do(r); res.StatusCode != 200 || tries != 2 {
					t.Errorf("limit %d: %d %s after %d tries", limit, res.StatusCode, body, tries)
				}
				if policy.head != text[:min(limit, len(text))] || policy.whole != (limit >= len(text)) {
					t.Errorf("limit %d: it saw %d bytes, whole: %v", limit, len(policy.head), policy.whole)
				}
			}
		}
	}
	policy := &peeking{limit: 10}
	w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.Policy = policy }})
	if res, _ := w.Get("/acme/x"); res.StatusCode != 200 || !policy.whole || policy.head != "" {
		t.Errorf("without a body: %d, %+v", res.StatusCode, policy)
	}
}

func (p *peeking) Reads(*gateway.Call) bool { return false }
