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
	"strings"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// Config makes a Policy.
type Config struct {
	Toolkits map[string]Toolkit // by id
	Agents   map[string]Agent   // by name
}

// Toolkit is what holds for one toolkit.
type Toolkit struct {
	*toolkit.Toolkit
	Rules Rules
}

// Agent is what holds for one agent.
type Agent struct {
	Rules map[string]Rules // by toolkit; "*" for all
}

// Policy judges calls. It is safe for concurrent use.
type Policy struct {
	toolkits map[string]*desk
	agents   map[string]map[string]*ruleset // by name, then by toolkit
}

// desk is what a toolkit's calls are judged by.
type desk struct {
	*toolkit.Toolkit
	rules       ruleset
	reading     reading
	credentials []compiled
}

// New makes a policy, or says what is wrong with the configuration.
func New(cfg Config) (*Policy, error) {
	p := &Policy{toolkits: map[string]*desk{}, agents: map[string]map[string]*ruleset{}}
	for id, t := range cfg.Toolkits {
		d, err := t.desk()
		if err != nil {
			return nil, fmt.Errorf("toolkit %s: %w", id, err)
		}
		p.toolkits[id] = d
	}
	for name, a := range cfg.Agents {
		p.agents[name] = map[string]*ruleset{}
		for id, rules := range a.Rules {
			s, err := rules.compile()
			if err == nil && rules.ReadOnly {
				err = p.checkReadOnly(id)
			}
			if err != nil {
				return nil, fmt.Errorf("agent %s: rules %s: %w", name, id, err)
			}
			p.agents[name][id] = &s
		}
	}
	return p, nil
}

// Check tells what is wrong with a toolkit's configuration.
func (t Toolkit) Check() error {
	_, err := t.desk()
	return err
}

func (t Toolkit) desk() (d *desk, err error) {
	d = &desk{Toolkit: t.Toolkit}
	if d.rules, err = t.Rules.compile(); err != nil {
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
	return p.judge(d, c)
}

// rulesets are those that hold for a call, the toolkit's first.
func (p *Policy) rulesets(d *desk, c *gateway.Call) (all [3]*ruleset) {
	all[0] = &d.rules
	if own := p.agents[c.Caller.Agent]; len(own) > 0 {
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
			if s != nil && !crooked && s.names(c.Method, straight) {
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
