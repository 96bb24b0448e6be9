// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/tokencache/seal"
)

const keysLong = `
Everything in the store is sealed with encryption keys. The first key of the ring,
the primary, seals new records; all of them open what they sealed earlier. So a key
is replaced in three steps:

	$ toolgate keys rotate          # a new key comes first, the old one stays
	$ toolgate reload --force       # the gateway takes it
	$ toolgate keys reseal          # old records are sealed with the new key

After that the old key is not needed any more and can be taken out.

While a gateway runs, these commands go through its admin endpoint, which they find
by the configuration. Where none runs, they open the store themselves.`

func keysCommand() caddycmd.Command {
	return caddycmd.Command{
		Name: "keys", Usage: "generate|list|rotate|reseal|abandon", Short: "The encryption keys of the store", Long: keysLong,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(
				generateCommand(),
				officeCommand("list", "Lists the keys, and how many records each has sealed", keysListLong, false, listKeys),
				rotateCommand(),
				officeCommand("reseal", "Seals everything with the first key", keysResealLong, false, reseal),
				abandonCommand(),
			)
		},
	}
}

// officeCommand is a command that needs the gateway or its store.
func officeCommand(use, short, long string, fresh bool, run func(*cobra.Command, *office, []string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.NoArgs, SilenceUsage: true}
	officeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := openOffice(whereOf(caddycmd.Flags{FlagSet: cmd.Flags()}), fresh)
		if err != nil {
			return err
		}
		defer o.close()
		return run(cmd, o, args)
	}
	return cmd
}

func generateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "generate", Short: "Prints a new key", Args: cobra.NoArgs, SilenceUsage: true,
		Long: `
Prints a new random key, as one line for a key file or a variable, and nothing else.
It is kept nowhere. A key file has to be its owner's alone:

	$ (umask 077; toolgate keys generate > toolgate.key)`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), seal.NewKey())
			return err
		},
	}
}

const keysListLong = `
Lists the keys by their ids, which are no secret, and how many of the store's records
each has sealed: keys of the ring, and keys that are missing from it. Nothing is
opened and nothing changed.`

func listKeys(cmd *cobra.Command, o *office, _ []string) error {
	sum, err := survey(cmd, o)
	if err != nil {
		return err
	}
	var is aboutAnswer
	if err := o.ask("about", struct{}{}, &is); err != nil {
		return err
	}
	printKeys(cmd.OutOrStdout(), sum, is.Waiting)
	for _, name := range sum.Unreadable {
		fmt.Fprintf(cmd.ErrOrStderr(), "the store cannot read the record %s\n", name)
	}
	return nil
}

func survey(cmd *cobra.Command, o *office) (sum custody.Survey, err error) {
	err = walk(o, "keys/survey", plainStep, newProgress(cmd.ErrOrStderr(), "records counted"), nil, func(s custody.Survey) (custody.Place, error) {
		sum.Add(s)
		return s.Place, nil
	})
	return sum, err
}

func printKeys(out io.Writer, sum custody.Survey, waiting string) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "KEY\tRECORDS\t")
	if waiting != "" {
		fmt.Fprintf(table, "%s\t%d\tin the key file, not taken yet: reload the gateway with --force\n", waiting, sum.Records[waiting])
	}
	for i, id := range sum.Ring {
		what := "primary"
		switch {
		case i > 0 && sum.Records[id] == 0:
			what = "old, seals nothing any more"
		case i > 0:
			what = "old"
		}
		fmt.Fprintf(table, "%s\t%d\t%s\n", id, sum.Records[id], what)
	}
	for _, id := range sortedKeys(sum.Records) {
		if slices.Contains(sum.Ring, id) || id == waiting {
			continue
		}
		what := "MISSING: these records cannot be opened"
		if sum.Brief[id] == sum.Records[id] {
			what = "missing, but these records end within minutes"
		}
		fmt.Fprintf(table, "%s\t%d\t%s\n", id, sum.Records[id], what)
	}
	for _, id := range sortedKeys(sum.Aside) {
		fmt.Fprintf(table, "%s\t%d\tset aside\n", id, sum.Aside[id])
	}
	if sum.Newer > 0 {
		fmt.Fprintf(table, "-\t%d\twritten by a later version of Toolgate\n", sum.Newer)
	}
	if n := sum.Damaged + len(sum.Unreadable); n > 0 {
		fmt.Fprintf(table, "-\t%d\tdamaged\n", n)
	}
}

const keysRotateLong = `
Puts a new key on the first line of the key file that Toolgate has made beside a file
store; the others stay below it. The gateway takes it at its next reload.

Where the operator keeps the key, as encryption_key says, it tells what to put where
and changes nothing.`

func rotateCommand() *cobra.Command {
	cmd := officeCommand("rotate", "Puts a new key first", keysRotateLong, false, rotate)
	withStore := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, _, err := newOffice(whereOf(caddycmd.Flags{FlagSet: cmd.Flags()}))
		if err != nil {
			return err
		}
		if o.app.EncryptionKey != "" { // advice needs no store
			return o.rotateByHand()
		}
		return withStore(cmd, args)
	}
	return cmd
}

func rotate(cmd *cobra.Command, o *office, _ []string) error {
	var done rotation
	if err := o.ask("keys/rotate", struct{}{}, &done); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "The new key %s stands first in %s, above %s. Back the file up.\n", done.Keys[0], done.File, count(len(done.Keys)-1, "older key"))
	if o.admin != "" {
		fmt.Fprintf(out, "The gateway takes it when it is reloaded:  toolgate reload --config %s --force\n", o.config)
	}
	fmt.Fprintf(out, "Then seal all records with it:  toolgate keys reseal --config %s\n", o.config)
	return nil
}

func (o *office) rotateByHand() error {
	where, name := "the variable ", strings.TrimPrefix(strings.Trim(o.app.EncryptionKey, "{}"), "env.")
	reload := "then restart the gateway, since a process keeps the environment that it was started with"
	if path, isFile := strings.CutPrefix(name, "file."); isFile {
		where, name = "the file ", path
		reload = "then run: toolgate reload --config " + o.config + " --force"
	}
	return fmt.Errorf("encryption_key is kept by you, so nothing was changed. Put a line from `toolgate keys generate` in %s%s, above the present ones, and leave those; %s. "+
		"Where several gateways share the store, put it below the present ones first and reload them all: each has to know the key before the first one seals with it", where, name, reload)
}

const keysResealLong = `
Seals everything in the store with the first key of the ring that was sealed with
another one. It may run beside gateways at work, may be stopped at any time, and goes
on where it was when it is run again. Sign-ins that are under way are left to end.`

func reseal(cmd *cobra.Command, o *office, _ []string) error {
	var is aboutAnswer
	if err := o.ask("about", struct{}{}, &is); err != nil {
		return err
	}
	if is.Waiting != "" {
		return fmt.Errorf("the running gateway has not taken the new key %s yet; run first: toolgate reload --config %s --force", is.Waiting, o.config)
	}
	var sum custody.Resealed
	err := walk(o, "keys/reseal", plainStep, newProgress(cmd.ErrOrStderr(), "records looked at"), nil, func(r custody.Resealed) (custody.Place, error) {
		sum.Add(r)
		return r.Place, nil
	})
	fmt.Fprintf(cmd.OutOrStdout(), "%s sealed anew with %s; %d were already.\n", count(sum.Resealed, "record"), sum.Primary, sum.Already)
	if err != nil {
		return err
	}
	if err := leftOver(cmd.ErrOrStderr(), sum); err != nil {
		return err
	}
	return o.needless(cmd, sum)
}

// leftOver names what is not sealed with the primary after all.
func leftOver(out io.Writer, sum custody.Resealed) error {
	left := 0
	for _, id := range sortedKeys(sum.Missing) {
		left += sum.Missing[id]
		fmt.Fprintf(out, "%s sealed with %s, which is not in the ring: bring the key back, or `toolgate keys abandon %s`\n", count(sum.Missing[id], "record"), id, id)
	}
	for _, trouble := range []struct {
		names []string
		what  string
	}{
		{sum.Broken, "cannot be opened and was left as it is"}, {sum.Unreadable, "cannot be read by the store"}, {sum.Busy, "changes all the time; run this again"},
	} {
		left += len(trouble.names)
		for _, name := range trouble.names {
			fmt.Fprintf(out, "the record %s %s\n", name, trouble.what)
		}
	}
	if left > 0 {
		return fmt.Errorf("%s could not be sealed anew", count(left, "record"))
	}
	return nil
}

// needless says which keys may go now.
func (o *office) needless(cmd *cobra.Command, sum custody.Resealed) error {
	if sum.Brief > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "%s of sign-ins under way end within 15 minutes; run this again then, before an old key is taken out.\n", count(sum.Brief, "record"))
		return nil
	}
	now, err := survey(cmd, o)
	if err != nil {
		return err
	}
	var idle []string
	for _, id := range now.Ring[1:] {
		if now.Records[id] == 0 {
			idle = append(idle, id)
		}
	}
	if len(idle) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "Nothing in the store is sealed any more with %s. Keep old keys for as long as you keep backups.\n", strings.Join(idle, ", "))
	}
	return nil
}
