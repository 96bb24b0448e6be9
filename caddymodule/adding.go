// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
)

const addLong = `
Sets a toolkit up for a user, who then finds it on the page of what they have connected,
with a button to connect it. Until they do, nothing can be done over it: calls get
auth_required as before, with the status "added". They can remove it there too.

With --account it is a further account of the toolkit, which agents call by that name.`

func addConnectionCommand() *cobra.Command {
	cmd := officeCommand("add", "Sets a toolkit up for a user to connect", addLong, false, runAdd)
	cmd.Args = cobra.NoArgs
	cmd.Flags().String("user", "", "For this user")
	cmd.Flags().StringP("toolkit", "t", "", "To be connected")
	cmd.Flags().String("account", "", "What the account is to be called, where there may be several")
	cmd.Flags().String("tenant", caller.DefaultTenant, "The user's tenant")
	return cmd
}

// toAdd is what is to be set up.
type toAdd struct {
	ofUser
	// Toolkit is what is to be connected.
	Toolkit string `json:"toolkit"`
	// Account is what it is to be called; empty: the user's first one.
	Account string `json:"account,omitempty"`
}

// wasAdded says what came of it.
type wasAdded struct {
	// ID is how agents may call the connection.
	ID string `json:"id"`
	// Status is how it stands.
	Status connection.Status `json:"status"`
	// Added is false where it was there already.
	Added bool `json:"added"`
}

func addConnection(ctx context.Context, p *workplace, in toAdd) (wasAdded, error) {
	if !caller.ValidName(in.Tenant) || !caller.ValidUser(in.User) {
		return wasAdded{}, errors.New("say for whom, and of which tenant")
	}
	if err := p.vault.Check(ctx); err != nil {
		return wasAdded{}, err
	}
	conn, added, err := p.people.Stage(ctx, rand.Text(), connection.Key{Tenant: in.Tenant, User: in.User, Toolkit: in.Toolkit}, in.Account)
	if err != nil {
		return wasAdded{}, err
	}
	if added && p.connected != nil {
		p.connected(conn) // which may remember that there is none
	}
	return wasAdded{ID: conn.ID, Status: conn.Status, Added: added}, nil
}

func runAdd(cmd *cobra.Command, o *office, _ []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	in := toAdd{ofUser: ofUser{Tenant: flags.String("tenant"), User: flags.String("user")}, Toolkit: flags.String("toolkit"), Account: flags.String("account")}
	switch {
	case !caller.ValidName(in.Tenant):
		return errors.New("--tenant cannot be a tenant's name: letters, digits and . _ -")
	case !caller.ValidUser(in.User):
		return errors.New("--user is missing, or cannot be a user's id: 1 to 256 printable ASCII characters without spaces and commas")
	case in.Toolkit == "":
		return errors.New("--toolkit is missing: say what the user is to connect")
	}
	var done wasAdded
	if err := o.ask("connections/add", in, &done); err != nil {
		return err
	}
	what := in.Toolkit
	if in.Account != "" {
		what += " (" + in.Account + ")"
	}
	if done.Added {
		fmt.Fprintf(cmd.OutOrStdout(), "Added %s for %s, to be connected by them: %s\n", what, in.User, done.ID)
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s has %s already (%s): %s\n", in.User, what, cmp.Or(string(done.Status), "unreadable"), done.ID)
	return nil
}
