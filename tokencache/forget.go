// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import "github.com/toolgate/toolgate/connection"

// Forget drops a connection that has been taken out of the store, so that the next call
// does not use it. Other gateways hear of it from the store.
func (c *Cache) Forget(key connection.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
	c.dropRosterLocked(key)
}
