// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/toolkit"
)

// Cooldown is what is done where the provider asks for a pause, by 429 or in another way.
type Cooldown struct {
	// Nothing is learned, and every call goes to the provider.
	Off bool `json:"off,omitempty"`

	// Calls are held rather than refused where the pause is no longer than this, up to
	// 30 seconds. Default: none is held.
	WaitUpTo caddy.Duration `json:"wait_up_to,omitempty"`

	// How else than by 429 the provider says it. Default: the catalogue's.
	When []*Throttle `json:"when,omitempty"`

	// The provider has a limit for all of your users together. Where two of them have
	// met one at the same time, all wait, for 15 minutes at most.
	Shared bool `json:"shared,omitempty"`

	// The provider has a limit for each path, such as Slack's methods.
	PerPath bool `json:"per_path,omitempty"`
}

// Throttle is an answer that means: not so fast.
type Throttle struct {
	// Its status, from 400 on.
	Status int `json:"status,omitempty"`

	// A header that it has.
	Header string `json:"header,omitempty"`

	// What that header says then. Default: anything.
	Value string `json:"value,omitempty"`

	// A text that its JSON body has, of which up to 16 KiB are looked through.
	Body string `json:"body,omitempty"`

	// The header that says when the pause is over. `Retry-After` comes before it.
	Reset string `json:"reset,omitempty"`

	// How that is written: `epoch` (seconds since 1970), `epoch_ms` or `seconds` (from
	// now). Default: `epoch`.
	Unit string `json:"unit,omitempty"`

	// How long the pause is where the answer does not say. Default: one second.
	Pause caddy.Duration `json:"pause,omitempty"`
}

const maxHold = 30 * time.Second

func (c *Cooldown) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		if d.Val() != "off" || d.NextArg() {
			return errUsage
		}
		c.Off = true
		return nil
	}
	return parseBlock(d, "cooldown", options{
		"wait_up_to": {"wait_up_to <duration>, up to 30s", func(d *caddyfile.Dispenser) error {
			if err := duration(&c.WaitUpTo)(d); err != nil || time.Duration(c.WaitUpTo) > maxHold {
				return errUsage
			}
			return nil
		}},
		"when*":    {"when <status> [header <name> [<value>]] [body <text>] [reset <header> epoch|epoch_ms|seconds] [pause <duration>]", c.parseWhen},
		"shared":   {"shared", flag(&c.Shared)},
		"per_path": {"per_path", flag(&c.PerPath)},
	})
}

func (c *Cooldown) parseWhen(d *caddyfile.Dispenser) (err error) {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return errUsage
	}
	w := new(Throttle)
	if w.Status, err = strconv.Atoi(args[0]); err != nil {
		return errUsage
	}
	words := []string{"header", "body", "reset", "pause"}
	for args = args[1:]; len(args) > 0; {
		end := 1 + slices.IndexFunc(args[1:], func(a string) bool { return slices.Contains(words, a) })
		if end == 0 {
			end = len(args)
		}
		if err := w.set(args[0], args[1:end]); err != nil {
			return err
		}
		args = args[end:]
	}
	c.When = append(c.When, w)
	return nil
}

func (w *Throttle) set(name string, values []string) error {
	switch {
	case name == "header" && len(values) == 1 && w.Header == "":
		w.Header = values[0]
	case name == "header" && len(values) == 2 && w.Header == "":
		w.Header, w.Value = values[0], values[1]
	case name == "body" && len(values) == 1 && w.Body == "":
		w.Body = values[0]
	case name == "reset" && len(values) == 2 && w.Reset == "":
		w.Reset, w.Unit = values[0], values[1]
	case name == "pause" && len(values) == 1 && w.Pause == 0:
		pause, err := caddy.ParseDuration(values[0])
		if err != nil || pause < time.Second || pause > time.Hour {
			return errUsage
		}
		w.Pause = caddy.Duration(pause)
	default:
		return errUsage
	}
	return nil
}

// check is for configurations in JSON, whose durations nobody has parsed.
func (c *Cooldown) check() error {
	if c != nil && (c.WaitUpTo < 0 || time.Duration(c.WaitUpTo) > maxHold) {
		return errors.New("cooldown: wait_up_to has 30 seconds at most")
	}
	return nil
}

func (c *Cooldown) throttling() (t toolkit.Throttling) {
	if c == nil {
		return t
	}
	t.Shared, t.PerPath = c.Shared, c.PerPath
	for _, w := range c.When {
		if w == nil {
			continue
		}
		t.Signs = append(t.Signs, toolkit.Throttle{
			Status: w.Status, Header: w.Header, Value: w.Value, Body: w.Body, Reset: w.Reset,
			Unit: toolkit.ResetUnit(w.Unit), PauseSeconds: int(time.Duration(w.Pause) / time.Second),
		})
	}
	return t
}
