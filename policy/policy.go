// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package policy decides whether a call may be made now: rules, limits, cool-downs and
// circuit breakers. It judges; the gateway asks it, and does what it says.
//
// What is configured is in a [Policy], and what happened in a [State], which outlives it.
package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// Config makes a Policy.
type Config struct {
	Toolkits map[string]Toolkit // by id
	Agents   map[string]Agent   // by name
	Limits   []Limit            // over everything
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Toolkit is what holds for one toolkit.
type Toolkit struct {
	*toolkit.Toolkit
	Rules    Rules
	Limits   []Limit
	Cooldown Cooldown
	Breaker  Breaker

	Concurrency []Concurrency
	Retries     int // how many further attempts a call may have
}

// Agent is what holds for one agent.
type Agent struct {
	Rules  map[string]Rules // by toolkit; "*" for all
	Limits []Limit
}

// Policy judges calls. It is safe for concurrent use, once it has a state.
type Policy struct {
	now      func() time.Time
	toolkits map[string]*desk
	agents   map[string]agent
	limits   []meter
	state    *State
}

// agent is what an agent's calls are judged by beside the toolkits' own.
type agent struct {
	rules  map[string]*ruleset
	limits []meter
}

// desk is what a toolkit's calls are judged by.
type desk struct {
	*toolkit.Toolkit
	rules       ruleset
	limits      []meter
	cooldown    Cooldown
	breaker     Breaker
	concurrency []Concurrency
	retries     int
	reading     reading
	credentials []compiled
}

// New makes a policy, or says what is wrong with the configuration. Before it can judge it
// needs a state, see [Policy.With].
func New(cfg Config) (p *Policy, err error) {
	p = &Policy{now: cfg.Now, toolkits: map[string]*desk{}, agents: map[string]agent{}}
	if p.now == nil {
		p.now = time.Now
	}
	if p.limits, err = meters("", cfg.Limits); err != nil {
		return nil, err
	}
	for id, t := range cfg.Toolkits {
		if p.toolkits[id], err = t.desk(); err != nil {
			return nil, fmt.Errorf("toolkit %s: %w", id, err)
		}
	}
	for name, a := range cfg.Agents {
		if p.agents[name], err = p.agent(name, a); err != nil {
			return nil, fmt.Errorf("agent %s: %w", name, err)
		}
	}
	return p, nil
}

func (p *Policy) agent(name string, a Agent) (made agent, err error) {
	made.rules = map[string]*ruleset{}
	for id, rules := range a.Rules {
		s, err := rules.compile()
		if err == nil && rules.ReadOnly {
			err = p.checkReadOnly(id)
		}
		if err != nil {
			return made, fmt.Errorf("rules %s: %w", id, err)
		}
		made.rules[id] = &s
	}
	made.limits, err = meters("agent "+name, a.Limits)
	return made, err
}

// With gives the policy that judges by what happened in a state, and adds to it. The same
// limits, written anew with other figures, go on from where they were.
func (p *Policy) With(s *State) *Policy {
	own := *p
	own.state, own.limits = s, s.found(p.limits)
	own.toolkits, own.agents = map[string]*desk{}, map[string]agent{}
	for id, d := range p.toolkits {
		with := *d
		with.limits = s.found(d.limits)
		own.toolkits[id] = &with
	}
	for name, a := range p.agents {
		own.agents[name] = agent{a.rules, s.found(a.limits)}
	}
	return &own
}

func (s *State) found(limits []meter) []meter {
	limits = slices.Clone(limits)
	for i := range limits {
		limits[i].table = s.table(limits[i].id)
	}
	return limits
}

// Check tells what is wrong with a toolkit's configuration.
func (t Toolkit) Check() error {
	_, err := t.desk()
	return err
}

func (t Toolkit) desk() (d *desk, err error) {
	d = &desk{Toolkit: t.Toolkit, cooldown: t.Cooldown, breaker: t.Breaker, concurrency: t.Concurrency, retries: t.Retries}
	if err := checkRetries(t.Retries); err != nil {
		return nil, err
	}
	if err := CheckConcurrency(t.Concurrency); err != nil {
		return nil, err
	}
	if d.rules, err = t.Rules.compile(); err != nil {
		return nil, err
	}
	if d.limits, err = meters("toolkit "+t.ID, t.Limits); err != nil {
		return nil, err
	}
	if d.reading, err = compileReading(t.Reading); err != nil {
		return nil, err
	}
	if d.credentials, err = parseScopes(t.CredentialPaths); err != nil {
		return nil, fmt.Errorf("credential_paths: %w", err)
	}
	if t.Rules.ReadOnly {
		err = d.checkReadOnly()
	}
	return d, err
}

// checkReadOnly refuses to guess what reads: an API may change things by GET.
func (d *desk) checkReadOnly() error {
	if d.Reading.Known() {
		return nil
	}
	return fmt.Errorf("read_only: nothing says which calls of %s read. Say it: with `reads GET HEAD OPTIONS` if all of these do, and with `reads`, `writes` and `graphql` for single paths", d.ID)
}

func (p *Policy) checkReadOnly(id string) error {
	for other, d := range p.toolkits {
		if id == other || id == "*" {
			if err := d.checkReadOnly(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Admit implements gateway.Policy.
func (p *Policy) Admit(_ context.Context, c *gateway.Call) error {
	d := p.toolkits[c.Toolkit.ID]
	if d == nil {
		return problem.New(problem.Internal, "policy", "The gateway has no policy for this toolkit.")
	}
	if err := p.judge(d, c); err != nil {
		return err
	}
	if err := p.foresee(d, c); err != nil {
		return err
	}
	return p.breakerOpen(d, c)
}

// rulesets are those that hold for a call, the toolkit's first.
func (p *Policy) rulesets(d *desk, c *gateway.Call) (all [3]*ruleset) {
	all[0] = &d.rules
	if own := p.agents[c.Caller.Agent].rules; len(own) > 0 {
		all[1], all[2] = own[d.ID], own["*"]
	}
	return all
}

// judge asks the rules.
func (p *Policy) judge(d *desk, c *gateway.Call) error {
	sets := p.rulesets(d, c)
	there, methods, readOnly := false, false, false
	for _, s := range sets {
		if s != nil {
			there, methods, readOnly = there || s.there, methods || s.methods, readOnly || s.readOnly
		}
	}
	if !there && len(d.credentials) == 0 {
		return nil
	}
	var buf [24]string
	path := c.Path
	plain := ambiguous(path)
	if plain == "" {
		path = unescaped(path)
	}
	segments := segmentsOf(path, buf[:0])
	if rule := d.mints(sets, c, plain != "", segments); rule != "" {
		return notPermitted(rule, "This address gives out or takes back credentials, which no agent does unless a rule allows just this path.")
	}
	if !there {
		return nil
	}
	if plain != "" {
		return problem.New(problem.InvalidPath, "ambiguous", "The path has "+plain+", which servers read in different ways, and there are rules about paths here.")
	}
	return d.permit(sets, c, segments, methods, readOnly)
}

func (d *desk) permit(sets [3]*ruleset, c *gateway.Call, segments []string, methods, readOnly bool) error {
	if name := override(c.Header, c.Query); name != "" {
		return notPermitted("method_override "+name, "Rules judge the method of a call, so it cannot be another one in "+name+". Send the method itself.")
	}
	for _, s := range sets {
		if s == nil {
			continue
		}
		if v := s.judge(c.Method, segments); v.refused {
			return notPermitted(v.rule, "")
		}
	}
	if readOnly {
		if ok, rule := d.reading.permits(c, segments); !ok {
			return notPermitted(rule, "Only calls that are known to change nothing may be made.")
		}
	}
	if !methods {
		return nil
	}
	switch err := overrideInForm(c); {
	case errors.Is(err, errOverride):
		return notPermitted("method_override _method", "Rules judge the method of a call, so it cannot be another one in a form. Send the method itself.")
	case err != nil:
		return notPermitted("method_override", "Rules judge the method of a call, and this is "+err.Error()+".")
	}
	return nil
}

// Reads implements gateway.Policy. What can be read in two ways, and what says that it is
// another call than it seems, is not known to read.
func (p *Policy) Reads(c *gateway.Call) bool {
	d := p.toolkits[c.Toolkit.ID]
	if d == nil || ambiguous(c.Path) != "" || override(c.Header, c.Query) != "" || overrideInForm(c) != nil {
		return false
	}
	var buf [24]string
	ok, _ := d.reading.permits(c, segmentsOf(unescaped(c.Path), buf[:0]))
	return ok
}

// mints gives the rule where a call would mint or end credentials, and no rule names it.
func (d *desk) mints(sets [3]*ruleset, c *gateway.Call, crooked bool, segments []string) string {
	straight := segments
	if len(d.credentials) > 0 && crooked {
		segments = furthest(c.Path)
	}
	for i := range d.credentials {
		p := &d.credentials[i]
		if !p.speaksOf(strings.ToUpper(c.Method)) || !p.denies(segments) {
			continue
		}
		for _, s := range sets {
			if s != nil && s.names(c.Method, straight) {
				return ""
			}
		}
		return "credential_paths " + p.scope()
	}
	return ""
}

func notPermitted(rule, why string) *problem.Problem {
	detail := "The operator's rules do not allow this call (" + rule + ")."
	if why != "" {
		detail += " " + why
	}
	return problem.New(problem.NotPermitted, rule, detail)
}
