// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"sync"

	"github.com/toolgate/toolgate/connection"
)

// news tells who waits for a user that something of theirs has changed. It outlives changes
// of the configuration: a link may be used under a later one than that of the call that
// waits.
type news struct {
	mu      sync.Mutex
	waiting map[person]map[chan struct{}]bool
}

type person struct{ tenant, user string }

// Watch implements chat.Changes.
func (n *news) Watch(tenant, user string) (<-chan struct{}, func()) {
	who, changed := person{tenant, user}, make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		n.waiting = map[person]map[chan struct{}]bool{}
	}
	if n.waiting[who] == nil {
		n.waiting[who] = map[chan struct{}]bool{}
	}
	n.waiting[who][changed] = true
	return changed, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if delete(n.waiting[who], changed); len(n.waiting[who]) == 0 {
			delete(n.waiting, who)
		}
	}
}

// tell waits for nobody: of several changes that nobody has looked at yet, one is told.
func (n *news) tell(key connection.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for changed := range n.waiting[person{key.Tenant, key.User}] {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}
