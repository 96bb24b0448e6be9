// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package audit_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/toolgate/toolgate/audit"
)

// Opening a pipe that nobody reads would hold up every call for ever.
func TestAPipeIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := audit.NewFile(path).Open(); err == nil || !strings.Contains(err.Error(), "neither a file nor a device") {
		t.Errorf("%v", err)
	}
}
