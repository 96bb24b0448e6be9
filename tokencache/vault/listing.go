// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"fmt"

	"github.com/toolgate/toolgate/connection"
)

// OfToolkit reads up to limit connections to a toolkit, in the order of their names,
// beginning behind next, which is "" at the start and comes back as "" at the end. A
// record that cannot be opened or read is left out: it is named when it is used.
func (v *Vault) OfToolkit(ctx context.Context, toolkit, next string, limit int) (found []connection.Connection, after string, err error) {
	records, err := v.store.List(ctx, Name("toolkit", toolkit), next, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing the %s connections: %w", toolkit, err)
	}
	for _, r := range records {
		key, ok := connectionKey(r.Key)
		if !ok {
			continue
		}
		// Under its own name: whoever can write to the store cannot have another
		// one's record taken for it.
		plain, err := v.ring.Open(r.Value, r.Key)
		if err != nil {
			continue
		}
		if c, err := decode(key, Document{Name: r.Key, Plain: plain, Version: r.Version}); err == nil {
			found = append(found, c)
		}
	}
	if len(records) == limit {
		after = records[len(records)-1].Key
	}
	return found, after, nil
}

// ConnectionPrefix begins the names of the records of connections.
const ConnectionPrefix = "connection/"

// ConnectionKey is the key of the connection that a record of that name holds.
func ConnectionKey(name string) (connection.Key, bool) { return connectionKey(name) }
