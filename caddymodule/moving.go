// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

const storeLong = `
Moves connections between stores. Records stay sealed on their way: a file of them is
worth nothing without the encryption keys, which are not in it.

While a gateway runs, these commands go through its admin endpoint, which they find
by the configuration. Where none runs, they open the store themselves.`

func storeCommand() caddycmd.Command {
	return caddycmd.Command{
		Name: "store", Usage: "export|import|copy", Short: "Moves connections between stores", Long: storeLong,
		CobraFunc: func(cmd *cobra.Command) { cmd.AddCommand(exportCommand(), importCommand(), copyCommand()) },
	}
}

func importCommand() *cobra.Command {
	cmd := officeCommand("import FILE", "Brings the records of a file into the store", `
Brings the records of a file that "toolgate store export" has written into the store,
and then looks whether all of them are there. The whole file is checked before anything
is written. What the store has already is left out, so an import that was cut off is
just run again. Another record of the same name stays as it is and is named.

The gateway needs the keys that the records are sealed with: copy the key file too, or
add the keys to encryption_key.`, true, runImport)
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().Bool("force", false, "Replace other records of the same name")
	cmd.Flags().Bool("missing-keys", false, "Also bring in records whose key the gateway does not have")
	return cmd
}

func runImport(cmd *cobra.Command, o *office, args []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	a, err := readArchive(args[0], nil)
	if err != nil {
		return err
	}
	var is aboutAnswer
	if err := o.ask("about", struct{}{}, &is); err != nil {
		return err
	}
	if !flags.Bool("missing-keys") {
		if err := keysThere(a.Keys, is.Keys); err != nil {
			return err
		}
	}
	var sum custody.Given
	p := newProgress(cmd.ErrOrStderr(), "records brought in")
	_, err = readArchive(args[0], func(records []custody.Record) error {
		var done custody.Given
		err := o.ask("store/give", delivery{records, flags.Bool("force")}, &done)
		sum.Add(done)
		p.add(len(records))
		return err
	})
	if err != nil {
		return err
	}
	reportGiven(cmd, sum)
	found := custody.Given{}
	_, err = readArchive(args[0], func(records []custody.Record) error { return o.compare(records, &found) })
	if err != nil {
		return err
	}
	return verdict(cmd, found, a.Digest)
}

func readArchive(path string, visit func([]custody.Record) error) (custody.Archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return custody.Archive{}, err
	}
	defer f.Close()
	a, err := custody.ReadArchive(f, false, visit)
	if err != nil {
		return a, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

func keysThere(needed map[string]int, ring []string) error {
	for _, id := range sortedKeys(needed) {
		if !slices.Contains(ring, id) {
			return fmt.Errorf("%s sealed with the key %s, which the gateway does not have: add it to the keys first, below the present ones (or say --missing-keys)", count(needed[id], "record"), id)
		}
	}
	return nil
}

func (o *office) compare(records []custody.Record, sum *custody.Given) error {
	var done custody.Given
	if err := o.ask("store/compare", delivery{Records: records}, &done); err != nil {
		return err
	}
	sum.Add(done)
	return nil
}

func reportGiven(cmd *cobra.Command, sum custody.Given) {
	words := fmt.Sprintf("%s brought in", count(sum.Created, "record"))
	for _, more := range []struct {
		n    int
		what string
	}{
		{sum.Replaced, "replaced"}, {sum.Same, "there already"}, {sum.Past, "left out since their time has passed"}, {len(sum.Conflicts), "kept as the store has them"},
	} {
		if more.n > 0 {
			words += fmt.Sprintf(", %d %s", more.n, more.what)
		}
	}
	fmt.Fprintln(cmd.OutOrStdout(), words)
}

// verdict says whether everything is where it should be.
func verdict(cmd *cobra.Command, found custody.Given, digest string) error {
	for _, name := range found.Conflicts {
		fmt.Fprintf(cmd.ErrOrStderr(), "the store has another record %s\n", name)
	}
	for _, name := range found.Absent {
		fmt.Fprintf(cmd.ErrOrStderr(), "the record %s is not there\n", name)
	}
	if n := len(found.Conflicts) + len(found.Absent); n > 0 {
		return fmt.Errorf("%s there; %d not as they should be (--force replaces what the store has)", count(found.Same, "record"), n)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Verified: %s, %s\n", count(found.Same, "record"), digest)
	return nil
}

func copyCommand() *cobra.Command {
	cmd := officeCommand("copy", "Copies all records to another store", `
Copies all records to another store, sealed as they are, and then compares the two. The
other store is given as in the Caddyfile, or by the configuration of another gateway:

	$ toolgate store copy --to "file /var/lib/toolgate/connections.db"
	$ toolgate store copy --to-config New.Caddyfile

What the other store has already is left out, so a copy that was cut off, or that a
gateway at work has outrun, is just run again. For a move, stop the gateway first, or
run it once more after: tokens are renewed in only one of the two. The gateway that
uses the other store needs the same keys.`, false, runCopy)
	cmd.Flags().String("to", "", "The other store, as the option store in the Caddyfile names it")
	cmd.Flags().String("to-config", "", "The configuration whose store is the other one")
	cmd.Flags().Bool("missing-keys", false, "Also copy records whose key the other gateway does not have")
	cmd.Flags().Bool("force", false, "Replace other records of the same name")
	return cmd
}

func runCopy(cmd *cobra.Command, o *office, _ []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	to, err := o.otherOffice(flags.String("to"), flags.String("to-config"))
	if err != nil {
		return err
	}
	defer to.close()
	if to.app.opener.PoolKey() == o.app.opener.PoolKey() {
		return errSameStore
	}
	if err := o.sharesKeys(cmd, to, flags.Bool("missing-keys")); err != nil {
		return err
	}
	var sum custody.Given
	var left []string
	err = walk(o, "store/take", plainStep, newProgress(cmd.ErrOrStderr(), "records copied"), nil, func(t custody.Taken) (custody.Place, error) {
		left = append(left, t.Unreadable...)
		var done custody.Given
		err := to.ask("store/give", delivery{t.Records, flags.Bool("force")}, &done)
		sum.Add(done)
		return t.Place, err
	})
	if err != nil {
		return err
	}
	reportGiven(cmd, sum)
	found, digest, keys := custody.Given{}, custody.NewDigest(), map[string]int{}
	err = walk(o, "store/take", plainStep, newProgress(cmd.ErrOrStderr(), "records compared"), nil, func(t custody.Taken) (custody.Place, error) {
		for _, r := range t.Records {
			digest.Add(r)
			keys[r.SealedBy()]++
		}
		return t.Place, to.compare(t.Records, &found)
	})
	if err != nil {
		return err
	}
	if err := verdict(cmd, found, digest.String()); err != nil {
		return err
	}
	delete(keys, "")
	if len(keys) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "The gateway that uses it needs the keys %s.%s\n", strings.Join(sortedKeys(keys), ", "), o.keyHint(to))
	}
	return leftOut(cmd, left)
}

// sharesKeys makes sure that what is copied can be opened there.
func (o *office) sharesKeys(cmd *cobra.Command, to *office, anyway bool) error {
	if to.admin == "" && to.own.ring == nil {
		// No configuration tells its keys, but who uses it has left a record.
		r, err := to.own.store.Get(context.Background(), vault.Canary)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		id, sealErr := seal.SealedBy(r.Value)
		var is aboutAnswer
		if err := errors.Join(err, sealErr, o.ask("about", struct{}{}, &is)); err != nil {
			return err
		}
		if !slices.Contains(is.Keys, id) {
			return fmt.Errorf("the other store is in use with the key %s, which is not among those of this one; two stores with different keys cannot be joined: make them share their keys first", id)
		}
		return nil
	}
	var there aboutAnswer
	if err := to.ask("about", struct{}{}, &there); err != nil || anyway {
		return err
	}
	sum, err := survey(cmd, o)
	if err != nil {
		return err
	}
	return keysThere(sum.Records, there.Keys)
}

func (o *office) keyHint(to *office) string {
	from, there := o.app.opener.KeyFile(), to.app.opener.KeyFile()
	if o.app.EncryptionKey != "" || from == "" || there == "" || filepath.Clean(from) == filepath.Clean(there) {
		return ""
	}
	return fmt.Sprintf(" Copy the key file:  cp -p %s %s", from, there)
}

// otherOffice is where a copy goes.
func (o *office) otherOffice(spec, config string) (*office, error) {
	switch {
	case (spec == "") == (config == ""):
		return nil, errors.New("say where to: with --to or with --to-config")
	case config != "":
		return openOffice(where{config: config}, true)
	}
	tokens, err := caddyfile.Tokenize([]byte("store "+spec), "--to")
	if err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	other := &App{log: o.app.log, auditTo: nopCloser{io.Discard}}
	if err := other.parseStore(d); err != nil {
		return nil, fmt.Errorf("--to %q: %w", spec, err)
	}
	module, err := o.ctx.LoadModule(other, "StoreRaw")
	if err != nil {
		return nil, fmt.Errorf("--to %q: %w", spec, err)
	}
	other.opener = module.(StoreOpener)
	if _, forgets := other.opener.(*MemoryStore); forgets {
		return nil, errors.New("--to: a store in memory would end with this command")
	}
	if other.opener.PoolKey() == o.app.opener.PoolKey() {
		return nil, errSameStore
	}
	return o.openOther(other)
}

// openOther opens a store whose keys are not known here, and does not make any.
func (o *office) openOther(other *App) (*office, error) {
	made, err := openFor(other.opener)
	if err != nil {
		return nil, err
	}
	if err := probe(made); err != nil {
		_ = made.Close()
		file, _ := other.opener.(*FileStore)
		return nil, inUseBy(err, file, "and --to would go past it: stop it, or name its configuration with --to-config")
	}
	return &office{app: other, own: &workplace{app: other, store: made}, close: func() { _ = made.Close() }}, nil
}
