// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/api"
	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/tokencache/vault"
)

func usersCommand() caddycmd.Command {
	return caddycmd.Command{
		Name: "users", Usage: "forget", Short: "The users", Long: "\nThe people for whom agents act.",
		CobraFunc: func(cmd *cobra.Command) { cmd.AddCommand(forgetCommand()) },
	}
}

const forgetLong = `
Removes everything that is kept of a user: connections, links, sign-ins under way, and
what was set aside with a lost key. The user's sessions end; that they did is noted for a
day, since their tokens are still about. Each grant is taken back at its provider where the
toolkit says how. Where a provider cannot be told at once, that is noted and tried
again for seven days by the gateway; the note holds the token until then.

What stays is in other hands: lines of the audit log, and backups. If the user is to
stay away, their agents have to stop calling for them too, since each call makes a
new link.`

func forgetCommand() *cobra.Command {
	cmd := officeCommand("forget USER", "Removes everything that is kept of a user", forgetLong, false, forget)
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().String("tenant", caller.DefaultTenant, "The user's tenant")
	cmd.Flags().BoolP("yes", "y", false, "Do not ask")
	return cmd
}

func forget(cmd *cobra.Command, o *office, args []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	who := ofUser{Tenant: flags.String("tenant"), User: args[0]}
	switch {
	case !caller.ValidName(who.Tenant):
		return errors.New("--tenant cannot be a tenant's name: letters, digits and . _ -")
	case !caller.ValidUser(who.User):
		return errors.New("that cannot be a user's id: 1 to 256 printable ASCII characters without spaces and commas")
	}
	if !flags.Bool("yes") {
		if err := confirm(cmd, fmt.Sprintf("Everything that is kept of the user %s of the tenant %s will be removed, and their grants taken back.", who.User, who.Tenant)); err != nil {
			return err
		}
	}
	// Links first, so that nobody connects behind our back. They are ended before they are
	// removed: who is on the way then sees why, and the log has it.
	if err := o.ask("users/links", who, new(linksEnded)); err != nil {
		return err
	}
	if err := o.ask("sessions/revoke", sessionsMeant{Tenant: who.Tenant, User: who.User}, new(struct{})); err != nil {
		return err
	}
	traces, pending := 0, 0
	step := func(s custody.Step) any { return tracesIn{Step: s, ofUser: who} }
	err := walk(o, "users/traces", step, newProgress(cmd.ErrOrStderr(), "records looked at"), nil, func(t custody.Removed) (custody.Place, error) {
		traces += t.Removed
		return t.Place, nil
	})
	if err != nil {
		return err
	}
	var done connect.Forgotten
	if err := o.ask("users/forget", who, &done); err != nil {
		return err
	}
	pending = done.Pending
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s removed, %s of them taken back at the provider; %s.\n", count(done.Connections, "connection"), count(done.Revoked, "grant"), count(traces+done.Records, "other record"))
	if pending > 0 {
		fmt.Fprintf(out, "%s could not be told to the provider yet. The gateway tries again for seven days.\n", count(pending, "revocation"))
	}
	return nil
}

var errNobody = errors.New("say whom to forget, and of which tenant")

// ofUser names a user.
type ofUser struct {
	// Tenant is the user's.
	Tenant string `json:"tenant"`
	// User is the id.
	User string `json:"user"`
}

// tracesIn is a step over all records for those of one user.
type tracesIn struct {
	custody.Step
	ofUser
}

func removeTraces(ctx context.Context, p *workplace, in tracesIn) (custody.Removed, error) {
	return p.desk().Remove(ctx, in.Step, func(name string, open func() []byte) bool {
		return connect.TraceOf(in.Tenant, in.User, name, open) || api.TraceOf(in.Tenant, in.User, name, open)
	})
}

func forgetUser(ctx context.Context, p *workplace, in ofUser) (connect.Forgotten, error) {
	if in.Tenant == "" || in.User == "" {
		return connect.Forgotten{}, errNobody
	}
	if err := p.vault.Check(ctx); err != nil {
		return connect.Forgotten{}, err
	}
	return p.people.Forget(ctx, rand.Text(), in.Tenant, in.User)
}

// people is a service that takes connections away, and has no pages.
func (a *App) people(v *vault.Vault, record *audit.Writer, disconnected func(connection.Key)) *connect.Service {
	client := &oauth.Client{Transport: tokenTransport(a.toolkits)}
	return connect.New(connect.Config{
		PublicURL: new(url.URL), Toolkits: a.connectEndpoints(), Vault: v, Exchanger: client, Revoker: client, Audit: record,
		Disconnected: disconnected, Report: a.logConnect, Now: time.Now,
	})
}
