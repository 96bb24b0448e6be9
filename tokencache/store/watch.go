// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package store

import "context"

// Watcher is a Store that several gateways write to, and that tells each of what
// the others do. A store that belongs to one process has no need of it.
type Watcher interface {
	// Watch tells of changes until ctx ends or the store is closed, and returns
	// why it ended. Calls of tell come one after the other; each must be quick.
	// Nothing is certain before the first Listening. What the caller itself
	// writes is told too.
	Watch(ctx context.Context, tell func(News)) error
}

// News is what a Watcher tells.
type News struct {
	Kind NewsKind
	Key  string // of the record that has changed
	Err  error  // why the watcher is deaf
}

// NewsKind is a kind of news.
type NewsKind int

// The kinds of news.
const (
	// Changed: the record was written or deleted. Whoever reads it now sees that
	// write, or a later one. Records whose time passes are not told of.
	Changed NewsKind = iota + 1
	// Listening: every change from now on is told, and perhaps some from before,
	// which are late. What was read before may have changed without a word.
	Listening
	// Deaf: from now on, or from a little earlier, changes are not told.
	Deaf
)
