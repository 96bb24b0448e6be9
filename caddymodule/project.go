// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
)

// ProjectLink is an address without an end, `<public_url>/connect`. Everybody who is
// recognised there sees which of the project's toolkits they still have to connect, and
// can do so. It is the same for all and names nobody, so it may stand in a handbook.
type ProjectLink struct {
	// The agent for which people connect. The page names it, and is for the users
	// whom it may act for.
	Agent string `json:"agent"`

	// The toolkits of the project. Default: those that the agent may use and that
	// users connect to.
	Toolkits []string `json:"toolkits,omitempty"`
}

const projectUsage = "project_link <agent> [<toolkits>...]"

// parse reads the option:
//
//	project_link <agent> [<toolkits>...]
func (p *ProjectLink) parse(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return errUsage
	}
	p.Agent, p.Toolkits = args[0], args[1:]
	return nil
}

// provisionProject checks it, when agents and toolkits are known.
func (a *App) provisionProject() error {
	p := a.ProjectLink
	switch {
	case p == nil:
		return nil
	case a.publicURL == nil:
		return fmt.Errorf("project_link needs public_url: the address that users' browsers reach it under")
	case a.VerifyUser == nil || a.VerifyUser.By == "none":
		return fmt.Errorf("project_link needs to know who opens it, for its address names nobody: say with verify_user (caddy_auth, oidc, jwt or callback)")
	case a.Agents[p.Agent] == nil:
		return fmt.Errorf("project_link: there is no agent %q in this configuration", p.Agent)
	}
	for i, id := range p.Toolkits {
		way := a.toolkits[id]
		switch {
		case way == nil:
			return fmt.Errorf("project_link: there is no toolkit %q in this configuration", id)
		case !way.toolkit.Auth.PerUser:
			return fmt.Errorf("project_link: nobody has to connect %s: it works with the operator's own key", id)
		case !a.Agents[p.Agent].may(id):
			return fmt.Errorf("project_link: the agent %s may not use %s", p.Agent, id)
		case slices.Contains(p.Toolkits[:i], id):
			return fmt.Errorf("project_link: %s is named twice", id)
		}
	}
	return nil
}

func (g *Agent) may(toolkitID string) bool {
	return g.Toolkits == nil || slices.Contains(g.Toolkits, toolkitID)
}

// project is what the connect service shows, or nil.
func (a *App) project() *connect.Project {
	p := a.ProjectLink
	if p == nil {
		return nil
	}
	agent := a.Agents[p.Agent]
	all := &connect.Project{Tenant: agent.Tenant, Agent: p.Agent, Toolkits: p.Toolkits, ActsFor: agent.actsFor}
	if all.Tenant == "" {
		all.Tenant = caller.DefaultTenant
	}
	if len(p.Toolkits) > 0 {
		return all
	}
	for _, id := range sortedKeys(a.toolkits) {
		if a.toolkits[id].toolkit.Auth.PerUser && agent.may(id) {
			all.Toolkits = append(all.Toolkits, id)
		}
	}
	return all
}

func (g *Agent) actsFor(user string) bool { return g.ActsForAny || slices.Contains(g.ActsFor, user) }
