// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Holder tells which process has the file locked and how it is called, as far as
// the kernel shows it to us; 0 where it does not. It takes no lock itself.
func Holder(path string) (pid int, name string) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	locks, err := os.ReadFile("/proc/locks")
	if !ok || err != nil {
		return 0, ""
	}
	// 1: FLOCK  ADVISORY  WRITE 4711 fd:01:393229 0 EOF
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line)
		// The device in it is not that of stat on every file system, so only the
		// number of the file counts.
		if len(f) < 6 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], fmt.Sprintf(":%d", stat.Ino)) {
			continue
		}
		if pid, err = strconv.Atoi(f[4]); err != nil || pid <= 0 {
			continue // a process of another container
		}
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return pid, strings.TrimSpace(string(comm))
	}
	return 0, ""
}
