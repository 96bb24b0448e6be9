// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// client is an agent with one kept connection, which makes call after call.
type client struct {
	*world
	http    http.Client
	origin  string
	method  string
	done    atomic.Int64
	retried int // calls that net/http made a second time by itself
}

// TestCallsThatMayBeMadeTwiceSucceedOverReloads is for what clients may send twice, GET
// or with an Idempotency-Key. When a reload closes their connection in the moment in
// which they use it, they dial again without telling anybody.
//
// On a connection that is fresh they do not, and there nothing may be lost: neither what
// waits in the socket's queue, nor what the old server has taken and not read.
func TestCallsThatMayBeMadeTwiceSucceedOverReloads(t *testing.T) {
	reloads := long(20)
	w := newWorld(t)
	w.extra = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(rw, "%s of %d bytes", r.Method, n)
	})
	trusted := x509.NewCertPool()
	trusted.AddCert(writeCertificate(t, w.dir))
	secure := freeAddress(t)
	configure := func(life int) {
		w.load(w.caddyfile("", fmt.Sprintf("link_life %dm", life), "") +
			fmt.Sprintf("https://%s {\n bind 127.0.0.1\n tls %[2]s/cert.pem %[2]s/key.pem\n toolgate\n}\n", secure, w.dir))
	}
	configure(4)
	w.connect()
	var clients []*client
	for range 2 {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for _, http2 := range []bool{false, true} {
				tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, ForceAttemptHTTP2: http2}
				clients = append(clients, &client{world: w, method: method, origin: "https://" + secure, http: http.Client{Transport: tr}})
			}
			clients = append(clients, &client{world: w, method: method, origin: w.public(), http: http.Client{Transport: new(http.Transport)}})
		}
	}
	over := make(chan struct{})
	var all sync.WaitGroup
	stop := sync.OnceFunc(func() { close(over); all.Wait() })
	defer stop()
	for _, c := range clients {
		all.Go(func() { c.work(over) })
	}
	for i := range reloads {
		configure(i%50 + 5)
		next := make([]int64, len(clients)) // so that each has a kept connection again
		for i, c := range clients {
			next[i] = c.done.Load() + 3
		}
		for i, c := range clients {
			eventually(t, "every client goes on", func() bool { return c.done.Load() >= next[i] })
		}
	}
	stop()
	made, retried := int64(0), 0
	for _, c := range clients {
		made, retried = made+c.done.Load(), retried+c.retried
	}
	t.Logf("%d calls over %d reloads: net/http made %d of them a second time", made, reloads, retried)
}

func (c *client) work(over chan struct{}) {
	defer c.http.CloseIdleConnections()
	for {
		select {
		case <-over:
			return
		default:
			c.call()
		}
	}
}

func (c *client) call() {
	path := fmt.Sprintf("/extra/kept/%d", asked.Add(1))
	if err := c.attempt(path); err != nil {
		c.t.Errorf("%s %s, on its way: %v, failed: %v", c.method, path, c.hasRecorded(path), err)
	}
	c.done.Add(1)
}

func (c *client) attempt(path string) error {
	body, want := "", "GET of 0 bytes"
	if c.method == http.MethodPost {
		body, want = strings.Repeat("x", 1000), "POST of 1000 bytes"
	}
	connections := 0
	ctx := httptrace.WithClientTrace(c.t.Context(), &httptrace.ClientTrace{GetConn: func(string) { connections++ }})
	r, err := http.NewRequestWithContext(ctx, c.method, c.origin+"/acme"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-User-Id", "alice")
	r.Header.Set("Idempotency-Key", path)
	res, err := c.http.Do(r)
	if connections > 1 {
		c.retried++
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || string(got) != want) {
		err = fmt.Errorf("%d %s", res.StatusCode, got)
	}
	return err
}
