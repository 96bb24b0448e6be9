// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/custody"
)

func connectionsCommand() caddycmd.Command {
	return caddycmd.Command{
		Name: "connections", Usage: "list|add|import", Short: "The connections of users", Long: "\nThe connections that users have granted.",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(listConnectionsCommand(), addConnectionCommand(), bringCommand())
		},
	}
}

const bringLong = `
Takes in what users have granted elsewhere, so that nobody has to connect again. FILE
may be - for the standard input. The toolkit has to be configured with the same OAuth
client that the grants were given to; its hosts are taken from the configuration.

jsonl: one JSON object on each line (or a JSON list of them):

	{"user": "ada", "access_token": "…", "refresh_token": "…",
	 "expires_at": "2026-11-20T06:30:00Z", "scopes": ["repo"]}

  user and one of the tokens are needed; toolkit, tenant and account are possible.
  expires_at may be in Unix seconds, scopes one text.

nango: what Nango answers to GET /connections/{id}?provider_config_key=…, one after the
  other or as a list. The user is end_user.id or tags.end_user_id, else connection_id.
  Only those of the integration are taken: --from, if it is not called as the toolkit.

A user who is connected already is left out, unless with --force. Stop the other system
first: many providers end a grant of which an old refresh token is used once more.`

func bringCommand() *cobra.Command {
	cmd := officeCommand("import FILE", "Takes in what users have granted elsewhere", bringLong, true, runBring)
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().StringP("toolkit", "t", "", "The toolkit that the grants are for")
	cmd.Flags().String("format", string(custody.JSONLines), "How the file is written: jsonl or nango")
	cmd.Flags().String("from", "", "How the file calls the toolkit (default: as --toolkit)")
	cmd.Flags().String("tenant", "", "The tenant of users where the file names none (default: "+caller.DefaultTenant+")")
	cmd.Flags().Bool("force", false, "Replace connections that are there")
	cmd.Flags().Bool("dry-run", false, "Check everything and write nothing")
	return cmd
}

func runBring(cmd *cobra.Command, o *office, args []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	in := grantsIn{
		Toolkit: flags.String("toolkit"), Tenant: flags.String("tenant"), Format: custody.Format(flags.String("format")),
		From: flags.String("from"), Force: flags.Bool("force"), DryRun: flags.Bool("dry-run"),
	}
	if in.From == "" {
		in.From = in.Toolkit
	}
	switch {
	case in.Toolkit == "":
		return errors.New("say with --toolkit for which toolkit the grants are")
	case !slices.Contains(custody.Formats, in.Format):
		return fmt.Errorf("--format %s is not known; known: %v", in.Format, custody.Formats)
	case in.Tenant != "" && !caller.ValidName(in.Tenant):
		return fmt.Errorf("--tenant %q: a name of letters, digits and . _ - please", in.Tenant)
	}
	if _, err := o.app.importable(in.Toolkit); err != nil {
		return err
	}
	file, err := openInput(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	b := &bringing{office: o, in: in, errors: cmd.ErrOrStderr(), progress: newProgress(cmd.ErrOrStderr(), "grants read")}
	err = custody.Split(in.Format, file, b.take)
	if err == nil {
		err = b.send()
	}
	b.report(cmd.OutOrStdout())
	if err == nil && b.bad > 0 {
		err = fmt.Errorf("%s not taken in", count(b.bad, "grant"))
	}
	return err
}

func openInput(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}

// bringing sends grants in batches and adds up what becomes of them.
type bringing struct {
	office   *office
	in       grantsIn
	errors   io.Writer
	progress *progress

	outcomes map[custody.Brought]int
	bad      int
	brief    int
}

func (b *bringing) take(line custody.Numbered) error {
	b.in.Lines = append(b.in.Lines, line)
	if len(b.in.Lines) < custody.DefaultLimit {
		return nil
	}
	return b.send()
}

func (b *bringing) send() error {
	if len(b.in.Lines) == 0 {
		return nil
	}
	var out []grantOut
	if err := b.office.ask("connections/import", b.in, &out); err != nil {
		return err
	}
	b.progress.add(len(b.in.Lines))
	b.in.Lines = nil
	if b.outcomes == nil {
		b.outcomes = map[custody.Brought]int{}
	}
	unit := "line"
	if b.in.Format != custody.JSONLines {
		unit = "connection"
	}
	for _, o := range out {
		if o.Error != "" {
			b.bad++
			fmt.Fprintf(b.errors, "%s %d: %s\n", unit, o.Number, o.Error)
			continue
		}
		b.outcomes[o.Outcome]++
		if o.Brief {
			b.brief++
		}
	}
	return nil
}

func (b *bringing) report(out io.Writer) {
	would := ""
	if b.in.DryRun {
		would = "Nothing was written. It would be: "
	}
	fmt.Fprintf(out, "%s%s taken in", would, count(b.outcomes[custody.Created], "connection"))
	if n := b.outcomes[custody.Replaced]; n > 0 {
		fmt.Fprintf(out, ", %d replaced", n)
	}
	if n := b.outcomes[custody.Kept]; n > 0 {
		fmt.Fprintf(out, ", %d left out since their users are connected", n)
	}
	fmt.Fprintln(out)
	if b.brief > 0 {
		fmt.Fprintf(out, "%d of them have no refresh token: these users are asked to connect when the access ends\n", b.brief)
	}
}
