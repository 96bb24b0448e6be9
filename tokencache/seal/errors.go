// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"errors"
	"fmt"
)

// ErrDamaged: it is not what was sealed (cut, changed), or was sealed for another
// place.
var ErrDamaged = errors.New("the sealed record is damaged, or is not in the place it was sealed for")

// KeyMissingError: it was sealed by a key that is not in the ring.
type KeyMissingError struct {
	ID string
}

func (e *KeyMissingError) Error() string {
	return fmt.Sprintf("encryption key %s is missing: the record was sealed with it", e.ID)
}

// VersionError: it was sealed by a later Toolgate, in a way that this one does not
// know.
type VersionError struct {
	Version byte
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("sealed in version %d, this Toolgate knows %d: it was written by a later version", e.Version, version)
}
