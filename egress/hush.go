// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"io"
	"log"
)

// hush keeps net/http from printing what comes on a connection that no call has, up to
// 4 KiB of it: that may be the end of a user's answer, or an echo of their token. It has
// no logger of its own for that, and by then has it read already, together with the
// answer before. Whoever sets the standard logger's output anew (Caddy does, with each
// configuration) is found out at the next call.
func hush() {
	if _, done := log.Writer().(hushed); !done {
		log.SetOutput(hushed{log.Writer()})
	}
}

type hushed struct{ io.Writer }

var unsolicited = []byte("Unsolicited response received on idle HTTP channel")

// Write implements io.Writer.
func (h hushed) Write(line []byte) (int, error) {
	if before, _, found := bytes.Cut(line, unsolicited); found {
		if _, err := h.Writer.Write(append(append(bytes.Clone(before), unsolicited...), '\n')); err != nil {
			return 0, err
		}
		return len(line), nil
	}
	return h.Writer.Write(line)
}
