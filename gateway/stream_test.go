// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/toolgate/toolgate/egress"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/gateway/streamtest"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

func TestStreaming(t *testing.T) {
	streamtest.Suite{Open: openLanes, Large: long(64<<20, 2<<30), Talk: long(4<<20, 100<<20)}.Run(t)
}

// long gives the larger figure where somebody has the time.
func long(short, large int64) int64 {
	if os.Getenv("TOOLGATE_LONG") != "" {
		return large
	}
	return short
}

// openLanes is one gateway behind a server for each protocol, with a toolkit for
// each lane.
func openLanes(t *testing.T, o streamtest.Options, lanes []*streamtest.Lane) {
	endpoints := map[string]gateway.Endpoint{}
	for _, l := range lanes {
		endpoints[l.Name()] = laneEndpoint(t, o, l)
	}
	w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) {
		maps.Copy(cfg.Toolkits, endpoints)
		cfg.Observe = nil // a world keeps its events until they are asked for
	}})
	fronts := map[gatewaytest.Protocol]streamtest.Front{}
	for _, p := range gatewaytest.Protocols {
		s := p.Serve(t, gatewaytest.OtherBody(impatient(w.Gateway, o.IdleTime)), func(s *http.Server) { s.IdleTimeout = o.IdleTime })
		fronts[p] = streamtest.Front{URL: s.URL, Certificate: s.Certificate()}
	}
	t.Cleanup(w.Gateway.Close) // before the fronts are closed
	for _, l := range lanes {
		w.Credentials.Connect("ada", endpoints[l.Name()].Toolkit, gatewaytest.UserToken)
		l.Front = fronts[l.Caller]
		l.Front.URL += "/" + l.Name()
		l.Front.Header = http.Header{"X-Toolgate-Key": {gatewaytest.AgentKey}, "X-User-Id": {"ada"}}
	}
}

// impatient gives an upload up that does not get on, as Caddy does.
func impatient(h http.Handler, d time.Duration) http.Handler {
	if d == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = idleBody{r.Body, http.NewResponseController(w), d}
		h.ServeHTTP(w, r)
	})
}

type idleBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	limit time.Duration
}

func (b idleBody) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(time.Now().Add(b.limit))
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.rc.SetReadDeadline(time.Time{}) // else it would end the answer
	}
	return n, err
}

func laneEndpoint(t *testing.T, o streamtest.Options, l *streamtest.Lane) gateway.Endpoint {
	t.Helper()
	tk, err := toolkit.Definition{
		ID: l.Name(), Name: "Acme", BaseURL: l.API, Auth: toolkit.AuthDefinition{Kind: toolkit.OAuth},
		OAuth: toolkit.OAuthDefinition{AuthorizeURL: l.API + "/a", TokenURL: l.API + "/t", ClientID: "x", ClientSecret: secret.New("marker-client-secret")},
	}.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	out := l.Upstream.Transport(t, l.Certificate)
	out.ResponseHeaderTimeout, out.TLSHandshakeTimeout, out.IdleConnTimeout = o.HeaderTime, o.HandshakeTime, o.IdleTime
	return gateway.Endpoint{Toolkit: tk, Upstream: egress.Apart(out)}
}

// The suite has how a stream that is cut looks from outside; the event tells the operator.

func TestTheEventSaysThatTheAgentHungUp(t *testing.T) {
	for _, begun := range []bool{false, true} {
		everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
			called := gatewaytest.NewGate(t)
			w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
				if begun {
					rw.(http.Flusher).Flush()
				}
				called.Open()
				<-r.Context().Done()
			})
			r := w.Request("GET", address+"/acme/x", nil)
			ctx, hangUp := context.WithCancel(r.Context())
			defer hangUp()
			if !begun {
				go func() { called.Wait(); hangUp() }()
			}
			if res, err := w.Client.Do(r.WithContext(ctx)); err == nil {
				hangUp()
				res.Body.Close()
			}
			want := map[bool]int{false: 499, true: 200}[begun]
			if e := w.Event(); e.Status != want || e.Err == nil || e.Code != "" {
				t.Errorf("event %+v", e)
			}
		})
	}
}

func TestTheEventSaysThatTheAnswerBrokeOff(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			rw.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		res, err := w.Client.Do(w.Request("GET", address+"/acme/x", nil))
		if err != nil {
			t.Fatalf("not even a header came: %v", err)
		}
		res.Body.Close()
		if e := w.Event(); e.Err == nil || e.Status != 200 {
			t.Errorf("event %+v", e)
		}
	})
}
