// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/custody"
)

func exportCommand() *cobra.Command {
	cmd := officeCommand("export FILE", "Writes all records to a file, sealed as they are", `
Writes all of the store's records to a file, sealed as they are, with their number and
a digest at its end. It is no snapshot: what is written meanwhile may be in it or not.
An export that was cut off leaves FILE.part behind. Run again within 15 minutes it goes
on there, if all that is in it is still what the store has; else it begins anew.`, false, runExport)
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().Bool("force", false, "Replace the file if it is there")
	return cmd
}

func runExport(cmd *cobra.Command, o *office, args []string) error {
	path := args[0]
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) && !(caddycmd.Flags{FlagSet: cmd.Flags()}).Bool("force") {
		return fmt.Errorf("%s is there already: another name, please, or --force", path)
	}
	part, err := openPart(path + ".part")
	if err != nil {
		return err
	}
	defer part.Close()
	w, after, err := o.beginArchive(cmd, part)
	if err != nil {
		return err
	}
	left, err := o.unreadable(cmd, after)
	if err != nil {
		return err
	}
	err = walk(o, "store/take", plainStep, newProgress(cmd.ErrOrStderr(), "records written"), after, func(t custody.Taken) (custody.Place, error) {
		left = append(left, t.Unreadable...)
		return t.Place, w.Add(t.Records)
	})
	if err != nil {
		return err
	}
	n, digest, err := w.End()
	if err := errors.Join(err, part.Sync()); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		_ = part.Close() // which renames no open file; elsewhere it stays locked until it has its name
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s in %s, %s\n", count(n, "record"), path, digest)
	return leftOut(cmd, left)
}

// unreadable names what an export that goes on has left out before.
func (o *office) unreadable(cmd *cobra.Command, upTo []byte) (names []string, err error) {
	if upTo == nil {
		return nil, nil
	}
	sum, err := survey(cmd, o)
	for _, name := range sum.Unreadable {
		if name <= string(upTo) {
			names = append(names, name)
		}
	}
	return names, err
}

// leftOut fails a command that did all it could, so that nobody takes what it made for
// whole.
func leftOut(cmd *cobra.Command, names []string) error {
	for _, name := range names {
		fmt.Fprintf(cmd.ErrOrStderr(), "the store cannot read the record %s\n", name)
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%s could not be read and left out; everything else is there", count(len(names), "record"))
}

// openPart opens the file that an export writes, for one export at a time.
func openPart(name string) (*os.File, error) {
	part, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := claimPart(part); err != nil {
		_ = part.Close()
		return nil, err
	}
	return part, nil
}

func claimPart(part *os.File) error {
	if heldByOther(part) {
		return fmt.Errorf("another export is writing %s", part.Name())
	}
	here, err := part.Stat()
	if err != nil {
		return err
	}
	// An export that has just ended has renamed the file that was opened here: what is
	// written to it now would destroy that export.
	if there, err := os.Stat(part.Name()); err != nil || !os.SameFile(here, there) {
		return fmt.Errorf("another export that wrote %s has just ended", part.Name())
	}
	return part.Chmod(0o600)
}

// resumable is for how long an export that was cut off may be gone on with: what the
// store has got since it was begun may be missing from it.
const resumable = 15 * time.Minute

// beginArchive goes on where an export of this store was cut off minutes ago, if the
// store still has every record of the file as it is there, or begins anew. Else a
// spent token, or one of another store's, would be in a file whose digest is right.
func (o *office) beginArchive(cmd *cobra.Command, part *os.File) (w *custody.ArchiveWriter, after []byte, err error) {
	var is aboutAnswer
	if err := o.ask("about", struct{}{}, &is); err != nil {
		return nil, nil, err
	}
	a, err := custody.ReadArchive(part, true, nil)
	if err == nil && !a.Whole && a.Count > 0 {
		w, why, err := o.resume(part, a, is.Store)
		if err != nil {
			return nil, nil, err
		}
		if w != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "going on after %s in %s\n", count(a.Count, "record"), part.Name())
			return w, a.Last, nil
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "beginning %s anew: %s\n", part.Name(), why)
	}
	if err := cutTo(part, 0); err != nil {
		return nil, nil, err
	}
	w, err = custody.NewArchive(part, is.Store, time.Now(), is.Keys)
	return w, nil, err
}

// resume gives no writer, and why, where the file cannot be gone on with.
func (o *office) resume(part *os.File, a custody.Archive, store string) (w *custody.ArchiveWriter, why string, err error) {
	if a.Header.Store != store {
		return nil, "it is of another store", nil
	}
	if age := time.Since(a.Header.Made); age < 0 || age > resumable {
		return nil, fmt.Sprintf("it was not begun within the last %d minutes", int(resumable.Minutes())), nil
	}
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return nil, "", err
	}
	sum, found := custody.NewDigest(), custody.Given{}
	_, err = custody.ReadArchive(part, true, func(records []custody.Record) error {
		for _, r := range records {
			sum.Add(r)
		}
		return o.compare(records, &found)
	})
	if err != nil {
		return nil, "", err
	}
	if found.Same != a.Count {
		return nil, "what is in it has changed since", nil
	}
	return custody.ResumeArchive(part, sum, a.Keys), "", cutTo(part, a.Length)
}

// cutTo has the file end there, and go on there.
func cutTo(part *os.File, length int64) error {
	_, err := part.Seek(length, io.SeekStart)
	return errors.Join(part.Truncate(length), err)
}
