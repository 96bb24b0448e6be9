// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/policy"
)

// Concurrency is how many calls may be under way at once, from their sending to the end of
// their answers. The next ones wait in a short queue.
type Concurrency struct {
	// Whom it is for, one for each: `agent`, `user`, `toolkit` or `connection`, or
	// several with `+` between them.
	By string `json:"by,omitempty"`

	// How many calls.
	Calls int `json:"calls,omitempty"`

	// How many more may wait; -1: none. Default: as many as may be under way.
	Queue int `json:"queue,omitempty"`

	// How long each of them waits, a minute at most. Default: 2 seconds.
	Wait caddy.Duration `json:"wait,omitempty"`
}

const concurrencyUsage = "concurrency <by> <calls> [queue <calls> [<duration>]], such as concurrency user 5 queue 5 2s"

// queueWait is short: an agent that waits holds a connection, and may have given up.
const queueWait = 2 * time.Second

func (t *Toolkit) parseConcurrency(d *caddyfile.Dispenser) (err error) {
	args := d.RemainingArgs()
	if len(args) != 2 && (len(args) != 4 && len(args) != 5 || args[2] != "queue") {
		return errUsage
	}
	c := &Concurrency{By: args[0]}
	if c.Calls, err = strconv.Atoi(args[1]); err != nil {
		return errUsage
	}
	if len(args) > 2 {
		if c.Queue, err = strconv.Atoi(args[3]); err != nil || c.Queue < 0 {
			return errUsage
		}
		if c.Queue == 0 {
			c.Queue = -1
		}
	}
	if len(args) == 5 {
		wait, err := caddy.ParseDuration(args[4])
		if err != nil || wait <= 0 {
			return errUsage
		}
		c.Wait = caddy.Duration(wait)
	}
	t.Concurrency = append(t.Concurrency, c)
	if _, err := concurrency(t.Concurrency); err != nil {
		return mistake{err}
	}
	return nil
}

// concurrency are the caps of the policy.
func concurrency(written []*Concurrency) ([]policy.Concurrency, error) {
	var all []policy.Concurrency
	for _, c := range written {
		if c == nil {
			return nil, errors.New("a concurrency is missing")
		}
		by, err := policy.ParseBy(c.By)
		if err != nil {
			return nil, fmt.Errorf("concurrency %w", err)
		}
		made := policy.Concurrency{By: by, Calls: c.Calls, Queue: c.Queue, Wait: time.Duration(c.Wait)}
		switch c.Queue {
		case -1:
			made.Queue = 0
		case 0:
			made.Queue = c.Calls
		}
		if made.Wait == 0 {
			made.Wait = queueWait
		}
		all = append(all, made)
	}
	return all, policy.CheckConcurrency(all)
}
