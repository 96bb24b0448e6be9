// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package streamtest holds everything that streams, from callers over HTTP/1.1,
// HTTP/2 and h2c to providers over the same. The gateway runs it on plain net/http,
// and Caddy with its own servers and transports. What one pair of protocols cannot
// do is said where it is left out.
package streamtest

import (
	"crypto/x509"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// Suite is the suite for one implementation.
type Suite struct {
	// Open puts a gateway between the lanes' callers and providers, and fills in
	// each lane's Front. It is called once for every promise, and what it makes
	// ends with that test.
	Open func(t *testing.T, o Options, lanes []*Lane)

	// Large is the size of a body that must never be in memory, and Talk of what
	// goes through a WebSocket.
	Large, Talk int64
}

// Options are what a promise wants to be otherwise. Zero is no limit that a test meets.
type Options struct {
	// HeaderTime is how long to wait for the header of a provider's answer, and
	// HandshakeTime for TLS with it.
	HeaderTime, HandshakeTime time.Duration

	// IdleTime ends what idles, wherever there is such a limit: connections on
	// either side, and reads and writes of bodies that do not get on.
	IdleTime time.Duration
}

// Lane is one way through a gateway: from callers over one protocol to a provider
// over another.
type Lane struct {
	Caller, Upstream gatewaytest.Protocol

	// API is where the toolkit's paths begin at the provider, and Certificate the
	// provider's, where it has one.
	API         string
	Certificate *x509.Certificate

	// Front is for Open to fill in.
	Front Front

	suite    Suite
	provider *gatewaytest.Provider
	client   *http.Client
}

// Name tells the lane from others; it is good for a toolkit's id.
func (l *Lane) Name() string { return string(l.Caller) + "-to-" + string(l.Upstream) }

// Front is where callers reach a lane's toolkit. The user of its calls is connected,
// and a token that is refused can be renewed.
type Front struct {
	URL         string            // such as "http://127.0.0.1:8080/acme"
	Certificate *x509.Certificate // of the server, where it has one
	Header      http.Header       // of every call
}

// promise is one thing that holds on every lane.
type promise struct {
	words   string
	check   func(*testing.T, *Lane)
	options Options
	// address is of another provider than the lane's own.
	address func(*testing.T) string
	// inTurn: one lane after the other, because there is one heap.
	inTurn bool
}

// Run runs the suite: a subtest for each promise, and in it one for each lane.
func (s Suite) Run(t *testing.T) {
	for _, p := range slices.Concat(flowing, heading, ending, stalling, renewing, upgrading, weighing) {
		t.Run(p.words, func(t *testing.T) {
			lanes := s.lanes(t, p)
			for _, l := range lanes {
				t.Run(l.Name(), func(t *testing.T) {
					if !p.inTurn {
						t.Parallel()
					}
					p.check(t, l)
				})
			}
		})
	}
}

// lanes are one for each pair of protocols, each with a provider of its own.
func (s Suite) lanes(t *testing.T, p promise) []*Lane {
	t.Helper()
	var all []*Lane
	for _, caller := range gatewaytest.Protocols {
		for _, upstream := range gatewaytest.Protocols {
			l := &Lane{Caller: caller, Upstream: upstream, suite: s, provider: new(gatewaytest.Provider)}
			behind := upstream.Serve(t, l.provider)
			l.API, l.Certificate = behind.URL+"/api", behind.Certificate()
			if p.address != nil {
				l.API = map[bool]string{true: "https://", false: "http://"}[l.Certificate != nil] + p.address(t) + "/api"
			}
			all = append(all, l)
		}
	}
	s.Open(t, p.options, all)
	for _, l := range all {
		l.client = &http.Client{Transport: l.Caller.Transport(t, l.Front.Certificate)}
	}
	return all
}
