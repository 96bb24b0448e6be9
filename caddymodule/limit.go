// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/policy"
)

// Limit is how many calls may be made in a time. It is a bucket that holds `burst` calls
// and fills again at the rate of the limit. What is refused takes nothing from it.
type Limit struct {
	// Whom it is for, one for each: `agent`, `user`, `toolkit` or `connection`, or
	// several with `+` between them.
	By string `json:"by,omitempty"`

	// How many calls.
	Calls int `json:"calls,omitempty"`

	// In what time, from one second to 31 days.
	Per caddy.Duration `json:"per,omitempty"`

	// How many of them at once. Default: all.
	Burst int `json:"burst,omitempty"`
}

const limitUsage = "limit <by> <calls>/<duration> [burst <calls>], such as limit user 60/1m burst 10"

func limitOption(to *[]*Limit) option {
	return option{limitUsage, func(d *caddyfile.Dispenser) error {
		l, err := parseLimit(d.RemainingArgs())
		if err != nil {
			return err
		}
		*to = append(*to, l)
		if _, err := limits(*to); err != nil {
			return mistake{err}
		}
		return nil
	}}
}

func parseLimit(args []string) (*Limit, error) {
	if len(args) != 2 && (len(args) != 4 || args[2] != "burst") {
		return nil, errUsage
	}
	calls, per, ok := strings.Cut(args[1], "/")
	n, err := strconv.Atoi(calls)
	d, err2 := caddy.ParseDuration(per)
	if !ok || err != nil || err2 != nil {
		return nil, errUsage
	}
	l := &Limit{By: args[0], Calls: n, Per: caddy.Duration(d)}
	if len(args) == 4 {
		if l.Burst, err = strconv.Atoi(args[3]); err != nil || l.Burst < 1 {
			return nil, errUsage
		}
	}
	return l, nil
}

// limits are those of the policy.
func limits(written []*Limit) ([]policy.Limit, error) {
	var all []policy.Limit
	for _, l := range written {
		if l == nil {
			return nil, errors.New("a limit is missing")
		}
		by, err := policy.ParseBy(l.By)
		if err != nil {
			return nil, fmt.Errorf("limit %w", err)
		}
		all = append(all, policy.Limit{By: by, Count: l.Calls, Window: time.Duration(l.Per), Burst: l.Burst})
	}
	return all, policy.CheckLimits(all)
}
