// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/toolkit"
)

// Rules say which calls may be made, by method and path: `GET,HEAD /repos/*`, or `* *`
// for all. In a path, `{id}` is one segment, `*` any part of one or, at the end, all that
// follows, and `**` any number of segments. GET stands for HEAD too.
type Rules struct {
	// Calls that may be made.
	Allow []string `json:"allow,omitempty"`

	// Calls that may not be made, whatever is allowed besides.
	Deny []string `json:"deny,omitempty"`

	// What happens to calls that no rule speaks of: `allow` or `deny`. Default: `deny`
	// where there is an `allow`, else `allow`.
	Default string `json:"default,omitempty"`

	// Only calls that are known to change nothing may be made. The toolkit has to say
	// which ones those are.
	ReadOnly bool `json:"read_only,omitempty"`
}

func (r *Rules) options() options {
	return options{
		"allow*":    {"allow <method>[,<method>...] <path>, such as allow GET /repos/*", rule(&r.Allow)},
		"deny*":     {"deny <method>[,<method>...] <path>, such as deny DELETE *", rule(&r.Deny)},
		"default":   {"default allow or default deny", oneOf(&r.Default, "allow", "deny")},
		"read_only": {"read_only", flag(&r.ReadOnly)},
	}
}

// rule reads one rule, and judges it where it is written.
func rule(to *[]string) parser {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) != 2 {
			return errUsage
		}
		if _, err := policy.ParseRule(true, args[0], args[1]); err != nil {
			return mistake{err}
		}
		*to = append(*to, args[0]+" "+args[1])
		return nil
	}
}

// rules are those of the policy; nil has none.
func (r *Rules) rules() (all policy.Rules, err error) {
	if r == nil {
		return all, nil
	}
	all.Default, all.ReadOnly = r.Default, r.ReadOnly
	for _, texts := range []struct {
		list  []string
		allow bool
	}{{r.Allow, true}, {r.Deny, false}} {
		for _, text := range texts.list {
			methods, path, _ := strings.Cut(text, " ")
			rule, err := policy.ParseRule(texts.allow, methods, path)
			if err != nil {
				return all, fmt.Errorf("%q: %w", text, err)
			}
			all.Rules = append(all.Rules, rule)
		}
	}
	return all, nil
}

// inRules reads an option of the block rules where it stands in the toolkit itself.
func (t *Toolkit) inRules(name string) option {
	read := func(r *Rules) parser { return r.options()[name].parse }
	return option{new(Rules).options()[name].usage, into(&t.Rules, read)}
}

func (g *Agent) parseRules(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 {
		return errUsage
	}
	if g.Rules[args[0]] != nil {
		return mistake{fmt.Errorf("the rules for %s are there already", args[0])}
	}
	if g.Rules == nil {
		g.Rules = map[string]*Rules{}
	}
	g.Rules[args[0]] = new(Rules)
	return parseBlock(d, "rules "+args[0], g.Rules[args[0]].options())
}

// scopes reads `reads GET HEAD`, or a method and a path.
func scopes(to *[]string) parser {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		switch {
		case len(args) == 0:
			return errUsage
		case len(args) == 2 && (args[1] == "*" || strings.HasPrefix(args[1], "/")):
			return addScope(to, args[0]+" "+args[1])
		}
		for _, method := range args {
			if err := addScope(to, method); err != nil {
				return err
			}
		}
		return nil
	}
}

func addScope(to *[]string, text string) error {
	if err := policy.CheckReading(reading([]string{text}, nil, nil)); err != nil {
		return mistake{err}
	}
	*to = append(*to, text)
	return nil
}

// reading tells methods from paths.
func reading(reads, writes, graphql []string) toolkit.Reading {
	r := toolkit.Reading{Writes: writes, GraphQL: graphql}
	for _, text := range reads {
		if strings.Contains(text, " ") {
			r.Reads = append(r.Reads, text)
		} else {
			r.Methods = append(r.Methods, text)
		}
	}
	return r
}

// provisionPolicy reads what decides whether a call may be made.
func (a *App) provisionPolicy() (err error) {
	cfg := policy.Config{Toolkits: map[string]policy.Toolkit{}, Agents: map[string]policy.Agent{}}
	for id, e := range a.toolkits {
		if cfg.Toolkits[id], err = a.Toolkits[id].policy(e.toolkit); err != nil {
			return fmt.Errorf("toolkit %s: %w", id, err)
		}
	}
	for _, name := range sortedKeys(a.Agents) {
		agent, err := a.Agents[name].policy()
		if err != nil {
			return fmt.Errorf("agent %s: %w", name, err)
		}
		for id := range agent.Rules {
			if id != "*" && a.Toolkits[id] == nil {
				return fmt.Errorf("agent %s: rules %s: there is no such toolkit in this configuration", name, id)
			}
		}
		cfg.Agents[name] = agent
	}
	if cfg.Limits, err = limits(a.Limits); err != nil {
		return err
	}
	a.policy, err = policy.New(cfg)
	return err
}

func (t *Toolkit) policy(tk *toolkit.Toolkit) (p policy.Toolkit, err error) {
	p.Toolkit, p.Retries = tk, t.Retry
	if t.Breaker != "" && t.Breaker != "on" && t.Breaker != "off" {
		return p, fmt.Errorf("breaker %q: on or off, please", t.Breaker)
	}
	if p.Concurrency, err = concurrency(t.Concurrency); err != nil {
		return p, err
	}
	p.Breaker.Off = t.Breaker == "off"
	if err := t.Cooldown.check(); err != nil {
		return p, err
	}
	if o := t.Cooldown; o != nil {
		p.Cooldown = policy.Cooldown{Off: o.Off, WaitUpTo: time.Duration(o.WaitUpTo)}
	}
	if p.Limits, err = limits(t.Limits); err != nil {
		return p, err
	}
	p.Rules, err = t.Rules.rules()
	return p, err
}

func (g *Agent) policy() (p policy.Agent, err error) {
	if p.Limits, err = limits(g.Limits); err != nil {
		return p, err
	}
	p.Rules = map[string]policy.Rules{}
	for id, r := range g.Rules {
		if p.Rules[id], err = r.rules(); err != nil {
			return p, fmt.Errorf("rules %s: %w", id, err)
		}
	}
	return p, nil
}
