// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Rotate puts a new key on the file's first line and leaves all others below it,
// comments too. The file is the old one or the new one at any moment, also for who
// cuts the power, and keeps its mode and its owner.
func Rotate(path string) (*Ring, error) {
	// What is renamed over a link would leave the real file as it was.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("the key file: %w", err)
	}
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		// Of two at once, the last rename would win, and the other one's key be lost.
		return nil, fmt.Errorf("%s is there: somebody is changing the key, or was cut off while doing so; if nobody is, remove it and try again", next)
	}
	if err != nil {
		return nil, fmt.Errorf("making the new key file: %w", err)
	}
	err = errors.Join(writeRotated(f, path), f.Close())
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		_ = os.Remove(next)
		return nil, fmt.Errorf("writing the new key file: %w", err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("putting the new key file in place: %w", err)
	}
	return load(path)
}

// writeRotated reads the old file only now: we are the only one to change it.
func writeRotated(f *os.File, path string) error {
	if _, err := load(path); err != nil {
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	_, err = f.Write(withFirst(old, NewKey()))
	return errors.Join(err, f.Chmod(info.Mode().Perm()), keepOwner(f, info), f.Sync())
}

// withFirst puts the line before the first key, below the comments at the top.
func withFirst(text []byte, line string) []byte {
	at := len(text) - len(bytes.TrimPrefix(text, []byte("\ufeff")))
	for at < len(text) && text[at] == '#' {
		for at < len(text) && text[at] != '\n' {
			at++
		}
		at = min(at+1, len(text))
	}
	if at > 0 && text[at-1] != '\n' {
		line = "\n" + line
	}
	out := append([]byte{}, text[:at]...)
	out = append(out, line+"\n"...)
	return append(out, text[at:]...)
}
