// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// bound is on what people can make us write who have shown nothing yet: a way to sign
// in and back is a record, and a script could begin one after the other. It counts for
// as long as such a record lives. What one address takes up is bounded too, so that one
// alone cannot keep everybody out.
type bound struct {
	mu    sync.Mutex
	since time.Time
	all   int
	of    map[string]int // never more than all
}

const (
	tripsOfAll = 20_000
	// tripsOfOne is generous: behind a proxy that Caddy was not told of, everybody has
	// the proxy's address.
	tripsOfOne = 1_000
)

func (b *bound) admits(who string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of == nil || now.Sub(b.since) >= flowLife || now.Before(b.since) {
		b.since, b.all, b.of = now, 0, map[string]int{}
	}
	if b.all >= tripsOfAll || b.of[who] >= tripsOfOne {
		return false
	}
	b.all++
	b.of[who]++
	return true
}

// clientOf is the address that a request comes from, or the network of it where one
// customer has a whole one (RFC 6177).
func (s *Service) clientOf(r *http.Request) string {
	address := r.RemoteAddr
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	if s.cfg.Client != nil {
		if said := s.cfg.Client(r); said != "" {
			address = said
		}
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		if network, err := ip.Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}
