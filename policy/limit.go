// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
)

// By is whom a limit is for, one for each; several at once are for each combination.
type By uint8

// The parts of By. Tenants never share a limit.
const (
	ByAgent By = 1 << iota
	ByUser
	ByToolkit
	ByConnection // an account of a user's, or the operator's key, which is one for all
)

var byNames = []struct {
	by   By
	name string
}{{ByAgent, "agent"}, {ByUser, "user"}, {ByToolkit, "toolkit"}, {ByConnection, "connection"}}

func (b By) String() string {
	var names []string
	for _, n := range byNames {
		if b&n.by != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, "+")
}

// Limit is so many calls in a time: a bucket that holds Burst, and that Count in each
// Window fill again.
type Limit struct {
	By     By
	Count  int
	Window time.Duration
	Burst  int // 0: Count
}

// String is the limit as it is written.
func (l Limit) String() string {
	text := "limit " + l.By.String() + " " + strconv.Itoa(l.Count) + "/" + shortDuration(l.Window)
	if l.Burst != 0 {
		text += " burst " + strconv.Itoa(l.Burst)
	}
	return text
}

// shortDuration writes 1m for time's 1m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-2]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-2]
	}
	return text
}

func (l Limit) burst() int {
	if l.Burst != 0 {
		return l.Burst
	}
	return l.Count
}

func (l Limit) rate() rate.Limit { return rate.Limit(float64(l.Count) / l.Window.Seconds()) }

const maxCount = 1 << 30

// ParseBy reads "agent+toolkit".
func ParseBy(text string) (by By, err error) {
	for name := range strings.SplitSeq(text, "+") {
		i := slices.Index([]string{"agent", "user", "toolkit", "connection"}, name)
		if i < 0 {
			return 0, fmt.Errorf("%q: a limit is for each agent, user, toolkit or connection, or for several with + between them", text)
		}
		if by&byNames[i].by != 0 {
			return 0, fmt.Errorf("%q names %s twice", text, name)
		}
		by |= byNames[i].by
	}
	return by, nil
}

func (l Limit) check() error {
	switch {
	case l.By == 0:
		return errors.New("a limit is for each agent, user, toolkit or connection")
	case l.Count < 1 || l.Count > maxCount || l.Burst < 0 || l.Burst > maxCount:
		return fmt.Errorf("%s: 1 to %d calls, please", l, maxCount)
	case l.Window < time.Second || l.Window > 31*24*time.Hour:
		return fmt.Errorf("%s: a time of one second to 31 days, please", l)
	}
	return nil
}

// meter is a limit at its place, with what was used of it.
type meter struct {
	Limit
	id    string // place, By and Window: another Count is the same limit, changed
	table *table
}

// place is where limits are written: everywhere, for a toolkit, or for an agent.
func meters(place string, limits []Limit) ([]meter, error) {
	all := make([]meter, 0, len(limits))
	for _, l := range limits {
		if err := l.check(); err != nil {
			return nil, err
		}
		id := place + "|" + l.By.String() + "|" + l.Window.String()
		if slices.ContainsFunc(all, func(m meter) bool { return m.id == id }) {
			return nil, fmt.Errorf("limit %s: there is another one per %s here already", l.By, shortDuration(l.Window))
		}
		all = append(all, meter{Limit: l, id: id})
	}
	// Tables are locked in this order: two configurations that are both at work, while
	// one takes over, have to agree on it.
	slices.SortFunc(all, func(a, b meter) int { return strings.Compare(a.id, b.id) })
	return all, nil
}

// key is whom a bucket is for. What the limit is not by is empty.
type key struct{ tenant, agent, user, toolkit, account string }

func (l Limit) key(c *gateway.Call) (k key) {
	if l.By&ByConnection != 0 {
		if !c.Toolkit.Auth.PerUser {
			k.toolkit = c.Toolkit.ID // one key of the operator's for all tenants
		} else {
			k = key{tenant: c.Connection.Tenant, user: c.Connection.User, toolkit: c.Connection.Toolkit, account: c.Connection.Account}
		}
		if l.By == ByConnection {
			return k
		}
	}
	k.tenant = c.Caller.Tenant
	if l.By&ByAgent != 0 {
		k.agent = c.Caller.Agent
	}
	if l.By&ByUser != 0 {
		k.user = c.Caller.User
	}
	if l.By&ByToolkit != 0 {
		k.toolkit = c.Toolkit.ID
	}
	return k
}

// exhausted is the refusal where a limit has nothing left.
func (m *meter) exhausted(wait time.Duration) *problem.Problem {
	p := problem.New(problem.RateLimited, m.String(), "Too many calls: the gateway allows "+strconv.Itoa(m.Count)+" in "+shortDuration(m.Window)+" per "+strings.ReplaceAll(m.By.String(), "+", " and ")+". Wait before you call again.")
	p.RetryAfter = wait
	seconds := strconv.Itoa(int((wait + time.Second - 1) / time.Second))
	name := `"` + m.By.String() + `"`
	p.RateLimit = name + ";r=0;t=" + seconds
	p.RateLimitPolicy = name + ";q=" + strconv.Itoa(m.Count) + ";w=" + strconv.Itoa(int(m.Window/time.Second))
	return p
}

// CheckLimits tells what is wrong with limits that stand in one place.
func CheckLimits(limits []Limit) error {
	_, err := meters("", limits)
	return err
}
