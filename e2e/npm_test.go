// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fromNPM is a folder where a package is installed, from the npm registry. It is kept
// for the next run.
func fromNPM(name, version string) (folder string, err error) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	kept := filepath.Join(cache, "toolgate-e2e", strings.NewReplacer("@", "", "/", "-").Replace(name)+"-"+version)
	if _, err := os.Stat(kept); err == nil {
		return kept, nil
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(kept), "fetching-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--prefix", fresh, "--no-audit", "--no-fund", "--ignore-scripts", name+"@"+version)
	if said, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm: %w\n%s", err, said)
	}
	// Whole or not at all, also where two tests fetch it at once.
	if err := os.Rename(fresh, kept); err != nil {
		if _, there := os.Stat(kept); there != nil {
			return "", err
		}
	}
	return kept, nil
}

// without skips a test for want of something, or fails it where real parts are required.
func without(t *testing.T, what string, reason error) {
	t.Helper()
	if os.Getenv("TOOLGATE_REQUIRE_REAL") == "1" {
		t.Fatalf("no %s, and TOOLGATE_REQUIRE_REAL is set: %v", what, reason)
	}
	t.Skipf("no %s: %v", what, reason)
}
