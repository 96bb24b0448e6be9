// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

const explainLong = `
Says what would become of a call, were it made now: step by step, with the rule behind
each verdict. Nothing is sent, used up or changed. Where a step would refuse the call, the
later ones are told all the same.

	$ toolgate explain --agent support-bot --user alice github DELETE /repos/acme/site

The path is the toolkit's, as the agent calls it behind /github. What depends on a body
or on headers is not known here, and the credential itself is not tried.

While a gateway runs, it is asked, and knows what was used up. Where none runs, the
configuration is judged as if nothing had happened yet.`

func explainCommand() caddycmd.Command {
	return caddycmd.Command{
		Name: "explain", Usage: "TOOLKIT METHOD PATH", Short: "Says what would become of a call, and why", Long: explainLong,
		CobraFunc: func(cmd *cobra.Command) {
			officeFlags(cmd)
			cmd.Flags().String("agent", "", "The agent that calls (default: the only one that there is)")
			cmd.Flags().String("user", "", "The user whom it calls for")
			cmd.Flags().String("account", "", "The user's account, by its id or label (default: the user's default)")
			cmd.Args, cmd.SilenceUsage = cobra.ExactArgs(3), true
			cmd.RunE = explain
		},
	}
}

// imagined is a call that is not made.
type imagined struct {
	// Agent is its name; empty: the only one.
	Agent string `json:"agent"`
	// User is whom it is for.
	User string `json:"user"`
	// Account is the user's, as an agent would name it.
	Account string `json:"account,omitempty"`
	// Toolkit is its id.
	Toolkit string `json:"toolkit"`
	// Method is as in the request line.
	Method string `json:"method"`
	// Path is the toolkit's, escaped, maybe with a query.
	Path string `json:"path"`
}

// step is what one step of a request's way says.
type step struct {
	// Step is the step's name.
	Step string `json:"step"`
	policy.Finding
}

// explanation is the whole way.
type explanation struct {
	// Steps are in the order in which a call takes them.
	Steps []step `json:"steps"`
	// Quiet: no gateway runs, so nothing was used up yet.
	Quiet bool `json:"quiet"`
}

func explain(cmd *cobra.Command, args []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	in := imagined{Agent: flags.String("agent"), User: flags.String("user"), Account: flags.String("account"), Toolkit: args[0], Method: args[1], Path: args[2]}
	if !caller.ValidUser(in.User) {
		return errors.New("--user has to be a user's id: 1 to 256 printable ASCII characters without spaces and commas")
	}
	o, err := openOffice(whereOf(flags), true)
	if err != nil {
		return err
	}
	defer o.close()
	var is explanation
	if err := o.ask("explain", in, &is); err != nil {
		return err
	}
	if is.Quiet {
		fmt.Fprintln(cmd.ErrOrStderr(), "no gateway runs here that can be asked: limits and breakers are as after a start")
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "STEP\tVERDICT\tRULE\t")
	for _, s := range is.Steps {
		verdict := "passes"
		if s.Code != "" {
			verdict = "refused: " + string(s.Code)
		}
		why := strings.TrimPrefix(s.Rule+": "+s.Note, ": ")
		fmt.Fprintf(table, "%s\t%s\t%s\t\n", strings.TrimSuffix(s.Step+" "+s.Part, " "), verdict, strings.TrimSuffix(why, ": "))
	}
	return nil
}

// explainCall goes the way of a call as far as it can be gone without making it.
func explainCall(ctx context.Context, p *workplace, in imagined) (explanation, error) {
	who, found, err := p.app.imaginedCaller(in)
	if err != nil {
		return explanation{}, err
	}
	is := explanation{Steps: []step{{"identify", found}}, Quiet: p.policy == nil}
	endpoint := p.app.toolkits[in.Toolkit]
	if endpoint == nil {
		is.Steps = append(is.Steps, step{"resolve", policy.Finding{Code: problem.UnknownToolkit, Rule: "toolkit", Note: "there is no toolkit " + in.Toolkit}})
		return is, nil
	}
	call, found := p.app.imaginedCall(in, who, endpoint.toolkit)
	if is.Steps = append(is.Steps, step{"resolve", found}); call == nil {
		return is, nil
	}
	authorize := p.imaginedConnection(ctx, in, call)
	state := p.policy
	if state == nil {
		state = policy.NewState()
	}
	for _, f := range p.app.policy.With(state).Explain(call) {
		is.Steps = append(is.Steps, step{"admit", f})
	}
	is.Steps = append(is.Steps, step{"authorize", authorize})
	return is, nil
}

func (a *App) imaginedCaller(in imagined) (who caller.Caller, f policy.Finding, err error) {
	who = caller.Caller{Tenant: caller.DefaultTenant, Agent: caller.LocalAgent, User: in.User}
	if len(a.Agents) == 0 {
		f.Rule, f.Note = "local", "no agent is configured, so only calls that surely come from this machine pass"
		return who, f, nil
	}
	name := in.Agent
	if name == "" && len(a.Agents) == 1 {
		name = sortedKeys(a.Agents)[0]
	}
	agent := a.Agents[name]
	if agent == nil {
		return who, f, fmt.Errorf("say with --agent which agent calls; there are: %s", strings.Join(sortedKeys(a.Agents), ", "))
	}
	who.Agent = name
	if agent.Tenant != "" {
		who.Tenant = agent.Tenant
	}
	switch {
	case len(agent.keys) == 0:
		f = policy.Finding{Code: problem.UnknownAgent, Rule: "agent_key", Note: "the agent has no key"}
	case !agent.ActsForAny && !slices.Contains(agent.ActsFor, in.User):
		f = policy.Finding{Code: problem.UserMismatch, Rule: "acts_for", Note: "the agent may not act for this user"}
	case agent.ActsForAny:
		f.Rule = "acts_for any"
	default:
		f.Rule = "acts_for " + in.User
	}
	return who, f, nil
}

func (a *App) imaginedCall(in imagined, who caller.Caller, tk *toolkit.Toolkit) (*gateway.Call, policy.Finding) {
	path, query, _ := strings.Cut(in.Path, "?")
	target, err := tk.Target(path, query)
	switch agent := a.Agents[who.Agent]; {
	case err != nil || !strings.HasPrefix(path, "/"):
		return nil, policy.Finding{Code: problem.InvalidPath, Rule: "path", Note: "a path begins with a slash, and has no dot segments, backslashes or control characters"}
	case agent != nil && agent.Toolkits != nil && !slices.Contains(agent.Toolkits, tk.ID):
		return nil, policy.Finding{Code: problem.ToolkitForbidden, Rule: "toolkits", Note: "the agent may not use this toolkit"}
	case tk.Draft():
		return nil, policy.Finding{Code: problem.ToolkitDraft, Rule: "draft", Note: "still missing: " + strings.Join(tk.Missing, ", ")}
	}
	c := &gateway.Call{Caller: who, Toolkit: tk, Method: in.Method, Path: path, Query: query, Target: target, Header: http.Header{}, Body: noBody{}}
	return c, policy.Finding{Note: "to " + target.Scheme + "://" + target.Host + target.EscapedPath()}
}

type noBody struct{}

// Peek implements gateway.Peeker.
func (noBody) Peek(int) ([]byte, bool, error) { return nil, true, nil }

// imaginedConnection looks at the user's connection, and notes in the call which it is.
func (p *workplace) imaginedConnection(ctx context.Context, in imagined, c *gateway.Call) policy.Finding {
	if !c.Toolkit.Auth.PerUser {
		return policy.Finding{Note: "with the operator's credential"}
	}
	refused := func(code problem.Code, note string) policy.Finding { return policy.Finding{Code: code, Note: note} }
	key := connection.Key{Tenant: c.Caller.Tenant, User: c.Caller.User, Toolkit: c.Toolkit.ID}
	accounts, err := p.vault.Accounts(ctx, key)
	if err != nil {
		return refused(problem.StorageUnavailable, "the store cannot be read: "+err.Error())
	}
	if len(accounts.All) == 0 {
		return refused(problem.AuthRequired, "the user has not connected it")
	}
	if key.Account, err = accounts.Pick(in.Account); err != nil {
		if _, several := errors.AsType[*connection.Ambiguous](err); several {
			return refused(problem.SeveralAccounts, "the user has several accounts, and it is not clear which one is meant")
		}
		return refused(problem.AuthRequired, "the user has no such account")
	}
	conn, err := p.vault.Load(ctx, key)
	switch {
	case errors.Is(err, connection.ErrNotConnected):
		return refused(problem.AuthRequired, "the user has not connected it")
	case err != nil:
		return refused(problem.StorageUnavailable, "the connection cannot be read: "+err.Error())
	}
	c.Connection = key
	if target, err := c.Toolkit.For(conn.Variables); err == nil {
		if u, err := target.Target(c.Path, c.Query); err == nil {
			c.Target = u
		}
	}
	switch conn.Status {
	case connection.Active:
		return policy.Finding{Note: "connected as " + conn.Choice().Name()}
	case connection.Inactive:
		return refused(problem.Inactive, "the user has switched it off")
	}
	return refused(problem.AuthRequired, "the connection is "+string(conn.Status))
}
