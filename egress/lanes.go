// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"container/list"
	"net/http"
	"sync"
)

// lanes are the idle connections of owners, to hosts that speak HTTP/1. In one pool they
// would be of little use: net/http gives the latest idle connection to whoever comes, and
// where that is another owner it is lost. So each of the latest owners has a small pool.
// What speaks HTTP/2, and the calls that have no owner, go by one transport for all.
type lanes struct {
	shared *http.Transport

	mu     sync.Mutex
	http1  map[string]bool          // hosts, as in URLs
	owners map[string]*list.Element // of order
	order  list.List                // of *lane, the one used last in front
}

type lane struct {
	*http.Transport
	owner string
}

const (
	maxLanes    = 1024
	laneIdle    = 4 // connections that one owner keeps for a host
	maxLaneHost = 64
)

// way is the transport for a call.
func (l *lanes) way(owner, host string) *http.Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A limit of the operator's is for all connections, so there all have to be in one.
	if owner == "" || !l.http1[host] || l.shared.MaxConnsPerHost > 0 || l.shared.MaxIdleConns > 0 {
		return l.shared
	}
	if at := l.owners[owner]; at != nil {
		l.order.MoveToFront(at)
		return at.Value.(*lane).Transport
	}
	if l.order.Len() >= maxLanes {
		l.dropOldestLocked()
	}
	fresh := &lane{l.shared.Clone(), owner}
	fresh.MaxIdleConnsPerHost = min(laneIdle, fresh.MaxIdleConnsPerHost)
	l.owners[owner] = l.order.PushFront(fresh)
	return fresh.Transport
}

// dropOldestLocked forgets the owner who has called least lately. What is under way goes on.
func (l *lanes) dropOldestLocked() {
	oldest := l.order.Remove(l.order.Back()).(*lane)
	oldest.CloseIdleConnections()
	delete(l.owners, oldest.owner)
}

// spoke notes what a host speaks.
func (l *lanes) spoke(host string, http1 bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !http1 {
		delete(l.http1, host)
	} else if len(l.http1) < maxLaneHost {
		l.http1[host] = true
	}
}

func (l *lanes) closeIdle() {
	l.shared.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.owners {
		at.Value.(*lane).CloseIdleConnections()
	}
}
