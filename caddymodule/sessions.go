// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/session"
)

func sessionsCommand() caddycmd.Command {
	return caddycmd.Command{
		Name: "sessions", Usage: "revoke", Short: "The sessions that apps give their agents", Long: "\nThe sessions that apps give their agents: tokens that are good for one user.",
		CobraFunc: func(cmd *cobra.Command) {
			revoke := officeCommand("revoke [ID]", "Takes sessions back", sessionsRevokeLong, false, revokeSessions)
			revoke.Args = cobra.MaximumNArgs(1)
			revoke.Flags().String("user", "", "All sessions of this user")
			revoke.Flags().String("agent", "", "The agent whose session ID is")
			revoke.Flags().String("tenant", caller.DefaultTenant, "The user's or the agent's tenant")
			cmd.AddCommand(revoke)
		},
	}
}

const sessionsRevokeLong = `
Takes back all sessions of a user (--user), or one (its ID, which is in the audit log, and
its --agent). Calls with them are refused from now on, at every gateway on the store, and
streams that are open in them end within a second. Sessions that are made later are good.`

// sessionsMeant are those of a user, or one of an agent's.
type sessionsMeant struct {
	// Tenant is the user's or the agent's.
	Tenant string `json:"tenant"`
	// User is whose sessions are meant, all of them.
	User string `json:"user,omitempty"`
	// Agent is whose session ID is.
	Agent string `json:"agent,omitempty"`
	// ID is the session's.
	ID string `json:"id,omitempty"`
}

func (m sessionsMeant) check() error {
	switch {
	case m.User == "" && m.ID == "":
		return errors.New("say which: those of a --user, or one by its ID and its --agent")
	case m.User != "" && (m.ID != "" || m.Agent != ""):
		return errors.New("either those of a --user, or one by its ID and its --agent")
	case m.ID != "" && m.Agent == "":
		return errors.New("say whose session that is, with --agent")
	case !caller.ValidName(m.Tenant):
		return errors.New("--tenant cannot be a tenant's name: letters, digits and . _ -")
	case m.User != "" && !caller.ValidUser(m.User):
		return errors.New("--user cannot be a user's id: 1 to 256 printable ASCII characters without spaces and commas")
	case m.ID != "" && (len(m.ID) > 64 || !caller.ValidName(m.ID)):
		return errors.New("that cannot be a session's id, which is 26 letters and digits; a token is not one")
	case m.Agent != "" && !caller.ValidName(m.Agent):
		return errors.New("--agent cannot be an agent's name: letters, digits and . _ -")
	}
	return nil
}

func endSessions(ctx context.Context, p *workplace, in sessionsMeant) (struct{}, error) {
	if err := in.check(); err != nil {
		return struct{}{}, err
	}
	if err := p.vault.Check(ctx); err != nil {
		return struct{}{}, err
	}
	line := audit.Record{Time: time.Now(), Event: audit.SessionEnded, Tenant: in.Tenant, Agent: in.Agent, User: in.User, Session: in.ID, Reason: "operator"}
	if err := p.audit.Record(line); err != nil {
		return struct{}{}, err
	}
	r := session.NewRevocations(p.vault, time.Now)
	if in.User != "" {
		return struct{}{}, r.RevokeUser(ctx, in.Tenant, in.User)
	}
	return struct{}{}, r.Revoke(ctx, session.Owner{Tenant: in.Tenant, Agent: in.Agent}, in.ID)
}

func revokeSessions(cmd *cobra.Command, o *office, ids []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	in := sessionsMeant{Tenant: flags.String("tenant"), User: flags.String("user"), Agent: flags.String("agent")}
	if len(ids) == 1 {
		in.ID = ids[0]
	}
	if err := in.check(); err != nil {
		return err
	}
	if err := o.ask("sessions/revoke", in, new(struct{})); err != nil {
		return err
	}
	if in.User != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "the sessions of %s are over\n", in.User)
	} else {
		fmt.Fprintln(cmd.OutOrStdout(), "the session is over")
	}
	return nil
}
