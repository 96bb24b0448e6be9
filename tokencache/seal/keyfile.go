// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// LoadOrCreate returns the ring in the file, and makes the file with a fresh key
// where there is none. Two processes that start at once end with the same key.
//
// A caller who has records already, but finds that the file was created, has lost
// their key: that is worth more than a line in the log.
func LoadOrCreate(path string) (ring *Ring, created bool, err error) {
	ring, err = load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return ring, false, err
	}
	created, err = create(path)
	if err != nil {
		return nil, false, fmt.Errorf("making the key file %s: %w", path, err)
	}
	// Read what is there now: another process may have been faster.
	ring, err = load(path)
	return ring, created && err == nil, err
}

// maxKeyFile is far above any ring, so that a wrong path cannot fill the memory.
const maxKeyFile = 1 << 20

func load(path string) (*Ring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the key file: %w", err)
	}
	defer f.Close()
	if err := checkPrivate(f); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("reading the key file: %w", err)
	}
	ring, err := ParseRing(string(text))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return ring, nil
}

// checkPrivate looks at the open file, not at the path, which may name another
// one by now. Windows has no such bits.
func checkPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at the key file: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("the key file %s is open to others than its owner (mode %04o); run: chmod 600 %s", f.Name(), info.Mode().Perm(), f.Name())
	}
	return nil
}

const keyFileHead = `# Toolgate's encryption key. Whoever has it and the store can act as every user;
# without it no connection can be read again. Keep a copy in a safe place.
# To change it, put a new key on the first line and leave the old one below.
`

// create makes the file whole or not at all, and never in place of another: the
// name appears by a hard link, which fails where the name is taken.
func create(path string) (created bool, err error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return false, err
	}
	temp, err := os.CreateTemp(folder, ".toolgate-key-*") // 0600, O_EXCL
	if err != nil {
		return false, err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(keyFileHead + NewKey() + "\n")
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return false, err
	}
	err = os.Link(temp.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	// Also where another process made the file: what we seal with its key must
	// not outlive the name.
	return err == nil, syncFolder(folder)
}

// syncFolder makes the file's name durable.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such call, and needs none
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
