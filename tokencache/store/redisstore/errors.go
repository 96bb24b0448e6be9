// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/toolgate/toolgate/tokencache/store"
)

var errClosed = fmt.Errorf("%w: it was closed", store.ErrUnavailable)

// hints say what an operator can do about an answer of Redis, by its first word.
var hints = map[string]string{
	"NOAUTH":      "it wants a password",
	"WRONGPASS":   "it does not know this username and password",
	"NOPERM":      "the user may not run a command, or touch the keys or the channel under key_prefix",
	"OOM":         "it is out of memory",
	"LOADING":     "it is starting",
	"READONLY":    "it is a replica",
	"MASTERDOWN":  "its master is away",
	"NOREPLICAS":  "it has too few replicas to write",
	"MISCONF":     "it cannot write to its disk",
	"CLUSTERDOWN": "the cluster is not whole",
	"MOVED":       "it is a node of a cluster; say cluster",
	"BUSY":        "a script keeps it busy",
	"WRONGTYPE":   "another program has its keys under key_prefix",
	"CROSSSLOT":   "it is a node of a cluster; say cluster",
}

var redisCode = regexp.MustCompile(`^[A-Z]+$`)

// told puts an error of the client's into the words of the contract. Of what Redis
// says only the first word is told: the rest may quote names of users.
func (s *Store) told(err error, limit time.Duration) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{store.ErrNotFound, store.ErrConflict, store.ErrHeld, store.ErrInvalid, store.ErrUnavailable} {
		if errors.Is(err, known) {
			return err
		}
	}
	var answer redis.Error
	switch {
	case errors.Is(err, redis.ErrClosed):
		return s.whyClosed()
	case errors.As(err, &answer):
		code, _, _ := strings.Cut(answer.Error(), " ")
		if !redisCode.MatchString(code) {
			code = "ERR"
		}
		if hint := hints[code]; hint != "" {
			return fmt.Errorf("%w: redis answers %s: %s", store.ErrUnavailable, code, hint)
		}
		return fmt.Errorf("%w: redis answers %s", store.ErrUnavailable, code)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		// Our own limit, not the caller's: theirs is looked at before.
		return fmt.Errorf("%w: no answer from redis within %v", store.ErrUnavailable, limit)
	}
	return fmt.Errorf("%w: redis: %w", store.ErrUnavailable, err)
}

// whyClosed tells a store that was closed from a client that was replaced.
func (s *Store) whyClosed() error {
	select {
	case <-s.closed:
		return errClosed
	default:
		return fmt.Errorf("%w: redis: the connection's settings have just changed", store.ErrUnavailable)
	}
}
