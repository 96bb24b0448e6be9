// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
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
	if meansSomething(err) {
		return err
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
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), timedOut(err):
		// Our own limit, not the caller's: theirs is looked at before.
		return fmt.Errorf("%w: no answer from redis within %v", store.ErrUnavailable, limit)
	}
	return fmt.Errorf("%w: redis: %w", store.ErrUnavailable, err)
}

// meansSomething reports whether err is in the words of the contract already.
func meansSomething(err error) bool {
	for _, known := range []error{store.ErrNotFound, store.ErrConflict, store.ErrHeld, store.ErrInvalid, store.ErrUnavailable} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// passing reports whether it is worth while to try again at once: a connection broke,
// or a server is changing its part.
func passing(err error) bool {
	if err == nil || meansSomething(err) || errors.Is(err, store.ErrDamaged) {
		return false
	}
	if answer, ok := errors.AsType[redis.Error](err); ok {
		code, _, _ := strings.Cut(answer.Error(), " ")
		return slices.Contains([]string{"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"}, code)
	}
	return !timedOut(err) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled)
}

func timedOut(err error) bool {
	slow, ok := errors.AsType[net.Error](err)
	return ok && slow.Timeout()
}

// unsure reports whether a command that failed with err may have been done.
func unsure(err error) bool {
	if err == nil || meansSomething(err) {
		return false
	}
	_, answered := errors.AsType[redis.Error](err)
	op, dialed := errors.AsType[*net.OpError](err)
	return !answered && !(dialed && op.Op == "dial")
}

// whyClosed tells a store that was closed from a client that was replaced.
func (s *Store) whyClosed() error {
	select {
	case <-s.life.Done():
		return errClosed
	default:
		return fmt.Errorf("%w: redis: the connection's settings have just changed", store.ErrUnavailable)
	}
}
