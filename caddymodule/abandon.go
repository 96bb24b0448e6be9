// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/custody"
)

func abandonCommand() *cobra.Command {
	cmd := officeCommand("abandon ID", "Sets aside what a lost key has sealed, or what is damaged", `
Sets aside all records that a key has sealed which is lost for good. They are kept,
under another name, but count as gone: their users are asked to connect again. While
the key may still be found, do not: their calls are answered with 503 meanwhile.

In place of an id, "damaged" means records that no key opens, because they were cut or
changed or are not in their place.

Should the key turn up later, put it in the ring again and run this with --undo. Who
has connected again by then keeps the new connection.`, false, abandon)
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().BoolP("yes", "y", false, "Do not ask")
	cmd.Flags().Bool("undo", false, "Put what was set aside back in its place")
	return cmd
}

func abandon(cmd *cobra.Command, o *office, args []string) error {
	id, flags := args[0], caddycmd.Flags{FlagSet: cmd.Flags()}
	sum, err := survey(cmd, o)
	if err != nil {
		return err
	}
	if flags.Bool("undo") {
		return restore(cmd, o, id, sum)
	}
	what, n := "sealed with "+id, sum.Records[id]
	switch {
	case slices.Contains(sum.Ring, id):
		return fmt.Errorf("the key %s is in the ring and opens what it sealed: there is no reason to set that aside", id)
	case id == custody.Damaged:
		what, n = "that no key opens", -1 // known only when they are opened
	case n == 0:
		return fmt.Errorf("no record is sealed with %s; see `toolgate keys list`", id)
	}
	if !flags.Bool("yes") {
		if err := confirm(cmd, fmt.Sprintf("%s %s will be set aside, and the users of the connections among them have to connect again.", howMany(n), what)); err != nil {
			return err
		}
	}
	moved, err := moveOf(cmd, o, "keys/abandon", id)
	fmt.Fprintf(cmd.OutOrStdout(), "%s set aside.\n", count(moved.Moved, "record"))
	return err
}

func restore(cmd *cobra.Command, o *office, id string, sum custody.Survey) error {
	switch {
	case !slices.Contains(sum.Ring, id):
		return fmt.Errorf("the key %s is not in the ring: put it there first, or its records could not be opened in their place either", id)
	case sum.Aside[id] == 0:
		return fmt.Errorf("nothing of %s is set aside; see `toolgate keys list`", id)
	}
	moved, err := moveOf(cmd, o, "keys/restore", id)
	fmt.Fprintf(cmd.OutOrStdout(), "%s put back; %d stay aside, since their users have connected again.\n", count(moved.Moved, "record"), len(moved.Taken))
	return err
}

func moveOf(cmd *cobra.Command, o *office, job, id string) (sum custody.Moved, err error) {
	p := newProgress(cmd.ErrOrStderr(), "records looked at")
	err = walk(o, job, func(step custody.Step) any { return ofKey{step, id} }, p, nil, func(m custody.Moved) (custody.Place, error) {
		sum.Add(m)
		return m.Place, nil
	})
	return sum, err
}

func howMany(n int) string {
	if n < 0 {
		return "All records"
	}
	return count(n, "record")
}

var errNotConfirmed = errors.New("nothing was done")

// confirm asks. Who is no person, and so has no answer, has to say --yes.
func confirm(cmd *cobra.Command, what string) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s\nGo on? [y/N] ", what)
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	switch answer = strings.ToLower(strings.TrimSpace(answer)); {
	case answer == "y" || answer == "yes":
		return nil
	case err != nil:
		fmt.Fprintln(cmd.ErrOrStderr())
		return fmt.Errorf("%w: say --yes to do it without being asked", errNotConfirmed)
	}
	return errNotConfirmed
}
