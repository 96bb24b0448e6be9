// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// slowAgent takes an interim answer only when it is let.
type slowAgent struct {
	http.ResponseWriter
	reads chan struct{}
	codes []int
}

func (a *slowAgent) WriteHeader(code int) {
	if code < 200 {
		<-a.reads
	}
	a.codes = append(a.codes, code)
}

// Over HTTP/2, interim answers come on the goroutine that reads for all calls on the
// connection.
func TestAnAgentThatDoesNotReadItsEarlyHintsStopsNobodyElse(t *testing.T) {
	for _, c := range []struct {
		name     string
		hints    int
		failure  error
		min, max int // that the agent gets
		last     int
	}{
		{"then an answer", 1, nil, 1, 1, 200},
		{"then a failure", 1, errors.New("cut"), 1, 1, 502},
		{"more than wait", 50, nil, 4, 5, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			read := 0 // by the transport
			w := gatewaytest.New(t, reaching(seeing(func(r *http.Request) (*http.Response, error) {
				trace := httptrace.ContextClientTrace(r.Context())
				for ; read < c.hints; read++ {
					if err := trace.Got1xxResponse(http.StatusEarlyHints, textproto.MIMEHeader{"Link": {"</a>; rel=preload"}}); err != nil {
						t.Error(err)
					}
				}
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, c.failure
			})))
			r := w.Request("GET", "/acme/x", nil)
			synctest.Test(t, func(t *testing.T) {
				agent := &slowAgent{ResponseWriter: httptest.NewRecorder(), reads: make(chan struct{})}
				answered := make(chan struct{})
				go func() { w.Gateway.ServeHTTP(agent, r); close(answered) }()
				synctest.Wait()
				if read != c.hints || len(agent.codes) != 0 {
					t.Errorf("before the agent reads, the transport has read %d of %d, and %v is written", read, c.hints, agent.codes)
				}
				close(agent.reads)
				<-answered
				last := len(agent.codes) - 1
				if last < c.min || last > c.max || agent.codes[last] != c.last || slices.Contains(agent.codes[:last], c.last) {
					t.Errorf("written: %v", agent.codes)
				}
			})
		})
	}
}
