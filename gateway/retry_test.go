// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

// hosting lets all in, and wants another attempt after each failure.
type hosting struct {
	times  int
	told   []gateway.Answer
	left   atomic.Int32
	refuse error
}

func (h *hosting) Admit(context.Context, *gateway.Call) error { return nil }
func (h *hosting) Enter(context.Context, *gateway.Call) (gateway.Visit, error) {
	if h.refuse != nil {
		return nil, h.refuse
	}
	return h, nil
}
func (h *hosting) Leave() { h.left.Add(1) }
func (h *hosting) Answered(a gateway.Answer) (time.Duration, bool) {
	h.told = append(h.told, a)
	failed := a.Fault != gateway.NoFault || a.Status >= 500
	return 0, failed && a.Repeatable && len(h.told) <= h.times
}

func hosted(t *testing.T, h *hosting) *gatewaytest.World {
	return gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.Policy = h }})
}

func TestACallIsMadeAgainWithItsWholeBody(t *testing.T) {
	text := strings.Repeat("0123456789", 10<<10)
	for _, c := range []struct {
		method, key string
		again       bool
	}{{"PUT", "", true}, {"DELETE", "", true}, {"POST", "", false}, {"PATCH", "", false}, {"POST", "k1", true}} {
		h := &hosting{times: 2}
		w := hosted(t, h)
		tries := 0
		w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); string(body) != text || err != nil {
				t.Errorf("%s: %d bytes, %v", c.method, len(body), err)
			}
			if tries++; tries < 3 {
				rw.WriteHeader(http.StatusBadGateway)
			}
		})
		r := w.Request(c.method, w.H1+"/acme/x", strings.NewReader(text))
		if c.key != "" {
			r.Header.Set("Idempotency-Key", c.key)
		}
		res, _ := w.Do(r)
		if c.again && (res.StatusCode != 200 || tries != 3) || !c.again && (res.StatusCode != 502 || tries != 1) {
			t.Errorf("%s: %d after %d tries", c.method, res.StatusCode, tries)
		}
		w.Event()
		if h.left.Load() != 1 {
			t.Errorf("it was left %d times", h.left.Load())
		}
	}
}

func TestABodyThatWasNotKeptIsNotSentAgain(t *testing.T) {
	h := &hosting{times: 2}
	w := hosted(t, h)
	w.Toolkits["acme"].MaxReplay = 100
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		gatewaytest.ReadBody(r)
		rw.WriteHeader(http.StatusBadGateway)
	})
	res, _ := w.Do(w.Request("PUT", w.H1+"/acme/x", strings.NewReader(strings.Repeat("x", 1000))))
	if res.StatusCode != 502 || len(h.told) != 1 || h.told[0].Repeatable {
		t.Errorf("%d, %+v", res.StatusCode, h.told)
	}
}

func TestAVisitIsToldWhatCameOfIt(t *testing.T) {
	h := &hosting{}
	w := hosted(t, h)
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, `{"code":"RATELIMITED"}`)
	})
	peeked := ""
	w2 := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.Policy = &looking{peeked: &peeked} }})
	w2.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, `{"code":"RATELIMITED"}`)
	})
	if res, body := w2.Get("/acme/x"); res.StatusCode != 400 || body != `{"code":"RATELIMITED"}` || peeked != body {
		t.Errorf("%d %s; it saw %s", res.StatusCode, body, peeked)
	}
	w.Get("/acme/x")
	if len(h.told) != 1 || h.told[0].Status != 400 || h.told[0].Fault != gateway.NoFault {
		t.Errorf("%+v", h.told)
	}
}

// looking peeks into answers.
type looking struct {
	hosting
	peeked *string
}

func (l *looking) Enter(context.Context, *gateway.Call) (gateway.Visit, error) { return l, nil }
func (l *looking) Answered(a gateway.Answer) (time.Duration, bool) {
	*l.peeked = string(a.Peek())
	return 0, false
}

// An answer that the policy has to look into must not come packed in a way we cannot open.
func TestWhatIsLookedIntoCanBeRead(t *testing.T) {
	h := &hosting{}
	w := hosted(t, h)
	for _, c := range []struct {
		signs []toolkit.Throttle
		want  string
	}{{nil, "br"}, {[]toolkit.Throttle{{Status: 403, Header: "X-Limited"}}, "br"}, {[]toolkit.Throttle{{Status: 400, Body: "RATELIMITED"}}, "identity"}} {
		w.Toolkits["acme"].Throttling.Signs = c.signs
		r := w.Request("GET", w.H1+"/acme/x", nil)
		r.Header.Set("Accept-Encoding", "br")
		w.Do(r)
		if got := w.Provider.Last(t).Header.Get("Accept-Encoding"); got != c.want {
			t.Errorf("%+v: %s, want %s", c.signs, got, c.want)
		}
	}
}

func TestWhoseDoingAFailureIs(t *testing.T) {
	h := &hosting{}
	w := hosted(t, h)
	w.Provider.Handle(func(http.ResponseWriter, *http.Request) { w.Provider.Break() })
	w.Get("/acme/x")
	dead := hosted(t, h)
	dead.Provider.Break()
	dead.Provider.Close()
	dead.Get("/acme/x")

	ctx, hangUp := context.WithCancel(t.Context())
	w.Provider.Handle(func(_ http.ResponseWriter, r *http.Request) { hangUp(); <-r.Context().Done() })
	if res, err := w.Client.Do(w.Request("GET", w.H1+"/acme/x", nil).WithContext(ctx)); err == nil {
		res.Body.Close()
		t.Error("there is an answer")
	}
	for w.Event().Status != 499 {
		continue
	}
	want := []gateway.Fault{gateway.BrokenFault, gateway.DialFault, gateway.OurFault}
	for i, a := range h.told {
		if a.Fault != want[i] {
			t.Errorf("%d: %v, want %v", i, a.Fault, want[i])
		}
	}
	if len(h.told) != 3 || h.left.Load() != 3 {
		t.Errorf("%d told, %d left", len(h.told), h.left.Load())
	}
}

// A visit is left also where the call is not made after all.
func TestAVisitIsLeftWhereTheCallCannotBeRecorded(t *testing.T) {
	h := &hosting{}
	w := hosted(t, h)
	w.Audit.Fail(io.ErrShortWrite)
	res, body := w.Get("/acme/x")
	refused(t, w, res, body, verdict{503, "audit_unavailable", "record", "audit"})
	if h.left.Load() != 1 || len(h.told) != 0 {
		t.Errorf("%d left, %d told", h.left.Load(), len(h.told))
	}
}

func (h *hosting) Reads(*gateway.Call) bool { return false }

func (l *looking) Reads(*gateway.Call) bool { return false }
