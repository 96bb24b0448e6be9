// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/store"
)

// News is what Watch tells, as in [store.News].
type News struct {
	Kind store.NewsKind
	Key  connection.Key // of the connection that has changed, or of the first one where the default has
	Err  error
}

// Shared reports whether other gateways may write to the store as well, so that
// there is something to watch.
func (v *Vault) Shared() bool {
	_, watches := v.store.(store.Watcher)
	return watches
}

// Watch tells of changes of connections and of which is the default, as [store.Watcher]
// does, and of those of no other record. Where the store is not shared, it returns at once.
func (v *Vault) Watch(ctx context.Context, tell func(News)) error {
	w, watches := v.store.(store.Watcher)
	if !watches {
		return nil
	}
	return w.Watch(ctx, func(n store.News) {
		if n.Kind != store.Changed {
			tell(News{Kind: n.Kind, Err: n.Err})
		} else if key, ok := connectionKey(n.Key); ok {
			tell(News{Kind: n.Kind, Key: key})
		} else if key, ok := defaultKey(n.Key); ok {
			tell(News{Kind: n.Kind, Key: key})
		}
	})
}
